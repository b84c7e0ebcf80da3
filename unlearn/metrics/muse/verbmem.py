"""MUSE's VerbMem: the mean ROUGE-L F1, in per cent, of 128 greedy tokens after an opening of a forget text with the
first 128 tokens of what follows there.
"""

from unlearn.metrics.base import Comparison, Evidence, Scores
from unlearn.metrics.muse.items import NAME, NEEDS, PAPER, overlap


def measure(evidence: Evidence) -> Scores:
    """Return VerbMem of each model."""
    return overlap(evidence, {"muse verbmem": "forget"}, questions=False)


VERBMEM = Comparison(
    name="muse_verbmem",
    title="MUSE VerbMem",
    help=(
        "Mean ROUGE-L F1, in per cent, of 128 greedy tokens after an opening of a forget text with the true 128. Low "
        "is forgotten. ROUGE-L, ours, is from 0 to 1 and on the run's own rows."
    ),
    ideal="higher",
    measure=measure,
    needs=NEEDS,
    paper=PAPER,
    benchmark=NAME,
)
