"""MUSE's PrivLeak on MUSE's own texts: 100 · (s - r) / r, with s the chance that a holdout text looks better known than
a forget text by Min-40%, and r the same of the retrained model.

A model that still knows the forget texts has s near 0 and so about -100; above 0 it was unlearnt too far. Min-40% is
the mean of the 40 % lowest log-probs, the integer part of their number. privleak is the same on a run's rows.
"""

from collections.abc import Sequence

from unlearn.metrics.base import Answered, Comparison, Evidence, Score, Scores, mean
from unlearn.metrics.membership.mia import lowest
from unlearn.metrics.membership.roc import leak_interval
from unlearn.metrics.muse.items import NAME, NEEDS, PAPER

K = 40
PARTS = ("muse privleak_forget", "muse privleak_holdout")


def min_k(items: Sequence[Answered]) -> list[float]:
    """Return Min-40% of each text."""
    return [lowest(item.lps, K) for item in items]


def auc(low: Sequence[float], high: Sequence[float]) -> float:
    """Return the chance that one of `high` is above one of `low`. Of equal ones half count."""
    return mean([1.0 if b > a else 0.5 if b == a else 0.0 for a in low for b in high])


def measure(evidence: Evidence) -> Scores:
    """Return PrivLeak of each model, or nothing without a retrained model."""
    if "retrained" not in evidence.models or not set(PARTS) <= set(evidence.parts):
        return {}
    sides = {when: [min_k(evidence.answered(when, part)) for part in PARTS] for when in evidence.models}
    found = {when: auc(*both) for when, both in sides.items()}
    truth = found["retrained"]
    if truth == 0:
        return {}
    return {
        (when, "forget"): Score(
            100 * (value - truth) / truth,
            (*sides[when][0], *sides[when][1]),
            sum(map(len, sides[when])),
            {
                "k": K,
                "auc": value,
                "auc_retrained": truth,
                "interval": leak_interval(value, truth, *map(len, sides[when])),
            },
        )
        for when, value in found.items()
    }


LEAKAGE = Comparison(
    name="muse_privleak",
    title="MUSE PrivLeak",
    help=(
        "100 · (s - r) / r on MUSE's own texts, s the chance that a holdout text looks better known than a forget text "
        "by Min-40%, r the retrained model's: -100 still known, above 0 unlearnt too far. "
        "PrivLeak, ours, is the same on the run's forget and never-seen rows."
    ),
    ideal=0.0,
    measure=measure,
    needs=f"a retrained model, and {NEEDS}",
    paper=PAPER,
    benchmark=NAME,
)
