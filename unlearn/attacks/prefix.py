"""Answer prefix: the first words of the answer are given, and the model has to go on.

    value = share of answers whose second half greedy decoding completes exactly, the first half given

In tokens: ⌊n/2⌋ of n are given, at least one; an answer of a single token is left out. How extraction is tested since
Carlini et al. 2022 (arXiv 2202.07646). A hint helps everyone, so only what exceeds the control counts.
"""

from collections.abc import Sequence

from unlearn.attacks.base import Attack, Found, Reading, Subject, beside, known, percent


def given(tokens: int) -> int:
    """How many of an answer's tokens are given away."""
    return max(1, tokens // 2)


def completed(readings: Sequence[Reading]) -> list[float]:
    """1 or 0 for each answer of two tokens or more."""
    return [r.known(given(len(r.ranks))) for r in readings if len(r.ranks) > 1]


def run(subject: Subject) -> Found | None:
    readings = subject.each("forget", lambda loaded, side: subject.read(loaded, side.role))
    values = {side: completed(found) for side, found in readings.items()}
    if not all(values.values()):
        return None
    plain = known([r for r in readings["after"] if len(r.ranks) > 1])
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
