"""TOFU's probability of the right answer: exp(-S/n), S being the summed and n the counted loss of its tokens.

On real authors and world facts it is the right answer's share, p / (p + Σ p_wrong), of the same p's.
"""

import math
from collections.abc import Sequence


def plain(right: float) -> float:
    """Return exp(-S/n) from the mean loss a token, in nats."""
    return math.exp(-right)


def normalised(right: float, wrong: Sequence[float]) -> float:
    """Return the right answer's share among the right and the wrong answers, from mean losses a token."""
    # The share is one over a sum of exp(right - loss), which no loss can make 0 / 0.
    return 1 / (1 + sum(math.exp(min(700.0, right - loss)) for loss in wrong))
