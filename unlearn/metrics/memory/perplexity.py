"""Perplexity: exp of the mean over texts of mean token NLL (Yao et al. 2024, arXiv 2402.15159, §4)."""

import math
from collections.abc import Sequence

from unlearn.metrics.base import Metric, mean
from unlearn.metrics.memory.nll import text_nll


def exp_mean(values: Sequence[float]) -> float:
    """Return exp of the mean of the values, or infinity where it overflows. A collapsed model is not an
    arithmetic error.
    """
    average = mean(values)
    return math.exp(average) if average < 700 else math.inf


PPL = Metric(
    name="ppl",
    title="Perplexity",
    help="exp of the NLL: how many tokens the model wavers between. Lower is better known.",
    ideal="lower",
    fn=text_nll,
    combine=exp_mean,
)
