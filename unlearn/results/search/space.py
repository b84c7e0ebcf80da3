"""Says which settings a search varies and between which bounds, out of what each setting says of itself.

A setting's bounds are a tenth and ten times its tuned value (for epochs and the LoRA rank a third and three times),
inside its own range, on a log scale. A share between 0 and 1 is varied over its whole range. Whoever wants other
bounds gives them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from unlearn.methods import method_named
from unlearn.store.config import RunConfig
from unlearn.store.knobs import Knob, check, nearest
from unlearn.store.shapes import JsonObject, JsonView

# Settings of every run that a search may vary. Those of LORA_ONLY have a meaning under an adapter alone.
OF_A_RUN = ("lr", "epochs", "batch_size", "lora_rank")
# Those that are varied unless others are named.
USUAL = ("lr", "epochs", "lora_rank")
# How far from the tuned value a search goes: this times less, and this times more.
FACTOR, COUNTED = 10.0, 3.0
# A knob whose tuned value is 0 has no scale of its own; it is tried up to this.
FROM_ZERO = 10.0
# Digits of a number that is tried, so that a person can type it.
DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One setting that a search varies. choices: its values, where it is no number.

    log: whether its scale is that of its digits. whole: whether only whole numbers are tried.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[str | bool, ...] = ()

    def value(self, found: object) -> float | int | str | bool:
        """Return what is really tried for a suggested value: a number of few digits inside the bounds."""
        if self.choices:
            return next(one for one in self.choices if one == found)
        number = float(f"{float(str(found)):.{DIGITS}g}")
        number = min(self.high, max(self.low, number))
        return round(number) if self.whole else number

    def holds(self, value: object) -> bool:
        """Return whether this value lies on the axis."""
        if self.choices:
            return value in self.choices
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def words(self) -> str:
        """Return the bounds as a person writes them."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        return f"{self.low:g} to {self.high:g}"

    def to_json(self) -> JsonObject:
        """Return the fields as plain values."""
        return asdict(self) | {"choices": list(self.choices)}

    @classmethod
    def from_json(cls, value: JsonView) -> "Axis":
        """Return the axis that to_json() wrote."""
        return cls(**{**value, "choices": tuple(value["choices"])})


def axes(
    run: RunConfig,
    names: Sequence[str] = (),
    given: Mapping[str, str] | None = None,
    fixed: Sequence[str] = (),
) -> tuple[Axis, ...]:
    """Return the axes of a search around a run's settings.

    names: the settings to vary (default: those of USUAL and the method's own numbers that are not for experts).
    given: {setting: "1e-5..1e-2" or "a,b"}, whose settings are varied too. fixed: settings that are left as they are.
    ValueError for a setting that is unknown or cannot be varied, and where nothing is left to vary.
    """
    given = given or {}
    known = varied(run)
    for name in (*names, *given):
        if name not in known:
            raise ValueError(
                f"search: {name} is no setting of {run.method} that can be varied{nearest(name, known)}; choose among "
                f"{', '.join(known)}."
            )
    if both := sorted({*names, *given} & set(fixed)):
        raise ValueError(f"search: {both[0]} is given a value and varied too; leave out one of the two.")
    chosen = list(names) or [name for name, knob in known.items() if _usual(name, knob)]
    chosen = [name for name in dict.fromkeys([*chosen, *given]) if name not in fixed]
    if not chosen:
        raise ValueError(
            f"search: nothing is left to vary; name settings among {', '.join(known)}, or fix fewer of them."
        )
    return tuple(_axis(known[name], setting(run, name), given.get(name, "")) for name in chosen)


def varied(run: RunConfig) -> dict[str, Knob]:
    """Return the settings of this run that a search can vary, with what they say of themselves."""
    of_run = [name for name in OF_A_RUN if name != "lora_rank" or run.tuning == "lora"]
    found = {name: RunConfig.setting(name) for name in of_run}
    kinds = ("float", "int", "bool", "choice")
    return found | {knob.name: knob for knob in method_named(run.method).knobs() if knob.kind in kinds}


def setting(run: RunConfig, name: str) -> object:
    """Return the value that a run has for a setting of its own or of its method."""
    return getattr(run, name) if name in OF_A_RUN else run.knobs.get(name, varied(run)[name].default)


def with_settings(run: RunConfig, values: Mapping[str, object]) -> RunConfig:
    """Return the run with these settings in place of its own."""
    own = {name: value for name, value in values.items() if name in OF_A_RUN}
    knobs = dict(run.knobs) | {name: value for name, value in values.items() if name not in own}
    return RunConfig.from_json(
        run.to_json() | own | {"knobs": method_named(run.method).from_knobs(knobs).to_json()}
    )


def _usual(name: str, knob: Knob) -> bool:
    if name in OF_A_RUN:
        return name in USUAL
    return knob.kind in ("float", "int") and not knob.advanced


def _axis(knob: Knob, tuned: object, given: str) -> Axis:
    if knob.kind in ("bool", "choice"):
        return _choice(knob, given)
    low, high = float(knob.low or 0.0), float(knob.high or 0.0)
    whole = knob.kind == "int"
    if given:
        low, high = _bounds(knob, given)
        return Axis(name=knob.name, low=low, high=high, log=low > 0 and high / low >= FACTOR, whole=whole)
    value = float(str(tuned))
    if low == 0.0 and high <= 1.0 and knob.name != "lr":
        return Axis(name=knob.name, low=low, high=high)
    if value <= 0:
        return Axis(name=knob.name, low=low, high=min(high, FROM_ZERO), whole=whole)
    times = COUNTED if whole else FACTOR
    least, most = (float(f"{bound:.{DIGITS}g}") for bound in (value / times, value * times))
    if whole:
        least, most = math.floor(least), math.ceil(most)
    low, high = max(low, least), min(high, most)
    return Axis(name=knob.name, low=max(low, 1.0) if whole else low, high=high, log=low > 0, whole=whole)


def _choice(knob: Knob, given: str) -> Axis:
    every: tuple[str | bool, ...] = knob.choices or (False, True)
    if not given:
        return Axis(name=knob.name, choices=every)
    asked = tuple(check("search", knob, part.strip()) for part in given.split(","))
    return Axis(name=knob.name, choices=tuple(dict.fromkeys(asked)))


def _bounds(knob: Knob, given: str) -> tuple[float, float]:
    first, dots, last = given.partition("..")
    if not dots:
        raise ValueError(f"search: the range of {knob.name} must be such as 1e-5..1e-2, got {given[:80]!r}.")
    low, high = (float(check("search", knob, part)) for part in (first, last))
    if not low < high:
        raise ValueError(f"search: the range of {knob.name} must begin with the smaller number, got {given}.")
    return low, high
