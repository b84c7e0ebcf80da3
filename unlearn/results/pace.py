"""How long a run will still train: one estimate, which the page of the run and a page that waits for it both show."""

import math
from collections.abc import Sequence

from unlearn.store.shapes import JsonView

RECENT = (
    # Steps whose pace counts: a resumed run may lie on another machine, and a machine may become busy.
    20
)


def seconds_to_go(steps: Sequence[JsonView]) -> float | None:
    """Seconds of training that are left, from the pace of the last steps; None before there is a pace.

    steps: the run's step events. One that says no time is passed over.
    """
    recent = [step for step in steps[-RECENT:] if _is_time(step.get("seconds"))]
    if len(recent) < 2 or recent[-1]["step"] == recent[0]["step"]:
        return None
    pace = (recent[-1]["seconds"] - recent[0]["seconds"]) / (recent[-1]["step"] - recent[0]["step"])
    return max(pace, 0.0) * (recent[-1]["of"] - recent[-1]["step"])


def duration(seconds: float) -> str:
    """A time in words: 41 s, 3 min or 2.5 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
