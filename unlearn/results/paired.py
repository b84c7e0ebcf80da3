"""Compares two runs over the same texts with a paired test: which of the two gives more of them rightly?

Right or wrong: McNemar's exact test on the texts that the two answer differently (two-sided binomial with p = 1/2), the
interval of the difference after Bonett & Price 2012. Numbers: the sign-flip test of the paired differences (scipy), and
the bootstrap of their mean. A difference that the test does not tell from chance was not seen, which is not the same as
being equal: the interval says how large it may still be.
"""

import math
from collections.abc import Sequence

from unlearn.compute.intervals import Interval, Z, bootstrap
from unlearn.compute.libraries import settled
from unlearn.results.compare import number
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

ALPHA = 0.05
DRAWS = 9999
MCNEMAR, FLIPS = "McNemar's exact test", "sign-flip test"


def shares(a: Sequence[float], b: Sequence[float]) -> tuple[float, Interval, float]:
    """Return (difference a - b, its 95 % interval, p) of two lists of 1 and 0 over the same texts."""
    n = len(a)
    mine = sum(x > y for x, y in zip(a, b, strict=True))
    theirs = sum(x < y for x, y in zip(a, b, strict=True))
    p = float(settled("scipy.stats").binomtest(mine, mine + theirs).pvalue) if mine + theirs else 1.0
    # One more text on each side and two in all keep the interval honest where no text differs.
    one, other = (mine + 1) / (n + 2), (theirs + 1) / (n + 2)
    half = Z * math.sqrt((one + other - (one - other) ** 2) / (n + 2))
    return (mine - theirs) / n, (max(-1.0, one - other - half), min(1.0, one - other + half)), p


def numbers(a: Sequence[float], b: Sequence[float]) -> tuple[float, Interval, float]:
    """Return (mean difference a - b, its 95 % interval, p) of two lists of numbers over the same texts."""
    import numpy as np

    apart = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not apart.any():
        return 0.0, (0.0, 0.0), 1.0
    found = settled("scipy.stats").permutation_test(
        (apart,), np.mean, permutation_type="samples", n_resamples=DRAWS, rng=np.random.default_rng(0)
    )
    return float(apart.mean()), bootstrap(apart.tolist()), float(found.pvalue)


def compared(
    a: Sequence[float], b: Sequence[float], what: str = "texts", names: tuple[str, str] = ("A", "B")
) -> JsonObject:
    """Return {"n", "a", "b", "difference", "interval", "p", "test", "sentence"} of two lists over the same texts.

    names: what the sentence calls the two.

    ValueError where they are not over the same number of texts, or over none.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"paired: both must be over the same texts, got {len(a)} and {len(b)}.")
    exact = all(value in (0, 1) for value in (*a, *b))
    difference, around, p = shares(a, b) if exact else numbers(a, b)
    found: JsonObject = {
        "n": len(a),
        "a": sum(a) / len(a),
        "b": sum(b) / len(b),
        "difference": difference,
        "interval": list(around),
        "p": p,
        "test": MCNEMAR if exact else FLIPS,
    }
    return found | {"sentence": _sentence(found, a, b, what, names)}


def _sentence(
    found: JsonView, a: Sequence[float], b: Sequence[float], what: str, names: tuple[str, str]
) -> str:
    (one, other), (low, high) = names, found["interval"]
    exact = found["test"] == MCNEMAR
    unit = 100 if exact else 1
    span = f"95 % interval {_signed(unit * low)} to {_signed(unit * high)}{' points' if exact else ''}"
    test = f"{found['test']} p {_p(found['p'])}, n {found['n']} {what}"
    if exact:
        mine = sum(x > y for x, y in zip(a, b, strict=True))
        theirs = sum(x < y for x, y in zip(a, b, strict=True))
        said = f"{mine} {what} {one} alone has right, {theirs} {other} alone"
    else:
        said = f"The mean of {one} is {_signed(found['difference'])} from that of {other}"
    if found["p"] > ALPHA:
        return f"{said}: no difference was seen, which does not make them equal ({span}; {test})."
    more = "more" if found["difference"] > 0 else "fewer" if exact else "less"
    return f"{said}: {one} has {more} ({span}; {test})."


def _signed(value: float) -> str:
    told = f"{value:+.0f}" if abs(value) >= 10 or value == round(value) else f"{value:+.2g}"
    return told.replace("-", "−")


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "below 0.0001"


def runs(a: Run, b: Run, role: str = "forget", names: tuple[str, str] = ("A", "B")) -> JsonObject:
    """Return compared() of what two runs answer to the same texts of a role, or nothing where they share too few.

    Questions count as right where the answer is exact. Texts without a question are compared by their mean token NLL.
    """
    ours, theirs = _answers(a, role), _answers(b, role)
    both = [key for key in ours if key in theirs]
    if len(both) < 2:
        return {}
    exact = [(ours[key]["exact"], theirs[key]["exact"]) for key in both]
    if all(isinstance(x, bool) and isinstance(y, bool) for x, y in exact):
        return compared(
            [float(x) for x, _ in exact], [float(y) for _, y in exact], f"{role} questions", names
        )
    nll = [(number(ours[key]["nll"]), number(theirs[key]["nll"])) for key in both]
    return compared([x for x, _ in nll], [y for _, y in nll], f"{role} texts, NLL", names)


def _answers(run: Run, role: str) -> dict[tuple[str, str], JsonObject]:
    """{(prompt, answer): the sample after the run}; a text that stands twice counts once."""
    return {
        (one["prompt"], one["answer"]): one
        for one in run.samples()
        if one["when"] == "after" and one["role"] == role
    }
