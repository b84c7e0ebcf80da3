"""Small checks of what kind a value is that was read from JSON, and how to join them into the shape of a record.

A check takes any value and answers yes or no; it never raises. What files hold is said with them in records.py.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

# Bytes of a safetensors header: a model of ten thousand tensors needs one MiB; read, it takes 25 times as much.
MAX_HEADER = 8 * 2**20

# How disk.plain writes numbers that JSON has not.
NAMED = ("nan", "inf", "-inf")
# A whole number with more is no float, and nothing here counts so far.
MOST_DIGITS = 300

# One JSON object: of a file of a run (its fields checked by records.py), of a form, or on its way to `--json`.
JsonObject = dict[str, Any]
# The same where it is only read.
JsonView = Mapping[str, Any]

Check = Callable[[Any], bool]


def text(value: object) -> bool:
    return isinstance(value, str)


def real(value: object) -> bool:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 10**MOST_DIGITS


def number(value: object) -> bool:
    """A finite number, or the name of one that is not."""
    return real(value) or value in NAMED if isinstance(value, (int, float, str)) else False


def count(value: object) -> bool:
    return real(value) and isinstance(value, int) and value >= 0


def flag(value: object) -> bool:
    return isinstance(value, bool)


def one_of(*values: str) -> Check:
    return lambda value: isinstance(value, str) and value in values


def maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def every(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def some(check: Check) -> Check:
    return lambda value: bool(value) and every(check)(value)


def table(check: Check) -> Check:
    """An object whose values all pass."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def has(needed: Mapping[str, Check], other: Mapping[str, Check] | None = None) -> Check:
    """An object with these fields, and where it has the others, of their kinds."""
    also = dict(other or {})

    def check(value: object) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value and good(value[name]) for name, good in needed.items())
            and all(good(value[name]) for name, good in also.items() if name in value)
        )

    return check


def pair_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and len(value) == 2 and all(map(check, value))


def pair(value: object) -> bool:
    """A token and its log-prob."""
    return isinstance(value, list) and len(value) == 2 and text(value[0]) and number(value[1])
