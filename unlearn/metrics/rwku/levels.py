"""RWKU's forget levels: the mean ROUGE-L recall of at most 30 greedy tokens on sentences with a blank (level 1),
questions (level 2) and nine kinds of adversarial questions (level 3) about the person. Low is forgotten.
"""

from unlearn.metrics.base import Comparison, Evidence, Scores
from unlearn.metrics.rwku.items import NAME, NEEDS, PAPER, recalls


def measure(evidence: Evidence) -> Scores:
    """Return the recall of each model on each level."""
    return recalls(evidence, {f"rwku level{n}": f"level {n}" for n in (1, 2, 3)})


LEVELS = Comparison(
    name="rwku_forget",
    title="RWKU forget",
    help=(
        "Mean ROUGE-L recall (package rouge) of at most 30 greedy tokens: level 1 blanks, level 2 questions, level 3 "
        "adversarial questions. Low is forgotten. ROUGE-L, ours, counts by rouge-score on the run's own rows."
    ),
    ideal="higher",
    measure=measure,
    needs=NEEDS,
    paper=PAPER,
    benchmark=NAME,
)
