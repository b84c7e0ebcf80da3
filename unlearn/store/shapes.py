"""Small checks of a JSON value's kind, and functions that join them into the shape of a record.

A check takes any value and answers yes or no; it never raises. What files hold is said with them in records.py.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

# The most bytes of a safetensors header. A model of ten thousand tensors needs one MiB, and 25 times as much
# memory when it is parsed.
MAX_HEADER = 8 * 2**20

# The texts that disk.json_safe() writes for numbers that JSON does not have.
NAMED = ("nan", "inf", "-inf")
# A whole number with more digits does not fit into a float, and no count here is so large.
MOST_DIGITS = 300

# One JSON object from a file of a run (records.py checks its fields), from a form, or for `--json`.
JsonObject = dict[str, Any]
# A JSON object that the function only reads.
JsonView = Mapping[str, Any]

Check = Callable[[Any], bool]


def text(value: object) -> bool:
    """Return whether the value is a text."""
    return isinstance(value, str)


def real(value: object) -> bool:
    """Return whether the value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 10**MOST_DIGITS


def number(value: object) -> bool:
    """Return whether the value is a finite number, or the name of a number that is not finite."""
    return real(value) or value in NAMED if isinstance(value, (int, float, str)) else False


def count(value: object) -> bool:
    """Return whether the value is a whole number from 0."""
    return real(value) and isinstance(value, int) and value >= 0


def flag(value: object) -> bool:
    """Return whether the value is true or false."""
    return isinstance(value, bool)


def one_of(*values: str) -> Check:
    """Return a check that accepts these texts alone."""
    return lambda value: isinstance(value, str) and value in values


def maybe(check: Check) -> Check:
    """Return a check that accepts null and what the given check accepts."""
    return lambda value: value is None or check(value)


def every(check: Check) -> Check:
    """Return a check that accepts a list in which every item passes."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def some(check: Check) -> Check:
    """Return a check that accepts a list with at least one item, in which every item passes."""
    return lambda value: bool(value) and every(check)(value)


def table(check: Check) -> Check:
    """Return a check that accepts an object in which every value passes."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def has(needed: Mapping[str, Check], other: Mapping[str, Check] | None = None) -> Check:
    """Return a check that accepts an object with all needed fields. The other fields may be missing, and each
    one that is there must pass its check.
    """
    also = dict(other or {})

    def check(value: object) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value and good(value[name]) for name, good in needed.items())
            and all(good(value[name]) for name, good in also.items() if name in value)
        )

    return check


def pair_of(check: Check) -> Check:
    """Return a check that accepts a list of exactly two items that both pass."""
    return lambda value: isinstance(value, list) and len(value) == 2 and all(map(check, value))


def pair(value: object) -> bool:
    """Return whether the value is a list of a token and its log-prob."""
    return isinstance(value, list) and len(value) == 2 and text(value[0]) and number(value[1])
