"""What a metric is: a pure function of observations, with its direction and its definition in one sentence.

Models are read once per text (unlearn.evaluate.observe); metrics only count. So a new metric costs no new
forward pass, and every definition can be checked by hand on plain values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Observation:
    """One text under one model. tokens: one dict an answer token with token, id, logit, lp (log-prob), rank, top.

    text: greedy continuation of prompt; answer: what the text really says there. question is empty for plain
    text, whose continuation starts at its middle.
    """

    role: str
    index: int
    question: str
    prompt: str
    answer: str
    text: str
    tokens: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Score:
    """value over n texts; per_example in the order of the observations that the metric applies to."""

    value: float
    per_example: tuple[float, ...]
    n: int


@dataclass(frozen=True)
class Metric:
    """ideal: the direction that is better on texts to keep ("higher", "lower") or the number to reach.

    fn: observations → one value each, or None where the metric does not apply (a plain text has no exact answer).
    combine: those values → the score.
    """

    name: str
    title: str
    help: str
    ideal: Literal["higher", "lower"] | float
    fn: Callable[[Observation], float | None]
    combine: Callable[[Sequence[float]], float]

    def __call__(self, observations: Sequence[Observation]) -> Score | None:
        values = tuple(v for o in observations if (v := self.fn(o)) is not None)
        return Score(self.combine(values), values, len(values)) if values else None


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
