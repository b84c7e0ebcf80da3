"""What the screen says about runs side by side: differences, verdicts, deltas; plain records in and out.

Pages and reports share these functions, so that a verdict on the screen and one in a report cannot
disagree. No torch, no streamlit: a recorded run can be read anywhere.
"""

import math
from typing import Any


def number(value: Any) -> float:
    """A float from what a run wrote; "nan", "inf" and "-inf" are written by name, a missing value is nan."""
    return math.nan if value is None else float(value)


def short(value: Any, sign: bool = False) -> str:
    """At most three significant digits, with a real minus sign: 0.01234 → 0.0123, -1234 → −1230."""
    x = number(value)
    if not math.isfinite(x):
        return "not a number" if math.isnan(x) else ("∞" if x > 0 else "−∞")
    text = f"{x:.3g}"
    if "e+" in text and abs(x) < 1e6:
        text = f"{float(text):.0f}"
    text = "0" if text == "-0" else text
    return ("+" if sign and x > 0 else "") + text.replace("-", "−")
