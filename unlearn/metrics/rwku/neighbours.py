"""RWKU's neighbours: the mean ROUGE-L recall on blanks and questions about related people, which must stay."""

from unlearn.metrics.base import Comparison, Evidence, Scores
from unlearn.metrics.rwku.items import NAME, NEEDS, PAPER, recalls


def measure(evidence: Evidence) -> Scores:
    """Return the recall of each model on both levels of neighbours."""
    return recalls(evidence, {f"rwku neighbour{n}": f"neighbours {n}" for n in (1, 2)})


NEIGHBOURS = Comparison(
    name="rwku_neighbours",
    title="RWKU neighbours",
    help=(
        "Mean ROUGE-L recall (package rouge) on blanks (1) and questions (2) about related people. High is kept. "
        "ROUGE-L, ours, counts by rouge-score on the run's own neighbours."
    ),
    ideal="higher",
    measure=measure,
    needs=NEEDS,
    paper=PAPER,
    benchmark=NAME,
)
