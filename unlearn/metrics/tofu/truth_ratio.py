"""The truth ratio compares the probability of wrong answers with that of the right one (TOFU, arXiv
2401.06121). It is exp(mean_k -NLL(wrong_k)) / exp(-NLL(right)), with NLL per answer token.

Below 1 the right answer is likelier than wrong ones of the same form. On the forget facts it is read on the
paraphrased questions; elsewhere, where no paraphrase exists, on the questions themselves.
"""

import math
from collections.abc import Sequence

from unlearn.metrics.base import Comparison, Evidence, Scores, mean, per_text
from unlearn.metrics.memory.nll import text_nll

ROLES = ("paraphrase", "retain", "general", "neighbours")


def truth_ratio(right: float, wrong: Sequence[float]) -> float | None:
    """Return the truth ratio from mean token NLLs. It is None without wrong answers and infinite where it
    overflows.
    """
    if not wrong:
        return None
    power = right - mean(wrong)
    return math.exp(power) if power < 700 else math.inf


def truth_ratios(evidence: Evidence, when: str, role: str) -> list[float | None]:
    """Return one truth ratio for each row of the role."""
    pairs = zip(evidence.seen(when, role), evidence.wrong_nll(when, role), strict=True)
    return [truth_ratio(text_nll(right), wrong) for right, wrong in pairs]


def measure(evidence: Evidence) -> Scores:
    """Return the mean truth ratio of each model on each role."""
    return per_text(evidence, ROLES, lambda when, role: truth_ratios(evidence, when, role))


TRUTH_RATIO = Comparison(
    name="truth_ratio",
    title="Truth ratio",
    help="Geometric mean probability of the wrong answers over the probability of the right one, mean over rows.",
    ideal="lower",
    measure=measure,
    needs="rows with wrong answers",
    paper="Maini et al. 2024, arXiv 2401.06121",
)
