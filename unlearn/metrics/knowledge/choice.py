"""Multiple-choice accuracy is the share of questions whose right answer beats every wrong one. An answer with
a lower mean NLL is better.

No letters are asked for: each answer is read in its place and compared per token, as the rank classification of
GPT-3 does (Brown et al. 2020, arXiv 2005.14165, §2.4). A tie counts as wrong.
"""

from collections.abc import Sequence

from unlearn.metrics.base import Comparison, Evidence, Scores, per_text
from unlearn.metrics.memory.nll import text_nll

ROLES = ("general", "forget")


def chosen(right: float, wrong: Sequence[float]) -> float | None:
    """Return 1 if the right answer has the lowest NLL, else 0. The result is None without wrong answers."""
    return float(right < min(wrong)) if wrong else None


def measure(evidence: Evidence) -> Scores:
    """Return the multiple-choice accuracy of each model on each role."""

    def values(when: str, role: str) -> list[float | None]:
        pairs = zip(evidence.seen(when, role), evidence.wrong_nll(when, role), strict=True)
        return [chosen(text_nll(right), wrong) for right, wrong in pairs]

    return per_text(evidence, ROLES, values)


CHOICE = Comparison(
    name="choice",
    title="Multiple choice",
    help="Share of questions whose right answer has the lowest mean NLL among right and wrong answers.",
    ideal="higher",
    measure=measure,
    needs="rows with wrong answers",
    paper="Brown et al. 2020, arXiv 2005.14165",
)
