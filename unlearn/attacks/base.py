"""An attack tries to bring back what a model seems to have forgotten, and measures how much it got.

Every attack reads the same three sides in the same way: the original, the unlearned model, and a control that never
knew the answers. So a number is never judged alone: what a guess, a hint or some practice gives to a model that
really does not know is the floor, what the original answers is the ceiling.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

from unlearn.data.base import Dataset, Row
from unlearn.measure.evaluate import rows_to_score, score_tokens
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.training.encoding import encode_rows

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

T = TypeVar("T")

BATCH = 64
Control = Literal["retrained", "never seen", ""]


@dataclass(frozen=True)
class Reading:
    """One answer as one model scores it: rank (0 = most likely) and log-prob of each token, without the end
    of text.
    """

    ranks: tuple[int, ...]
    lps: tuple[float, ...]

    def is_exact(self, given: int = 0) -> float:
        """Return 1 when greedy decoding gives every token after the first `given` ones, else 0."""
        return float(all(rank == 0 for rank in self.ranks[given:]))

    def likelihood(self) -> float:
        """Return exp(-S/n), the geometric mean of the probabilities of the answer's tokens."""
        return math.exp(sum(self.lps) / len(self.lps))


@dataclass(frozen=True)
class Side:
    """One of the three things that an attack compares: a model that is asked one role's questions."""

    name: Literal["before", "after", "control"]
    when: str
    role: str


@dataclass(frozen=True)
class Found:
    """The outcome of an attack. values: per text and side, from 0 (nothing) to 1 (the right answer).

    plain: the same of the unlearned model without the attack. details: curves and settings, plain values only.
    counts: whether a high value means that the answer is still in the model (the dial of a fully tuned one does not).
    """

    values: Mapping[str, Sequence[float]]
    finding: str
    plain: Sequence[float] = ()
    details: JsonView = field(default_factory=dict)
    counts: bool = True


@dataclass(frozen=True)
class Attack:
    """One attack with its name, its texts and its function.

    tells is "both" where finding nothing is evidence of erasure, "suppressed" where only finding something
    counts.

    run: None where something is missing, which needs then names.
    """

    name: str
    title: str
    help: str
    tells: Literal["both", "suppressed"]
    run: Callable[["Subject"], Found | None]
    paper: str = ""
    needs: str = ""


@dataclass(frozen=True)
class Cell:
    """One setting of an attack, as a sweep tries it. attack.name is unique; family and setting are for a reader.

    cost: about how many readings of the forget rows by one model it takes; a forecast is made of it.
    random: whether the seed changes what it finds, so that trying it again tells something.
    """

    attack: Attack
    family: str
    setting: str
    cost: float
    random: bool = False


class Subject:
    """The models and rows of one run.

    load(when) returns a fresh models.Loaded; models names those of WHEN that exist.

    progress(phrase, fraction of this attack) is called often and may raise to stop.
    """

    def __init__(
        self,
        data: Dataset,
        load: "Callable[[str], Loaded]",
        models: Sequence[str],
        *,
        max_length: int = 512,
        seed: int = 0,
        progress: Callable[[str, float], None] = lambda phrase, fraction: None,
    ) -> None:
        self.data, self.load, self.models = data, load, tuple(models)
        self.max_length, self.seed, self.progress = max_length, seed, progress
        self.chosen = rows_to_score(data)
        # What the unlearned model answers without an attack, by the way in which answers are counted.
        self.plain: dict[str, list[float]] = {}
        self._last: tuple[str, Loaded | None] = ("", None)

    @property
    def control(self) -> Control:
        """Return what the unlearned model is compared with: the retrained model, texts never seen, or nothing
        ("").
        """
        if "retrained" in self.models:
            return "retrained"
        return "never seen" if "approximate" in self.chosen else ""

    def sides(self, role: str = "forget") -> list[Side]:
        """Return the sides before, after and, where there is one, the control."""
        found = [Side("before", "before", role), Side("after", "after", role)]
        if self.control:
            exact = self.control == "retrained"
            found.append(
                Side("control", "retrained" if exact else "before", role if exact else "approximate")
            )
        return found

    def model(self, when: str) -> "Loaded":
        """Return a models.Loaded that may be read and must not be changed.

        Only the last one asked for stays in memory.
        """
        name, loaded = self._last
        if loaded is None or name != when:
            self._last, loaded = ("", None), None
            loaded = self.load(when)
            self._last = (when, loaded)
        return loaded

    def each(self, role: str, read: "Callable[[Loaded, Side], T]") -> dict[str, T]:
        """Call read on the model of each side and return {side: what it gave}."""
        found: dict[str, T] = {}
        sides = self.sides(role)
        for done, side in enumerate(sides):
            self.progress(f"reading {side.when}", done / len(sides))
            found[side.name] = read(self.model(side.when), side)
        return found

    def read(self, loaded: "Loaded", role: str) -> list[Reading]:
        """Return one reading for each row of the role."""
        return read_answers(loaded, self.chosen[role], self.max_length)


def read_answers(loaded: "Loaded", rows: Sequence[Row], max_length: int) -> list[Reading]:
    """Score the answers teacher-forced and return one reading for each row.

    So one pass tells what greedy decoding would do, also after any beginning.
    """
    tokenizer = loaded.tokenizer
    examples = encode_rows(tokenizer, rows, max_length=loaded.fit_length(max_length))
    order = sorted(examples, key=lambda e: len(e.input_ids))
    scored: dict[int, list[JsonObject]] = {}
    for at in range(0, len(order), BATCH):
        scored |= score_tokens(loaded.model, tokenizer, order[at : at + BATCH], loaded.device)
    found = []
    for key in range(len(rows)):
        tokens = scored[key]
        if len(tokens) > 1 and tokens[-1]["id"] == tokenizer.eos_token_id:
            tokens = tokens[:-1]
        found.append(Reading(tuple(t["rank"] for t in tokens), tuple(t["lp"] for t in tokens)))
    return found


def exact_each(readings: Sequence[Reading]) -> list[float]:
    """Return 1 for each text that is answered exactly, else 0."""
    return [reading.is_exact() for reading in readings]


def mean_or_zero(values: Sequence[float]) -> float:
    """Return the mean of the values. It is 0 where there is no value."""
    return sum(values) / len(values) if values else 0.0


def percent(values: Sequence[float] | float) -> str:
    """Write a share, or the mean of per-text values, as a percentage such as "12 %"."""
    share = values if isinstance(values, float) else mean_or_zero(values)
    return f"{100 * share:.0f} %"


def decimal(values: Sequence[float]) -> str:
    """Write the mean of per-text values with two decimals, such as "0.12"."""
    return f"{mean_or_zero(values):.2f}"


def beside(
    subject: Subject,
    values: Mapping[str, Sequence[float]],
    said: Callable[[Sequence[float]], str] = percent,
) -> str:
    """Return the end of a finding: what the original and the control do under the same attack."""
    words = f"the original {said(values['before'])}"
    if subject.control == "retrained":
        return f"{words}, the retrained model {said(values['control'])}"
    if subject.control:
        return f"{words}, and on questions that it never saw {said(values['control'])}"
    return f"{words}; there is no control to compare with"
