"""This module makes a Dataset from a person's tables, with every note that the person must read.

The user's own data is the point of the tool, so everything that can be wrong with it is said in words that name the
file, the rule, what was found and what to do.
"""

import contextlib
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearn.data import forms
from unlearn.data.base import ROLES, Dataset, Row
from unlearn.data.cells import plain, text_of
from unlearn.data.columns import HALVES, Columns, Extras, columns_of, extras_of
from unlearn.data.files import names
from unlearn.data.files.table import Table
from unlearn.data.turns import LAST, TURNS
from unlearn.store.shapes import JsonObject, JsonView

# A table with all three columns was written by unlearn.data.write (see _ours).
OURS = ("lead", "wrong", "entities")
WHOLE = "the column {!r} was read as whole texts, since no column has the other half of each row."
# What a file of one row is told, which may be a file that was meant otherwise.
ALONE = (
    "is read as one row; where it holds more, check its form. Of one text a share says little (0 of 1 right: 0 to "
    "79 %), and the interval of a mean says nothing."
)
# What an entry in memory may state at the least; other fields make it a line of a table.
PAIR = ("question", "answer")
OURS_LATER = ("paraphrase", "asked_otherwise", "system", "truth")


@dataclass(frozen=True)
class Read:
    """The rows of one role, with the columns that they come from and notes on them. left_out: the number of
    records that gave no row.
    """

    rows: tuple[Row, ...]
    columns: dict[str, str]
    notes: tuple[str, ...] = ()
    left_out: int = 0


def read_rows(table: Table, role: str, said: Mapping[str, str] | None = None, turns: str = LAST) -> Read:
    """Return the rows of a role. A row with an empty question, answer or text is left out, and a note says
    so.

    said: columns by field of Columns, as a person named them. Columns subject and attribute are read where a table has
    them. ValueError for a missing column, when none is left, and for cells that hold something else
    than they should.
    """
    if turns not in TURNS:
        raise ValueError(f"data: turns must be one of {', '.join(TURNS)}, got {turns!r}.")
    columns = columns_of(table, dict(said or {}))
    if set(OURS) <= set(table.columns):
        made, extras = _ours(table, columns), Extras()
    else:
        extras = extras_of(table, columns)
        made = forms.rows_of(table, columns, extras, turns)
    numbered = bool(columns.request) and role in ("forget", "paraphrase")
    rows = tuple(_about(row, table, columns, numbered) for row in made.rows)
    notes = made.notes(table.name, len(table))
    if not rows and any(said in forms.UNUSABLE or said.startswith(forms.NOTHING) for said in made.seen):
        raise ValueError(
            f"{table.name}: no row can be used. {' '.join(notes)} Mend them, or choose another column."
        )
    if not rows:
        what = " and ".join(
            repr(name) for name in (columns.question, columns.answer, columns.messages, columns.text) if name
        )
        raise ValueError(
            f"{table.name}: must have at least one row with {what} filled, got none of {len(table)}. "
            "Fill the cells or choose another column."
        )
    used = columns.by_role() | {what: name for what in vars(extras) if (name := getattr(extras, what))}
    notes = [*table.notes, *notes]
    if columns.text and not (said or {}).get("text") and names.spoken(columns.text) in HALVES:
        notes.append(f"{table.name}: {WHOLE.format(columns.text)}")
    if len(rows) == 1:
        notes.append(f"{table.name}: {ALONE}")
    return Read(rows, used, tuple(notes), made.left_out)


def rows_given(role: str, given: Iterable[object]) -> tuple[Row, ...]:
    """Return the Rows that entries in memory stand for: Rows, texts, pairs (question, answer), or objects as a
    JSONL file has them.

    Objects are read by the rules of a file, and what a person should know of them is a warning. ValueError for what is
    no list of entries although it can be gone through: a path or a name gives its letters, an object its keys, and a
    table its columns; and for an entry of another form, with its place.
    """
    kind = type(given).__name__
    remedy = ""
    if isinstance(given, (str, bytes, Path)):
        remedy = f"got the {kind} {str(given)[:80]!r}. unlearn.rows(...) reads a file or a bundled set"
    elif isinstance(given, Mapping) and any(hasattr(part, "column_names") for part in given.values()):
        remedy = f"got a {kind} of several sets. Give one, such as sets[{next(iter(given))!r}]"
    elif isinstance(given, Mapping) and not all(isinstance(part, str) for part in given.values()):
        remedy = f'got one {kind}. Give a list of objects, one a row, such as pandas.DataFrame(it).to_dict("records")'
    elif isinstance(given, Mapping):
        remedy = f"got one {kind}. Put it into a list"
    elif hasattr(given, "columns"):
        remedy = f'got a {kind}. Give its rows, such as table.to_dict("records")'
    elif isinstance(given, Row) or not isinstance(given, Iterable):
        remedy = f"got one {kind}. Put it into a list"
    if remedy:
        raise ValueError(f"{role}: must be a list of rows, {remedy}.")
    entries = list(given)
    objects = [one for one in entries if isinstance(one, Mapping)]
    if objects and len(objects) == len(entries):
        return _rows_of_objects(role, objects)
    for number, one in enumerate(entries, 1):
        if isinstance(one, Mapping) and set(one) - set(PAIR):
            others = next(type(other).__name__ for other in entries if not isinstance(other, Mapping))
            raise ValueError(
                f"{role}, row {number}: is an object with {', '.join(map(str, one))} in a list that also holds a "
                f"{others}. Give objects alone, or make each a pair (question, answer)."
            )
    return tuple(_row_given(role, number, one) for number, one in enumerate(entries, 1))


def _rows_of_objects(role: str, objects: Sequence[Mapping[object, object]]) -> tuple[Row, ...]:
    """The rows of a list of objects, as of a file that has one a line."""
    records = []
    for number, one in enumerate(objects, 1):
        try:
            records.append({str(name): plain(value) for name, value in one.items()})
        except ValueError as error:
            raise ValueError(f"{role}, row {number}: {error}") from None
    columns = dict.fromkeys(name for one in records for name in one)
    if set(columns) <= {"question"}:
        raise ValueError(
            f"{role}, row 1: must be a text, (question, answer) or an object with question and answer, got "
            f"{str(records[0])[:80]!r}."
        )
    try:
        read = read_rows(Table(role, tuple(columns), tuple(records)), role)
    except ValueError as error:
        # A reader of files tells the flags that name a column, which a list in memory has not.
        said = f"{error} Of rows in memory rename the keys." if "--" in str(error) else str(error)
        raise ValueError(said) from None
    for note in read.notes:
        if not note.endswith(ALONE):
            warnings.warn(note, stacklevel=4)
    return read.rows


def _row_given(role: str, number: int, given: object) -> Row:
    """The Row that an entry stands for. ValueError names role, place and the forms that are read."""
    parts: JsonView = {}
    if isinstance(given, Row):
        return given
    if isinstance(given, str):
        parts = {"answer": given}
    elif isinstance(given, Mapping) and set(given) <= set(PAIR):
        parts = given
    elif isinstance(given, (list, tuple)) and len(given) == 2:
        parts = dict(zip(PAIR, given, strict=True))
    texts = all(isinstance(text, str) for text in parts.values())
    if not texts or not str(parts.get("answer", "")).strip():
        raise ValueError(
            f"{role}, row {number}: must be a text, (question, answer) or an object with question and answer, "
            f"got {str(given)[:80]!r}."
        )
    # Without the blanks around it, as a file's cell is read.
    return Row(answer=text_of(parts["answer"]), question=text_of(parts.get("question", "")))


def dataset_from_tables(
    name: str,
    tables: Mapping[str, Table],
    said: Mapping[str, Mapping[str, str]] | None = None,
    turns: str = LAST,
) -> Dataset:
    """Return a dataset made of tables by role. said: columns by role and field of Columns, for those that a
    person named.

    A role without columns of its own takes forget's where its table has them. Where the forget rows say how they can be
    asked otherwise (TOFU's paraphrased_question) and no table does, these make the role paraphrase. ValueError as
    read_rows() has it, and for an unknown role.
    """
    said = said or {}
    read: dict[str, Read] = {}
    for role, table in tables.items():
        if role not in ROLES:
            raise ValueError(f"data: roles must be among {', '.join(ROLES)}, got {role}.")
        own = said.get(role) or _same(said.get("forget", {}), table)
        read[role] = read_rows(table, role, own, turns)
    roles = {role: found.rows for role, found in read.items()}
    notes = dict.fromkeys(note for found in read.values() for note in found.notes)
    if "paraphrase" not in roles and (asked := asked_otherwise(roles.get("forget", ()))):
        roles["paraphrase"] = asked
    return Dataset(
        name=name,
        title=name,
        roles=roles,
        note="Rows of a user's tables.",
        warnings=tuple(notes),
        columns=read["forget"].columns if "forget" in read else {},
        left_out=read["forget"].left_out if "forget" in read else 0,
    )


def _same(said: Mapping[str, str], table: Table) -> dict[str, str]:
    """Forget's columns where the table has them all, but for the requests' numbers; else none."""
    wanted = {what: column for what, column in said.items() if what != "request"}
    return wanted if set(wanted.values()) <= set(table.columns) else {}


def asked_otherwise(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the same facts asked in the other words that the rows give."""
    return tuple(
        replace(row, question=row.asked_otherwise, asked_otherwise="") for row in rows if row.asked_otherwise
    )


def _about(row: Row, table: Table, columns: Columns, numbered: bool) -> Row:
    """The row with its request, and with whom it is about where its table says so."""
    record = table.records[row.place - 1]
    more: JsonObject = {}
    if numbered:
        cell = text_of(record.get(columns.request))
        if not re.fullmatch(r"0*[1-9]\d{0,3}", cell):
            raise ValueError(
                f"{table.name}: {columns.request!r} must be a whole number from 1, got {cell!r} in row {row.place}. "
                "Number the deletion requests 1, 2, 3…"
            )
        more["request"] = int(cell)
    if not row.subject and (subject := text_of(record.get("subject"))):
        asked = text_of(record.get("attribute")) if "attribute" in table.columns else row.question
        more |= {"subject": subject, "attribute": asked}
    return replace(row, **more) if more else row


def _ours(table: Table, columns: Columns) -> forms.Made:
    """Rows of a table that unlearn.data.write made: nothing is trimmed, and a question may be empty."""
    made = forms.Made()
    for place, record in enumerate(table.records, start=1):
        answer = _plain(record, columns.answer or columns.text)
        if not answer:
            made.seen[forms.EMPTY].append(place)
            made.left_out += 1
            continue
        wrong = _list(record, "wrong", table.name, place, lambda text: isinstance(text, str))
        spans = _list(record, "entities", table.name, place, _is_span)
        earlier = _list(record, "messages", table.name, place, _is_turn)
        texts: dict[str, Any] = {
            name: _plain(record, name) for name in ("lead", "subject", "attribute", *OURS_LATER)
        }
        made.rows.append(
            Row(
                question=_plain(record, columns.question),
                answer=answer,
                wrong=tuple(wrong),
                entities=tuple((a, b) for a, b in spans),
                messages=tuple((turn["role"], turn["content"]) for turn in earlier),
                place=place,
                **texts,
            )
        )
    return made


def _plain(record: Mapping[str, object], column: str) -> str:
    value = record.get(column) if column else ""
    return value if isinstance(value, str) else text_of(value)


def _is_span(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(i) is int and i >= 0 for i in value)


def _is_turn(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("role", "content"))


def _list(
    record: Mapping[str, object], column: str, name: str, place: int, fits: Callable[[object], bool]
) -> list[Any]:
    """The list in a cell, or written there as JSON; every part must fit. An empty cell is an empty list."""
    cell = record.get(column)
    if isinstance(cell, str) or cell is None:
        with contextlib.suppress(json.JSONDecodeError, RecursionError):
            cell = json.loads(cell or "[]")
    if not isinstance(cell, list) or not all(map(fits, cell)):
        what = {"wrong": "texts", "entities": "[start, end]"}.get(column, "messages")
        got = str(record.get(column))[:40]
        raise ValueError(
            f"{name}: {column!r} must be a JSON list of {what}, got {got!r} in row {place}. Mend that cell."
        )
    return cell
