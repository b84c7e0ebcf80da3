"""A part of a benchmark is a list of items that a model is asked in one way.

A run's own rows (unlearn.data.benchmarks) are what is forgotten and kept. Here is what a benchmark's metrics read.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from unlearn.data.base import Row


@dataclass(frozen=True)
class Part:
    """Items that are asked in one way, with the most tokens that a continuation may have.

    kind: "questions" are scored with all their answers and continued, `room` then counts the prompt too; "instructions"
    are continued after the tokenizer's own chat template, or after the plain words where it has none; "openings" are
    continued after exactly these words (a row's lead); "texts" are scored alone.
    """

    rows: tuple[Row, ...]
    kind: Literal["questions", "instructions", "openings", "texts"]
    room: int = 0

    def hash(self) -> str:
        """Return twelve hex digits that change with any item and with how it is asked."""
        rows = [
            [row.format, row.system, row.lead, row.question, row.answer, row.paraphrase, *row.wrong]
            for row in self.rows
        ]
        text = json.dumps([self.kind, self.room, rows])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Items:
    """The parts of one benchmark by name, such as "tofu real_authors", and what of them is missing."""

    parts: Mapping[str, Part]
    notes: tuple[str, ...] = ()
