"""A claim is a paper's sentence, an experiment that could refute it here, and a rule that decides.

measure() computes numbers, judge() turns numbers into a verdict, chart() and table() show them. The last three are
pure functions of what measure() stored, so a page needs no torch and a test can plant numbers for each outcome.
A verdict comes from an interval over seeds (or splits), never from one run: judge() of a single one is undecided.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unlearn.compute.intervals import wilson
from unlearn.compute.libraries import settled
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

Word = Literal["confirmed", "partly", "refuted", "undecided"]
CONFIRMED: Word = "confirmed"
PARTLY: Word = "partly"
REFUTED: Word = "refuted"
UNDECIDED: Word = "undecided"
# What the numbers say of one condition: met, wholly between its two limits, not met, or open.
Answer = Literal["yes", "between", "no", "open"]
# The number of seeds or splits below which nothing is decided.
LEAST = 3
# Values that differ by less than this part of their mean are one value seen several times.
SAME = 1e-6
Data = JsonView


@dataclass(frozen=True)
class Interval:
    """The mean of n values with its 95 % t interval. low and high are nan below two values."""

    mean: float
    low: float
    high: float
    sd: float
    n: int

    @property
    def decides(self) -> bool:
        """Return whether there are enough values for a verdict, all of them finite and not all the same.

        Values that do not differ are one value: without a spread nothing is known of the next one.
        """
        known = self.n >= LEAST and math.isfinite(self.low) and math.isfinite(self.high)
        return known and self.sd > SAME * abs(self.mean)

    def below(self, limit: float) -> bool:
        """Return whether the whole interval lies below the limit."""
        return self.decides and self.high < limit

    def above(self, limit: float) -> bool:
        """Return whether the whole interval lies above the limit."""
        return self.decides and self.low > limit

    def holds(self, value: float) -> bool:
        """Return whether the value lies inside the interval."""
        return self.decides and self.low <= value <= self.high

    def within(self, low: float, high: float) -> bool:
        """Return whether the whole interval lies between the two limits."""
        return self.decides and low <= self.low and self.high <= high


def interval(values: Iterable[float | str | None], share: float = 0.05) -> Interval:
    """Return Student's interval of the mean, which misses it in this share of all repeats: 95 % unless said otherwise.

    One value that is not finite makes it undecidable. Of k comparisons of which any one would decide, each takes
    0.05 / k (Bonferroni).
    """
    known = [number(value) for value in values]
    n = len(known)
    if not n or not all(map(math.isfinite, known)):
        return Interval(math.nan, math.nan, math.nan, math.nan, n)
    if n == 1:
        return Interval(known[0], math.nan, math.nan, math.nan, 1)
    middle, sd = mean(known), stdev(known)
    half = float(settled("scipy.stats").t.ppf(1 - share / 2, n - 1)) * sd / math.sqrt(n)
    return Interval(middle, middle - half, middle + half, sd, n)


def number(value: object) -> float:
    """Return a number from stored JSON, where a non-finite one is written as a word.

    It is nan for anything else.
    """
    if not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except ValueError:
        return math.nan


@dataclass(frozen=True)
class Figure:
    """One of our numbers as a table shows it: its mean, and its interval over n of `of` (seeds, splits)."""

    name: str
    mean: float
    low: float
    high: float
    n: int
    of: str = "seeds"
    unit: str = ""


def figure(name: str, found: Interval, unit: str = "", of: str = "seeds") -> Figure:
    """Return the Figure of an interval."""
    return Figure(name, found.mean, found.low, found.high, found.n, of, unit)


@dataclass(frozen=True)
class Finding:
    """The outcome of a claim.

    sentence says what the numbers show, computed from them. The first of figures is the main one.
    """

    verdict: Word
    sentence: str
    figures: tuple[Figure, ...]

    def to_json(self) -> JsonObject:
        """Return the finding as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Series:
    """One line or group of points.

    tone is a role's colour (forget, retain …), or empty for the next free hue.
    """

    name: str
    x: Sequence[Any]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    tone: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure as plain values, which unlearn.figures.claims draws.

    lines: {name: height} of lines drawn across.
    """

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    kind: Literal["line", "bar", "points"] = "line"
    log_x: bool = False
    log_y: bool = False
    lines: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Published:
    """A row of the paper's own numbers. where names the model and data that they belong to."""

    name: str
    values: JsonView
    where: str = ""


class Claim(ABC):
    """One claim, with its texts for a person, its experiment and its rule.

    The text of the rule says when judge() confirms and when it refutes.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    url: ClassVar[str]
    sentence: ClassVar[str]
    experiment: ClassVar[str]
    # The experiment in some twenty words, for a table.
    design: ClassVar[str]
    confirms: ClassVar[str]
    refutes: ClassVar[str]
    published: ClassVar[tuple[Published, ...]] = ()
    # Why it is not tried on smollm2-tofu; nothing where it can be.
    elsewhere: ClassVar[str] = ""
    note: ClassVar[str] = ""

    @abstractmethod
    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out the experiment and return plain numbers, with "n" (what was counted, in words) and
        "seeds".

        It is quick unless full.
        """

    @abstractmethod
    def judge(self, data: Data) -> Finding:
        """Return the verdict, from stored numbers alone."""

    @abstractmethod
    def chart(self, data: Data) -> Chart:
        """Return the chart that a person should see, from stored numbers alone."""


def word(confirmed: bool, refuted: bool) -> Word:
    """Return the verdict's word.

    It is undecided where the rule says neither or, by a fault of the rule, both.
    """
    return CONFIRMED if confirmed and not refuted else REFUTED if refuted and not confirmed else UNDECIDED


def below(found: Interval, limit: float, far: float | None = None) -> Answer:
    """Return whether the value lies below the limit. From `far` on (the limit itself where not given) it does not."""
    if found.below(limit):
        return "yes"
    if found.above(limit if far is None else far):
        return "no"
    return "between" if far is not None and found.within(limit, far) else "open"


def above(found: Interval, limit: float, far: float | None = None) -> Answer:
    """Return whether the value lies above the limit. Below `far` (the limit itself where not given) it does not."""
    if found.above(limit):
        return "yes"
    if found.below(limit if far is None else far):
        return "no"
    return "between" if far is not None and found.within(far, limit) else "open"


def there(effect: Interval, small: float) -> Answer:
    """Return whether there is an effect: its interval lies above 0. One that lies below `small` is too small to matter.

    Above 0 and below `small` it is there and does not matter, which is in between.
    """
    if effect.below(small):
        return "between" if effect.above(0.0) else "no"
    return "yes" if effect.above(0.0) else "open"


def most(hits: int, n: int) -> Answer:
    """Return whether something holds in most cases: Wilson's 95 % interval of its share lies above one half.

    For outcomes that may be the same in every case, of which Student's interval says nothing.
    """
    low, high = wilson(hits, n) if n >= LEAST else (0.0, 1.0)
    return "yes" if low > 0.5 else "no" if high < 0.5 else "open"


def equal(found: Interval, low: float, high: float) -> Answer:
    """Return whether the value is equivalent to the middle of a margin: its whole interval lies inside.

    A 95 % interval inside the margin is Schuirmann's two one-sided tests (TOST) at 2.5 % each. That no difference was
    seen is not enough.
    """
    if found.within(low, high):
        return "yes"
    return "no" if found.above(high) or found.below(low) else "open"


def all_of(*answers: Answer) -> Word:
    """Return the verdict on a claim that holds only if every condition does: one that is not met refutes it."""
    if "no" in answers:
        return REFUTED
    if "open" in answers:
        return UNDECIDED
    return PARTLY if "between" in answers else CONFIRMED


def each_of(*verdicts: Word) -> Word:
    """Return the verdict on a claim that says several things: some true and some not is partly."""
    if UNDECIDED in verdicts:
        return UNDECIDED
    return verdicts[0] if len(set(verdicts)) == 1 else PARTLY


RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def digits(value: float) -> str:
    """Write a number with three significant digits, in a form that a sentence can hold."""
    if not math.isfinite(value):
        return "∞" if value == math.inf else "not a number"
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits} × 10{str(int(power)).translate(RAISED)}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def per_cent(value: float) -> str:
    """Write a share as a percentage."""
    return f"{100 * value:.0f} %" if abs(value) >= 0.1 else f"{100 * value:.2g} %"


def spread(found: Interval, unit: str = "") -> str:
    """Write an interval such as 3.2 (2.9 to 3.5), or the mean alone where there is no interval."""
    if not math.isfinite(found.low):
        return f"{digits(found.mean)}{unit}"
    return f"{digits(found.mean)}{unit} ({digits(found.low)} to {digits(found.high)})"
