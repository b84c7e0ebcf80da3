"""Estimates how long a run will still train, for every page that shows it."""

import math
from collections.abc import Sequence

from unlearn.store.shapes import JsonView

# The number of last steps whose pace counts. Earlier ones mislead: a resumed run may be on another machine now, and a
# machine may become busy.
RECENT = 20


def seconds_to_go(steps: Sequence[JsonView]) -> float | None:
    """Return the seconds of training that are left, from the pace of the last steps.

    It is None before there is a pace.

    steps: the run's step events. One that says no time is passed over.
    """
    recent = [step for step in steps[-RECENT:] if _is_time(step.get("seconds"))]
    if len(recent) < 2 or recent[-1]["step"] == recent[0]["step"]:
        return None
    pace = (recent[-1]["seconds"] - recent[0]["seconds"]) / (recent[-1]["step"] - recent[0]["step"])
    return max(pace, 0.0) * (recent[-1]["of"] - recent[-1]["step"])


def duration(seconds: float) -> str:
    """Write a time in words, such as 41 s, 3 min or 2.5 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
