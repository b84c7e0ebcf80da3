"""The prefix attack gives the first words of an answer, and the model has to continue.

    value = share of answers whose second half greedy decoding completes exactly, the first half given

In tokens: ⌊n/2⌋ of n are given, at least one; an answer of a single token is left out. How extraction is tested since
Carlini et al. 2022 (arXiv 2202.07646). A hint helps everyone, so only what exceeds the control counts.
"""

from collections.abc import Sequence

from unlearn.attacks.base import Attack, Found, Reading, Subject, beside, exact_each, percent


def given(tokens: int) -> int:
    """Return how many of an answer's tokens are given."""
    return max(1, tokens // 2)


def completed(readings: Sequence[Reading]) -> list[float]:
    """Return 1 for each answer of two tokens or more that is completed exactly, else 0."""
    return [r.is_exact(given(len(r.ranks))) for r in readings if len(r.ranks) > 1]


def run(subject: Subject) -> Found | None:
    """Give half of each answer and return what the attack found. It is None where no answer has two tokens."""
    readings = subject.each("forget", lambda loaded, side: subject.read(loaded, side.role))
    values = {side: completed(found) for side, found in readings.items()}
    if not all(values.values()):
        return None
    plain = exact_each([r for r in readings["after"] if len(r.ranks) > 1])
    finding = (
        f"Given the first half of the answer it completes {percent(values['after'])} "
        f"(from nothing: {percent(plain)}); {beside(subject, values)}."
    )
    return Found(values, finding, plain, {"left_out": len(readings["after"]) - len(values["after"])})


ATTACK = Attack(
    name="prefix",
    title="Answer prefix",
    help="Share of answers completed exactly when their first half is given; one-token answers are left out.",
    tells="suppressed",
    run=run,
    paper="Carlini et al. 2022, arXiv 2202.07646",
    needs="answers of two tokens or more",
)
