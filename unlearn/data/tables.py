"""Rows out of a user's tables: which column is what, and a Dataset by role.

The user's own data is the point of the tool, so everything that can be wrong with it is said in
words that name the file, the rule, what was found and what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unlearn.compute.lazy import pd
from unlearn.data.base import ROLES, Dataset, Row
from unlearn.data.table_files import FORMATS, MAX_BYTES, MAX_CHARS, MAX_ROWS, MIN_ROWS, read_table

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_CHARS",
    "MAX_ROWS",
    "Columns",
    "dataset_from_tables",
    "guess_columns",
    "read_table",
    "rows",
]

QUESTION_NAMES = ("question", "prompt", "instruction", "query", "input", "q")
ANSWER_NAMES = ("answer", "response", "completion", "output", "target", "a")
OURS = ("lead", "wrong", "entities")  # a table with all three was written by unlearn.data.write: see _ours
TEXT_NAMES = ("text", "content", "document", "passage", "article", "sentence", "body")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns hold what: question and answer, or text; request (1…K) may be added to either."""

    question: str = ""
    answer: str = ""
    text: str = ""
    request: str = ""

    def __post_init__(self) -> None:
        pair = bool(self.question) and bool(self.answer)
        if pair == bool(self.text) or bool(self.question) != bool(self.answer):
            raise ValueError(
                "columns: must name question and answer, or text alone, got "
                f"question={self.question!r}, answer={self.answer!r}, text={self.text!r}. Give either."
            )

    def named(self) -> tuple[str, ...]:
        """The columns in use."""
        return tuple(name for name in (self.question, self.answer, self.text, self.request) if name)


def guess_columns(frame: pd.DataFrame) -> Columns:
    """The columns that are called what such columns are usually called; a single column is text.

    Raises ValueError, naming the columns there are, when nothing fits.
    """
    by_name = {str(column).strip().lower(): str(column) for column in reversed(list(frame.columns))}

    def first(names: Sequence[str]) -> str:
        return next((by_name[name] for name in names if name in by_name), "")

    question, answer, text, request = (
        first(QUESTION_NAMES),
        first(ANSWER_NAMES),
        first(TEXT_NAMES),
        first(("request",)),
    )
    if question and answer:
        return Columns(question=question, answer=answer, request=request)
    others = [column for column in frame.columns if column != request]
    if text or len(others) == 1:
        return Columns(text=text or others[0], request=request)
    have = ", ".join(map(str, frame.columns))
    raise ValueError(
        f"columns: must be called question and answer, or text, got {have}. Say which column is which."
    )


def rows(frame: pd.DataFrame, columns: Columns, role: str) -> tuple[Row, ...]:
    """The rows of a role; those with an empty question, answer or text are left out.

    Columns subject and attribute are read where a table has them; further ones where it has all of OURS. Raises
    ValueError for a missing column, when fewer than MIN_ROWS are left, for a request that is not a whole number
    from 1, and for further columns that hold something else than they should.
    """
    for column in columns.named():
        if column not in frame.columns:
            have = ", ".join(map(str, frame.columns))
            raise ValueError(f"{role} file: has no column {column!r}; it has {have}. Choose one of these.")
    ours = set(OURS) <= set(frame.columns)
    answers = frame[columns.answer or columns.text]
    questions = frame[columns.question] if columns.question else pd.Series([""] * len(frame))
    if not ours:
        questions, answers = questions.str.strip(), answers.str.strip()
    numbered = bool(columns.request) and role in ("forget", "paraphrase")
    requests = _requests(frame[columns.request], columns.request, role) if numbered else [0] * len(frame)
    more = _ours(frame, role) if ours else _about(frame, questions)
    made = [
        Row(question=question, answer=answer, request=request, **extra)
        for question, answer, request, extra in zip(questions, answers, requests, more, strict=True)
        if answer and (question or ours or not columns.question)
    ]
    if len(made) < MIN_ROWS:
        what = " and ".join(repr(name) for name in (columns.question, columns.answer, columns.text) if name)
        raise ValueError(
            f"{role} file: must have at least {MIN_ROWS} rows with {what} filled, got {len(made)} of "
            f"{len(frame)}. Fill the cells or choose another column."
        )
    return tuple(made)


def dataset_from_tables(
    name: str,
    forget: pd.DataFrame,
    retain: pd.DataFrame | None = None,
    columns_forget: Columns | None = None,
    columns_retain: Columns | None = None,
    others: Mapping[str, pd.DataFrame] | None = None,
) -> Dataset:
    """A dataset of a user's tables; columns that are not given are guessed, file by file.

    others: tables of further roles, by role. Columns of retain and others are those of forget where
    the names exist there. Raises ValueError as rows() does, and for an unknown role.
    """
    columns_forget = columns_forget or guess_columns(forget)
    frames = {"forget": forget, **({} if retain is None else {"retain": retain}), **(others or {})}
    roles, warnings = {}, []
    for role, frame in frames.items():
        if role not in ROLES:
            raise ValueError(f"data: roles must be among {', '.join(ROLES)}, got {role}.")
        columns = {"forget": columns_forget, "retain": columns_retain}.get(role) or _same(
            columns_forget, frame
        )
        roles[role] = rows(frame, columns, role)
        if left_out := len(frame) - len(roles[role]):
            warnings.append(
                f"{role} file: {left_out} of {len(frame)} rows have empty cells and were left out."
            )
    texts = {row.prompt + row.target for row in roles["forget"]}
    for role in roles.keys() - {"forget", "paraphrase"}:
        if both := sum(row.prompt + row.target in texts for row in roles[role]):
            warnings.append(f"{role} file: {both} rows are in the forget file too. Take them out of one.")
    note = "Rows of a user's tables."
    return Dataset(name=name, title=name, roles=roles, note=note, warnings=tuple(warnings))


def _same(columns: Columns, frame: pd.DataFrame) -> Columns:
    """The same columns where the frame has them, otherwise a guess."""
    request = columns.request if columns.request in frame.columns else ""
    wanted = replace(columns, request=request)
    return wanted if set(wanted.named()) <= set(frame.columns) else guess_columns(frame)


def _requests(cells: pd.Series, column: str, role: str) -> list[int]:
    """The deletion request of each row."""
    for at, cell in enumerate(cells, start=1):
        if not re.fullmatch(r"0*[1-9]\d{0,3}", cell.strip()):
            raise ValueError(
                f"{role} file: {column!r} must be a whole number from 1, got {cell!r} in row {at}. "
                "Number the deletion requests 1, 2, 3…"
            )
    return [int(cell) for cell in cells]


def _about(frame: pd.DataFrame, questions: Sequence[str]) -> list[dict[str, str]]:
    """Whom each row is about and what it asks of them; where only the first is said, the question is the second."""
    if "subject" not in frame.columns:
        return [{}] * len(frame)
    asked = frame["attribute"] if "attribute" in frame.columns else questions
    return [
        {"subject": subject.strip(), "attribute": attribute.strip()} if subject.strip() else {}
        for subject, attribute in zip(frame["subject"], asked, strict=True)
    ]


def _ours(frame: pd.DataFrame, role: str) -> list[dict[str, Any]]:
    """What else a Row has, from a table that unlearn.data.write made; only there may a question be empty."""
    made = []
    for at, cells in enumerate(frame.to_dict("records"), start=1):
        wrong = _list(cells["wrong"], "wrong", role, at, lambda text: isinstance(text, str))
        spans = _list(cells["entities"], "entities", role, at, _is_span)
        texts = {name: cells.get(name, "") for name in ("lead", "subject", "attribute")}
        made.append(texts | {"wrong": tuple(wrong), "entities": tuple((a, b) for a, b in spans)})
    return made


def _is_span(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(i) is int and i >= 0 for i in value)


def _list(cell: str, name: str, role: str, at: int, fits: Callable[[object], bool]) -> list[Any]:
    """The JSON list in a cell, every part of which must fit; an empty cell is an empty list."""
    try:
        found = json.loads(cell or "[]")
    except (json.JSONDecodeError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(map(fits, found)):
        what = "texts" if name == "wrong" else "[start, end]"
        raise ValueError(
            f"{role} file: {name!r} must be a JSON list of {what}, got {cell[:40]!r} in row {at}. Mend that cell."
        )
    return found
