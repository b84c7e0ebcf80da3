"""This module finds what a person should know about the rows before a run. It looks for copies, retain rows
that tell forget rows, and special tokens.

None of it is an error; each is a sentence that says how many rows, which, and what follows from it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from unlearn.data.base import ROLES, Dataset, Row
from unlearn.data.leaks import BESIDE, leaks

SPECIAL = re.compile(
    r"<\|[\w ]{1,40}\|>|</?s>|<(?:eos|bos|pad|unk|mask|cls|sep|start_of_turn|end_of_turn|think)>"
    r"|\[/?(?:INST|CLS|SEP|PAD|MASK|UNK)\]|<<?/?SYS>>?|<extra_id_\d+>"
)
NAMED = 3
# (words of a note, what that note means). The page shows the meaning below the note.
MEANINGS = (
    ("have empty cells", "A row without a question or an answer says nothing that could be forgotten."),
    (
        "no assistant's turn",
        "Without an answer to a person there is nothing that the model should stop saying.",
    ),
    (
        "hold a list in",
        "The other entries are not unlearned as answers of their own; the model may still say them.",
    ),
    ("one of the choices", "If the other was meant, name the right choice by its letter: A is the first."),
    ("joined to the instruction", "The model is asked with both, with an empty line between them."),
    (
        "have nothing in",
        "They are rows of another kind; bring them to this form, or into a file of their own.",
    ),
    (
        "tool's turn",
        "What the model says of a tool's result is no knowledge of its own that could be forgotten.",
    ),
    ("read as whole texts", "The model is trained on these words alone, with no question before them."),
    ("read as one row", "Nothing can be said of how well a method does from a single row."),
    ("is read as a text", "If it is one, name it as the column of the texts: then it is no row."),
    ("read as", "Look at the letters outside English; where they look wrong, choose another encoding."),
    ("unnamed column", "Such a column numbers the rows; nothing of it is trained on."),
    ("part of the texts", "If a comma was meant to part columns, name all columns in the first line."),
    ("was left out", "Only the named part holds rows."),
    ("longer than the", "What lies beyond that length would be neither forgotten nor scored."),
    (
        "more than once",
        "A method sees a copy as often as it stands there, so these rows are forgotten harder.",
    ),
    ("forget rows", "No score can tell whether a method forgot what it was also trained to keep."),
    (
        "special token",
        "The model reads the letters of the mark, so a row cannot end its own text.",
    ),
)


class _Kept:
    """A dataset as a key: equal where the rows are."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.key = dataset, dataset.hash()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept) and self.key == other.key


def remarks(dataset: Dataset, *, overlap: bool = True) -> tuple[str, ...]:
    """Return the notes in this order: copies, overlap with the forget set (where wanted), special tokens."""
    return _remarks(_Kept(dataset), overlap)


def meaning(note: str) -> str:
    """Return what a note means for a run, or "" where the note says it itself."""
    return next((text for words, text in MEANINGS if words in note), "")


@lru_cache(maxsize=8)
def _remarks(kept: _Kept, overlap: bool) -> tuple[str, ...]:
    dataset = kept.dataset
    return (*_copies(dataset), *(_told(dataset) if overlap else ()), *_special(dataset))


def same(row: Row) -> tuple[str, ...]:
    """Return the parts of a row in which two rows are equal if they differ only in case and spacing."""
    parts = (row.system, *(text for _, text in row.messages), row.question, row.lead, row.answer)
    return tuple(" ".join(part.casefold().split()) for part in parts)


def _copies(dataset: Dataset) -> Iterable[str]:
    for role in ROLES:
        places = defaultdict(list)
        for number, row in enumerate(dataset.rows(role), start=1):
            places[same(row)].append(row.place or number)
        copied = sorted((rows for rows in places.values() if len(rows) > 1), key=len, reverse=True)
        if copied:
            first = copied[0]
            kinds = "1 text stands" if len(copied) == 1 else f"{len(copied)} texts stand"
            yield (
                f"{role}: {kinds} more than once; rows {', '.join(map(str, first[:NAMED]))}"
                f"{' …' if len(first) > NAMED else ''} say the same {len(first)} times, and so weigh {len(first)} "
                "times as much as a row that stands once. Remove the copies where that is not meant."
            )


def _told(dataset: Dataset) -> Iterable[str]:
    wanted = {same(row) for row in dataset.rows("forget")}
    for role in BESIDE:
        rows = dataset.rows(role)
        if not rows:
            continue
        found = leaks(dataset, (role,))
        if not found.found:
            continue
        equal = sum(same(row) in wanted for row in rows)
        first = found.found[0]
        alike = f", {equal} rows in the same words but for case and spacing" if equal else ""
        part = f" (of the first {found.checked} looked at)" if found.checked < found.n else ""
        yield (
            f"{role}: tells {len(found.found)} of {found.n} forget rows{part}{alike}; {first.other} tells "
            f"{first.item}. A method is then trained to keep what it must forget. Take these rows out of one of the "
            "two; --leaks lists them."
        )


def _special(dataset: Dataset) -> Iterable[str]:
    for role in ROLES:
        rows = dataset.rows(role)
        found = [
            marks for row in rows if (marks := SPECIAL.findall(f"{row.question} {row.lead} {row.answer}"))
        ]
        if found:
            kinds = list(dict.fromkeys(mark for marks in found for mark in marks))
            shown = ", ".join(kinds[:5]) + (" …" if len(kinds) > 5 else "")
            yield (
                f"{role}: {len(found)} of {len(rows)} rows hold what is a special token to some models ({shown}). "
                "It stays text: no model takes it for its own mark."
            )
