"""Asks a chat model the same rows in every prompt format, since what is forgotten in one may be left in another.

Of a role at most ROWS questions are asked. An answer is right where it holds half of the true answer's words
(ROUGE-L recall), so that a full sentence counts where a word was asked for.
"""

import contextlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
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
from unlearn.training.encoding import encode_rows

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

T = TypeVar("T")
# Rows by role and format.
Groups = Mapping[tuple[str, str], Sequence[Row]]
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
    known: Mapping[Row, Observation] = MappingProxyType({}),
) -> JsonObject:
    """Return {role: {format: see told()}} for the questions of the forget and the retain role.

    system: the words above a chat. A format that the tokenizer's template refuses is left out. known: what the model
    was asked before; the same row in the same format is not asked again. All formats go through the model together.
    """

    def seen(asked: Groups, continued: bool) -> dict[tuple[str, str], list[Observation]]:
        left = [row for rows in asked.values() for row in rows if row not in known]
        new: list[Observation] = []
        if left:
            new = observe(
                loaded.model,
                loaded.tokenizer,
                {"": left},
                max_length=max_length,
                device=loaded.device,
                check=check,
                continued=continued,
                brief=("",),
            )
        found = iter(new)
        return {
            key: [known[row] if row in known else next(found) for row in rows] for key, rows in asked.items()
        }

    asked = _asked(loaded, chosen, system, max_length)
    spoken = _all_spoken(asked)
    said = seen(spoken, continued=True)
    led = {key: rows for key, rows in asked.items() if spoken[key] != rows}
    scored = said | seen(led, continued=False)
    for key, rows in led.items():
        said[key] = [replace(one, answer=row.answer) for one, row in zip(said[key], rows, strict=True)]
    found: JsonObject = {}
    for (role, name), answered in said.items():
        found.setdefault(role, {})[name] = told(answered, scored[role, name])
    return found


def unasked(
    loaded: "Loaded",
    chosen: Mapping[str, Sequence[Row]],
    *,
    system: str = "",
    max_length: int = 512,
) -> list[Row]:
    """Return the rows that by_format() continues and that are not among the chosen ones, each once.

    Whoever asks them together with those, and hands the answers on as known, saves the positions of one continuation:
    a position of 130 texts costs hardly more than two of 65.
    """
    spoken = _all_spoken(_asked(loaded, chosen, system, max_length))
    own = {row for rows in chosen.values() for row in rows}
    return list(dict.fromkeys(row for rows in spoken.values() for row in rows if row not in own))


def _all_spoken(asked: Groups) -> dict[tuple[str, str], tuple[Row, ...]]:
    return {key: tuple(map(_spoken, rows)) for key, rows in asked.items()}


def _asked(
    loaded: "Loaded", chosen: Mapping[str, Sequence[Row]], system: str, max_length: int
) -> dict[tuple[str, str], tuple[Row, ...]]:
    """{(role, format): its rows}, without the formats that the tokenizer's template or the length refuses."""
    found = {}
    for role in ROLES:
        rows = some([row for row in chosen.get(role, ()) if row.question])
        for name in FORMATS if rows else ():
            given = in_format(rows, name, system)
            with contextlib.suppress(ValueError):
                for asked in (given, tuple(map(_spoken, given))):
                    encode_rows(loaded.tokenizer, asked, max_length=max_length)
                found[role, name] = given
    return found


def _spoken(row: Row) -> Row:
    """The row as a chat speaks it: the model opens its answer itself, so its lead is a part of what it says."""
    if not row.lead or row.format != "chat":
        return row
    return replace(row, lead="", answer=f"{row.lead} {row.answer}", entities=())


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
