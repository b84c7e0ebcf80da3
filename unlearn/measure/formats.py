"""Asks a chat model the same rows in every prompt format, since what is forgotten in one may be left in another.

Of a role at most ROWS questions are asked. An answer is right where it holds half of the true answer's words
(ROUGE-L recall), so that a full sentence counts where a word was asked for.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from unlearn.compute.intervals import wilson
from unlearn.data.base import Row
from unlearn.data.prompts import in_format
from unlearn.measure.evaluate import observe
from unlearn.metrics import Observation
from unlearn.metrics.memory.nll import text_nll
from unlearn.metrics.memory.rouge import rouge_l
from unlearn.store.config import FORMATS
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

T = TypeVar("T")
ROLES = ("forget", "retain")
ROWS = 25
# ROUGE-L recall of the greedy answer from which on it counts as given.
RIGHT = 0.5


def some(rows: Sequence[T]) -> list[T]:
    """Return at most ROWS of the rows, spread over all, and always the same ones."""
    if len(rows) <= ROWS:
        return list(rows)
    return [rows[i] for i in sorted(random.Random(0).sample(range(len(rows)), ROWS))]


def by_format(
    loaded: "Loaded",
    chosen: Mapping[str, Sequence[Row]],
    *,
    system: str = "",
    max_length: int = 512,
    check: Callable[[], None] = lambda: None,
) -> JsonObject:
    """Return {role: {format: see told()}} for the questions of the forget and the retain role.

    system: the words above a chat. A format that the tokenizer's template refuses is left out.
    """
    found: JsonObject = {}
    for role in ROLES:
        rows = some([row for row in chosen.get(role, ()) if row.question])
        for name in FORMATS if rows else ():
            try:
                seen = _answers(loaded, in_format(rows, name, system), max_length, check)
            except ValueError:
                continue
            found.setdefault(role, {})[name] = told(*seen)
    return found


def told(answered: Sequence[Observation], scored: Sequence[Observation]) -> JsonObject:
    """Return n, right (share of right answers), probability (mean exp(-S/n)), rouge_l and right's 95 % interval.

    answered: with what the model said; scored: the true answers' tokens.
    """
    recalls = [rouge_l(one) for one in answered]
    right = sum(recall >= RIGHT for recall in recalls)
    likely = [math.exp(-text_nll(one)) for one in scored]
    return {
        "n": len(recalls),
        "right": right / len(recalls),
        "probability": sum(likely) / len(likely),
        "rouge_l": sum(recalls) / len(recalls),
        "interval": list(wilson(right, len(recalls))),
    }


def _answers(
    loaded: "Loaded", rows: Sequence[Row], max_length: int, check: Callable[[], None]
) -> tuple[list[Observation], list[Observation]]:
    """Return (what the model says, its likelihood of the true answers).

    In a chat the model opens its answer itself: the row's lead is left out where it speaks, and there is room for it.
    """

    def seen(rows: Sequence[Row], continued: bool) -> list[Observation]:
        return observe(
            loaded.model,
            loaded.tokenizer,
            {"": list(rows)},
            max_length=max_length,
            device=loaded.device,
            check=check,
            continued=continued,
        )

    if not any(row.lead and row.format == "chat" for row in rows):
        both = seen(rows, continued=True)
        return both, both
    spoken = [
        replace(row, lead="", answer=f"{row.lead} {row.answer}", entities=()) if row.lead else row
        for row in rows
    ]
    said = seen(spoken, continued=True)
    said = [replace(one, answer=row.answer) for one, row in zip(said, rows, strict=True)]
    return said, seen(rows, continued=False)
