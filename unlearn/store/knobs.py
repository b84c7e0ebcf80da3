"""A knob is one setting, declared once as a dataclass field with default, range and help.

Validation, forms, flags, --config files and the tables of docs/ read the same line, for the methods' own settings and
for those of every run (unlearn.store.config). Nothing here imports torch.
"""

import difflib
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = Literal["float", "int", "bool", "choice", "text", "names", "table"]
KINDS: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "text", tuple: "names"}
# Characters of a wrong value that a message repeats.
SHOWN = 100
REPR = reprlib.Repr()
REPR.maxstring = REPR.maxother = REPR.maxlong = SHOWN


@dataclass(frozen=True)
class Knob:
    """One setting with everything that a form or a command line needs to show it.

    label: what a form writes beside the field. titles: what a form shows for each of the choices.
    default: MISSING where a value must be given. on: what a flag without a value means.
    """

    name: str
    kind: Kind
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    help: str
    advanced: bool
    label: str
    titles: tuple[str, ...]
    on: float | None = None

    def title(self, choice: str) -> str:
        """Return the text that a form shows for this choice."""
        return self.titles[self.choices.index(choice)]

    def reach(self) -> str:
        """Return the allowed values in a few words for a table or a help text, or "" for free text."""
        if self.choices:
            return ", ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{format_value(self.low)} to {format_value(self.high)}"
        return "true, false" if self.kind == "bool" else ""


def format_value(value: float) -> str:
    """Return a number as a person writes it: whole numbers below ten thousand million in full, others in the
    short form of %g.
    """
    return f"{value:,.0f}".replace(",", "") if value == int(value) and abs(value) < 10**10 else f"{value:g}"


def knob(
    default: object = MISSING,
    low: float | None = None,
    high: float | None = None,
    help: str = "",
    *,
    choices: tuple[str, ...] | Mapping[str, str] = (),
    advanced: bool = False,
    label: str = "",
    kind: Kind | None = None,
    on: float | None = None,
) -> Any:
    """Return a dataclass field that knows its range and its help sentence.

    choices: the allowed words, or {word: what a form shows for it}. kind: needed where there is no default. on: what a
    flag without a value means.
    """
    titles = tuple(choices.values() if isinstance(choices, Mapping) else choices)
    said = {"low": low, "high": high, "help": help, "choices": tuple(choices), "titles": titles}
    meta = {"knob": said | {"advanced": advanced, "label": label, "kind": kind, "on": on}}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=meta)
    return field(default=default, metadata=meta)


def knobs_of(cls: "type[DataclassInstance]") -> tuple[Knob, ...]:
    """Return the settings of a dataclass in the order of its fields."""
    return tuple(_knob(f) for f in fields(cls) if "knob" in f.metadata)


def _knob(f: Field[object]) -> Knob:
    meta = dict(f.metadata["knob"])
    default = f.default if f.default_factory is MISSING else f.default_factory()
    kind = meta.pop("kind") or ("choice" if meta["choices"] else KINDS[type(default)])
    label = meta.pop("label") or f.name.replace("_", " ").capitalize()
    return Knob(name=f.name, kind=kind, default=default, label=label, **meta)


def check(owner: str, k: Knob, value: object) -> Any:
    """Return the value in the knob's type, or raise a ValueError that names owner, field, rule and value."""
    if k.kind in ("float", "int"):
        return _number(owner, k, value)
    if k.kind == "bool" and isinstance(value, str) and value.lower() in ("true", "false"):
        value = value.lower() == "true"
    if k.kind == "text" and k.low is not None and isinstance(value, (int, float)):
        # A text that may be a number is written without quotes in a file.
        value = repr(value)
    if k.kind == "choice" and isinstance(value, str):
        value = in_order(value, k.choices)
    if k.kind == "names" and isinstance(value, list):
        value = tuple(value)
    rules = {
        "bool": (isinstance(value, bool), "true or false"),
        "choice": (value in k.choices if isinstance(value, str) else False, "among " + ", ".join(k.choices)),
        "text": (isinstance(value, str), "text"),
        "names": (
            isinstance(value, tuple) and all(isinstance(one, str) for one in value),
            "a list of names",
        ),
        "table": (isinstance(value, Mapping), "an object of names and values"),
    }
    good, rule = rules[k.kind]
    if not good:
        raise ValueError(f"{owner}: {k.name} must be {rule}, got {REPR.repr(value)}.")
    return value


def in_order(value: str, choices: Sequence[str]) -> str:
    """Return the choice that a value names by its parts in any order ("plain+chat"), or the value as it is."""
    parts = sorted(value.split("+"))
    return next((one for one in choices if sorted(one.split("+")) == parts), value)


def _number(owner: str, k: Knob, value: Any) -> float | int:
    """The value as a float, or as an int where the knob is one; text that reads as a number is one (YAML's 1e-4)."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    shown = str(value) if isinstance(value, str) and math.isfinite(number) else REPR.repr(value)
    # The comparison is false for nan too, so that nan is refused.
    if not (k.low is not None and k.high is not None and k.low <= number <= k.high):
        low, high = (f"{end:.0f}" if k.kind == "int" else f"{end:g}" for end in (k.low or 0, k.high or 0))
        raise ValueError(f"{owner}: {k.name} must lie in [{low}, {high}], got {shown[:SHOWN]}.")
    if k.kind == "int" and number != math.floor(number):
        raise ValueError(f"{owner}: {k.name} must be a whole number, got {shown[:SHOWN]}.")
    return int(number) if k.kind == "int" else number


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message with the known name most like this one, or "" where none is like it."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""
