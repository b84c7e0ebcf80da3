"""Gives the 95 % interval of a score over texts: Wilson for shares, the bootstrap for means, and of a difference.

An interval says how far a score may lie from that of many more such texts. It knows nothing of other seeds.
"""

import math
from collections.abc import Callable, Sequence

# The normal distribution's 97.5 % point.
Z = 1.959964
DRAWS = 1000
Interval = tuple[float, float]


def wilson(hits: float, n: int) -> Interval:
    """Return the 95 % interval of a share after Wilson (1927). scipy has it too, but its import takes a second."""
    share, square = hits / n, Z * Z / n
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(max(0.0, share * (1 - share) / n + square / (4 * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the percentile interval of the mean, over texts drawn again with replacement (Efron 1979).

    It is (-inf, inf) where a value is not finite.
    """
    import numpy as np

    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all():
        return -math.inf, math.inf
    drawn = np.random.default_rng(seed).integers(len(found), size=(DRAWS, len(found)))
    low, high = np.quantile(found[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def of_auc(value: float, members: int, others: int) -> Interval:
    """Return the 95 % interval of an AUC between so many members and others (Newcombe 2006, method 5).

    It is not a point where the two groups do not overlap, as a bootstrap's is: θ with |AUC - θ| = Z √V(θ), where
    V(θ) = θ (1 - θ) [1 + ((members + others) / 2 - 1) ((1 - θ) / (2 - θ) + θ / (1 + θ))] / (members · others).
    """
    both = (members + others) / 2 - 1

    def beyond(theta: float) -> float:
        shape = (1 - theta) / (2 - theta) + theta / (1 + theta)
        return (value - theta) ** 2 - Z * Z * theta * (1 - theta) * (1 + both * shape) / (members * others)

    def root(inside: float, outside: float) -> float:
        # At the AUC itself the difference is none, at the end of the scale it is all of it.
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if beyond(middle) > 0 else (middle, outside)
        return outside

    return root(value, 0.0), root(value, 1.0)


def interval(
    values: Sequence[float], combine: Callable[[Sequence[float]], float] = lambda values: values[0]
) -> Interval:
    """Return the interval of a score: Wilson where each text counts 0 or 1, else the bootstrap.

    combine: what makes the score of the texts' values; it must be a growing function of their mean, as the mean
    itself and a perplexity are.
    """
    if all(value in (0, 1) for value in values):
        return wilson(sum(values), len(values))
    low, high = bootstrap(values)
    return combine([low]), combine([high])


def of_harmonic(groups: Sequence[Sequence[Sequence[float]]], seed: int = 0) -> Interval:
    """Return the bootstrap interval of a harmonic mean of means over questions that have several values each.

    groups: of each set of questions the values, one row a kind of value. A question is drawn with all of its values. A
    mean that is 0 makes the harmonic mean 0.
    """
    import numpy as np

    draws, inverse, parts = np.random.default_rng(seed), np.zeros(DRAWS), 0
    for group in groups:
        values = np.array(group, dtype=np.float64)
        parts += len(values)
        chosen = draws.integers(values.shape[1], size=(DRAWS, values.shape[1]))
        # 1 / (... + inf) is 0.
        with np.errstate(divide="ignore"):
            inverse += (1 / values[:, chosen].mean(axis=2)).sum(axis=0)
    low, high = np.quantile(parts / inverse, [0.025, 0.975])
    return float(low), float(high)


def ratio(a: float, around_a: Sequence[float], b: float, around_b: Sequence[float]) -> Interval:
    """Return the interval of a / b, neither below 0, out of their own two, taken as independent (Donner & Zou 2012).

    The upper end is infinite where b may be 0.
    """

    def end(of_a: float, of_b: float, sign: int) -> float:
        above, below = of_a * (2 * a - of_a), of_b * (2 * b - of_b)
        root = math.sqrt(max(0.0, (a * b) ** 2 - above * below))
        # The same as (a b + sign · root) / below, without a difference of two near numbers at the lower end.
        if sign < 0:
            return above / (a * b + root) if a * b + root > 0 else 0.0
        return (a * b + root) / below if below > 0 else math.inf

    return max(0.0, end(around_a[0], around_b[1], -1)), end(around_a[1], around_b[0], 1)


def difference(a: float, around_a: Sequence[float], b: float, around_b: Sequence[float]) -> Interval:
    """Return the interval of a - b out of their own two, taken as independent (Newcombe 1998; Zou & Donner 2008)."""
    low = a - b - math.hypot(a - around_a[0], around_b[1] - b)
    high = a - b + math.hypot(around_a[1] - a, b - around_b[0])
    return low, high
