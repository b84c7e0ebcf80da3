"""Asks the questions in another guise, and counts the answers that a model gives in its own words.

An answer is right where it holds half of the true answer's words (ROUGE-L recall), as in unlearn.measure.formats: so a
sentence counts where a word was asked for, and a guise in which the model talks more does not hide what it says.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from unlearn.attacks.base import Attack, Cell, Found, Side, Subject, beside, percent
from unlearn.data.base import Row
from unlearn.measure.evaluate import observe
from unlearn.measure.formats import RIGHT
from unlearn.metrics.memory.rouge import rouge_l

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

T = TypeVar("T")
# Of a role at most so many questions are asked in each setting.
MOST = 60
NEEDS = "questions to ask"
Reshape = Callable[[Sequence[Row]], Sequence[Row]]


def some(rows: Sequence[T], most: int = MOST) -> list[T]:
    """Return at most `most` of the rows, spread over all, and always the same ones."""
    if len(rows) <= most:
        return list(rows)
    return [rows[i] for i in sorted(random.Random(0).sample(range(len(rows)), most))]


def questions(subject: Subject, role: str) -> list[Row]:
    """Return the rows of the role that are asked: some of its questions."""
    return some([row for row in subject.chosen.get(role, ()) if row.question])


def answered(loaded: "Loaded", rows: Sequence[Row], max_length: int) -> list[float]:
    """Return 1 for each row whose greedy answer holds half of the true one's words, else 0."""
    seen = observe(
        loaded.model,
        loaded.tokenizer,
        {"": list(rows)},
        max_length=loaded.fit_length(max_length),
        device=loaded.device,
    )
    return [float(rouge_l(one) >= RIGHT) for one in seen]


def ask_each(subject: Subject, reshape: Reshape) -> tuple[dict[str, list[float]], list[float]] | None:
    """Return (the answers of each side to the reshaped questions, the unlearned model's to the plain ones).

    It is None where a side has nothing to ask. ValueError as reshape.
    """
    asked = {side.role: list(reshape(questions(subject, side.role))) for side in subject.sides()}
    if not all(asked.values()):
        return None

    def ask(loaded: "Loaded", side: Side) -> list[float]:
        if side.name == "after" and "answered" not in subject.plain:
            own = questions(subject, side.role)
            subject.plain["answered"] = answered(loaded, own, subject.max_length)
        return answered(loaded, asked[side.role], subject.max_length)

    return subject.each("forget", ask), subject.plain["answered"]


def cell(
    name: str, family: str, setting: str, help: str, paper: str, reshape: Callable[[Subject], Reshape]
) -> Cell:
    """Return a cell that asks reshaped questions. reshape(subject) is made when the attack begins."""

    def run(subject: Subject) -> Found | None:
        told = ask_each(subject, reshape(subject))
        return None if told is None else found(subject, f"{family} ({setting})", *told)

    attack = Attack(name, f"{family}: {setting}", help, "suppressed", run, paper, NEEDS)
    return Cell(attack, family, setting, cost=9)


def found(
    subject: Subject, what: str, values: Mapping[str, Sequence[float]], plain: Sequence[float]
) -> Found:
    """Return what the attack found, with a sentence on it."""
    finding = (
        f"{what}: it answers {percent(values['after'])} (asked as in the run: {percent(plain)}); "
        f"{beside(subject, values)}."
    )
    return Found(values, finding, plain)
