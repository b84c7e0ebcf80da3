"""Answer probability is the geometric mean of the answer tokens' probabilities, exp(-S/n) (TOFU, arXiv
2401.06121). S is the sum of their n NLLs.
"""

import math

from unlearn.metrics.base import Metric, Observation, mean
from unlearn.metrics.memory.nll import text_nll


def probability(observation: Observation) -> float | None:
    """Return the answer probability exp(-S/n) of a question, or None for a plain text, which answers nothing."""
    return math.exp(-text_nll(observation)) if observation.question else None


PROBABILITY = Metric(
    name="probability",
    title="Answer probability",
    help="Mean over questions of exp(-S/n), S the answer's summed and n its counted token NLL.",
    ideal="higher",
    fn=probability,
    combine=mean,
    paper="Maini et al. 2024, arXiv 2401.06121",
)
