"""Says when a run ends before its last step and which step's weights it keeps, in plain numbers alone.

A run may end where it has forgotten as much as its target, and where a budget is spent: general text or the texts to
keep have suffered by more than was allowed. Its best step is the one nearest to the target among those inside every
budget. What is read of the model, and how often, is in unlearn.measure.watch. Nothing here imports torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from unlearn.store.shapes import JsonObject, JsonView

TARGET = "target"
# The most texts of a role that are read while a run trains.
ROWS = 32
KEEPS = {"last": "The last step", "best": "The step nearest to the target inside the budget"}


@dataclass(frozen=True)
class Kind:
    """A kind of budget: the role that it reads, the limits it may have, the value that the start has, whether values
    above the limit break it, and how a sentence states a value.
    """

    role: str
    low: float
    high: float
    start: float
    above: bool
    says: str


BUDGETS = {
    "general-ppl": Kind("general", 1.0, 1e6, 1.0, True, "general perplexity is {value} times the start's"),
    "kl": Kind("general", 1e-6, 100.0, 0.0, True, "general text changed by {value} nats a token"),
    "retain": Kind(
        "retain", 1e-6, 1.0, 1.0, False, "the answers to keep are {value} times as likely as at the start"
    ),
}
# Where the target comes from, in the words of a sentence.
SOURCES = {
    "retrained": "the retrained model's",
    "approximate": "the start's on rows that it never saw",
    "given": "as asked for",
}


@dataclass(frozen=True)
class StopRule:
    """What ends a run early and what it keeps. stop_at: "", "target" or a number as text. limits: {budget: limit}."""

    stop_at: str
    limits: Mapping[str, float]
    keep: str

    @classmethod
    def of(cls, stop_at: str, budget: Sequence[str], keep: str) -> "StopRule":
        """Return the rule that three settings of a run state. ValueError names the setting, the rule and the value."""
        return cls(_aim(stop_at.strip()), _limits(budget), keep)

    @property
    def on(self) -> bool:
        """Return whether anything must be read while it trains."""
        return bool(self.stop_at or self.limits) or self.keep == "best"

    @property
    def needs_target(self) -> bool:
        """Return whether there must be a target: to stop there, or to say which step is the best."""
        return bool(self.stop_at) or self.keep == "best"

    @property
    def given(self) -> float | None:
        """Return the target that was given as a number, or None."""
        return float(self.stop_at) if self.stop_at not in ("", TARGET) else None

    @property
    def roles(self) -> tuple[str, ...]:
        """Return the roles of the data that are read while it trains."""
        return tuple(dict.fromkeys(["forget", *(BUDGETS[name].role for name in self.limits)]))

    def inside(self, spent: Mapping[str, float]) -> bool:
        """Return whether every budget is kept. A value that is no number breaks it."""
        return self.broken(spent) == ""

    def broken(self, spent: Mapping[str, float]) -> str:
        """Return the name of the first budget that is broken, or ""."""
        for name, limit in self.limits.items():
            value = spent[name]
            kept = value <= limit if BUDGETS[name].above else value >= limit
            if not kept:
                return name
        return ""


def _aim(text: str) -> str:
    if text in ("", TARGET):
        return text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise ValueError(
            f"run: stop_at must be {TARGET} or a probability between 0 and 1, got {text[:40]!r}; such as 0.1."
        )
    return text


def _limits(budget: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for entry in budget:
        name, equals, text = (part.strip() for part in entry.partition("="))
        kind = BUDGETS.get(name)
        if kind is None or not equals:
            raise ValueError(
                f"run: budget must be NAME=LIMIT with a name among {', '.join(BUDGETS)}, got {entry[:40]!r}; such as "
                "general-ppl=1.03."
            )
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not kind.low <= value <= kind.high:
            raise ValueError(
                f"run: budget {name} must lie in [{kind.low:g}, {kind.high:g}], got {text[:40] or 'nothing'}."
            )
        if name in found:
            raise ValueError(
                f"run: budget {name} is given twice, {found[name]:g} and {value:g}; give it once."
            )
        found[name] = value
    return found


@dataclass(frozen=True)
class Reading:
    """What was read of the model after a step: the mean probability of the answers to forget, and the budgets."""

    step: int
    forget: float
    spent: Mapping[str, float]


@dataclass(frozen=True)
class Course:
    """The readings of a run so far, as far as the rule needs them.

    best: the step nearest to the target among those inside every budget, 0 for the start. distance: its own.
    """

    rule: StopRule
    target: float | None = None
    source: str = ""
    best: int = 0
    distance: float = math.inf

    def after(self, reading: Reading) -> "Course":
        """Return the course with one more reading. Of equally near steps the earlier one stays the best."""
        if self.target is None or not self.rule.inside(reading.spent):
            return self
        distance = abs(reading.forget - self.target)
        better = distance < self.distance
        return replace(self, best=reading.step, distance=distance) if better else self

    def again(self, event: JsonView) -> "Course":
        """Return the course with the reading of a watch event, for a run that goes on from a checkpoint."""
        spent = {name: float(value) for name, value in event["spent"].items()}
        return self.after(Reading(event["step"], float(event["forget"]), spent))

    def why(self, reading: Reading) -> str:
        """Return what ends the run after this reading: "budget", "target", or "" for nothing. The start ends none."""
        if reading.step == 0:
            return ""
        if self.rule.broken(reading.spent):
            return "budget"
        reached = self.rule.stop_at and self.target is not None and reading.forget <= self.target
        return "target" if reached else ""

    def event(self, reading: Reading) -> JsonObject:
        """Return the fields of the watch event of a reading that after() has taken."""
        return {
            "step": reading.step,
            "forget": reading.forget,
            "target": self.target,
            "spent": dict(reading.spent),
            "limits": dict(self.rule.limits),
            "inside": self.rule.inside(reading.spent),
            "best": self.best,
        }

    def end(self, reading: Reading, of: int) -> JsonObject:
        """Return the fields of the end event after the last reading."""
        why = self.why(reading) or "steps"
        broken = self.rule.broken(reading.spent) if why == "budget" else ""
        return {
            "step": reading.step,
            "of": of,
            "why": why,
            "what": broken,
            "value": reading.spent[broken] if broken else reading.forget,
            "limit": self.rule.limits[broken] if broken else self.target,
            "source": self.source,
            "keep": self.rule.keep,
            "kept": self.best if self.rule.keep == "best" else reading.step,
        }


def ended_sentence(end: JsonView) -> str:
    """Return what ended a run, and what it kept, as a person reads it. end: the run's end event, or nothing."""
    if not end:
        return ""
    step, of, value, limit = end["step"], end["of"], _number(end["value"]), end["limit"]
    forgot = f"the answers that the rule reads have a mean probability of {value}"
    aim = (
        "" if limit is None else f"the target {_number(limit)} ({SOURCES.get(end['source'], 'as asked for')})"
    )
    if end["what"] in BUDGETS and limit is not None:
        says = BUDGETS[end["what"]]
        side = "above" if says.above else "below"
        said = f"Ended at step {step} of {of}: {says.says.format(value=value)}, {side} the budget of {_number(limit)}."
    elif end["why"] == "target":
        said = f"Ended at step {step} of {of}: {forgot}, at or below {aim}."
    else:
        above = limit is not None and float(end["value"]) > float(limit)
        said = f"Ran all {of} steps: {forgot}" + (f", above {aim}." if above else ".")
    if end["keep"] != "best":
        return said
    if end["kept"] == 0:
        return f"{said} No step inside the budget came nearer to the target than the start, whose weights were kept."
    return f"{said} Kept: the weights of step {end['kept']}, the nearest to the target inside the budget."


def _number(value: float | str) -> str:
    return f"{float(value):.3g}"
