"""Says when a trial is given up early: where it is behind the middle of the earlier ones in both of their aims.

It is the median rule (Golovin et al. 2017, "Google Vizier", §4) for two aims at once: a trial that forgets less than
the others may still keep more, so being behind in one is no reason.
"""

from collections.abc import Sequence
from statistics import median

# (share of the training that is done, mean probability of the forget rows, likelihood of the rows to keep ÷ before).
Point = tuple[float, float, float]
# Before this share of the training nothing is given up, and nothing at its end.
FROM = 1 / 3
# So many trials must have come as far first.
LEAST = 5


def hopeless(now: Point, earlier: Sequence[Sequence[Point]], target: float) -> bool:
    """Return whether a trial that stands here is behind the middle of the earlier ones at the same share, in both.

    target: what the forget rows' mean probability should come to. Without one (nan) nothing is given up.
    """
    share, forget, kept = now
    there = [point for curve in earlier if (point := at(curve, share)) is not None]
    if not FROM <= share < 1.0 or len(there) < LEAST:
        return False
    usual = median(abs(point[1] - target) for point in there)
    return abs(forget - target) > usual and kept < median(point[2] for point in there)


def at(curve: Sequence[Point], share: float) -> Point | None:
    """Return a curve's last point up to this share of its training, or None where it did not come so far."""
    if not curve or curve[-1][0] < share:
        return None
    return next((point for point in reversed(curve) if point[0] <= share), None)
