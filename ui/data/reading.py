"""Draws how a person's table is read (encoding, columns, turns, long rows), and its rows as they will be.

What is chosen becomes keys of config.data, so the command line that a page shows repeats it.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from ui import shell
from unlearn.data.base import ROLES, TITLES, Row
from unlearn.data.catalogue import sentence
from unlearn.data.columns import columns_of
from unlearn.data.files.jsons import SeveralSets
from unlearn.data.files.read import read_table
from unlearn.data.files.table import Table
from unlearn.data.tables import read_rows
from unlearn.data.turns import conversation

KINDS = {"pair": "Questions and answers", "messages": "Conversations", "text": "Plain texts"}
OF_KIND = {"pair": ("question", "answer"), "messages": ("messages",), "text": ("text",)}
ENCODINGS = (
    *("", "utf-8", "cp1252", "latin1", "utf-16", "mac-roman", "cp1250", "cp1251", "shift_jis", "gb18030"),
    *("big5", "euc-kr"),
)
TURNS = {"last": "The last answer", "all": "Every answer"}
LONG = {"": "Texts are cut, questions refused", "skip": "Left out", "refuse": "Refused"}
# The number of rows of the table, and of characters of a cell.
SHOWN, CELL = 50, 300
EXAMPLES = 3
# The roles whose columns and encoding a person may state. Those of other roles are found by themselves.
OWN = ("forget", "retain")
# Formats that are no text, so that no encoding can be chosen.
WITHOUT_ENCODING = (".parquet",)


def told(roles: Iterable[str]) -> str:
    """Return what these rows are, a line for each, with the word that files and commands have for them."""
    return "  \n".join(
        f"**{TITLES[role]}** (in files and commands `{role}`): {ROLES[role]}." for role in roles
    )


@st.cache_data(max_entries=8, show_spinner=False)
def _read(path: str, stamp: float, encoding: str, split: str) -> Table:
    return read_table(Path(path), Path(path).name, encoding=encoding, split=split)


def fields(role: str, path: Path) -> dict[str, str]:
    """Draw the table, its settings and its first rows as they will be, and return the keys of config.data.

    ValueError as the reader has it.
    """
    key = f"{role}.{path}"
    chosen: dict[str, str] = {}
    prefix = "" if role == "forget" else f"{role}_"
    place = st.container()
    encoding = _encoding(key) if role in OWN and path.suffix.lower() not in WITHOUT_ENCODING else ""
    chosen |= {f"{prefix}encoding": encoding} if encoding else {}
    table, split = _table(path, encoding, key)
    chosen |= {f"{prefix}hub_split": split} if split else {}
    with place:
        rows = [
            {name: _shown(record.get(name)) for name in table.columns} for record in table.records[:SHOWN]
        ]
        st.dataframe(
            rows,
            height=180,
            hide_index=True,
            key=f"data.table.{role}",
            placeholder="–",
            alt="The table as it lies in the file",
        )
        count = len(table.columns)
        st.caption(f"{len(table):,} rows, {count} column{'s' * (count > 1)}.")
    said = _columns(role, table, key)
    chosen |= {f"{prefix}{what}_column": column for what, column in said.items()}
    if role == "forget":
        chosen |= _rows(key, _talks(table, said))
    _examples(table, role, said, str(chosen.get("turns", "last")))
    return chosen


def _encoding(key: str) -> str:
    return (
        st.selectbox(
            "Encoding",
            ENCODINGS,
            format_func=lambda name: name or "found in the file",
            key=f"data.encoding.{key}",
            accept_new_options=True,
            help=sentence("encoding"),
        )
        or ""
    )


def _table(path: Path, encoding: str, key: str) -> tuple[Table, str]:
    """(table, which set of rows of the file): asked for where it holds several."""
    stamp = path.stat().st_mtime if path.is_file() else 0.0
    try:
        return _read(str(path), stamp, encoding, ""), ""
    except SeveralSets as several:
        split = st.selectbox("Set of rows", several.sets, key=f"data.part.{key}", help=sentence("hub_split"))
        return _read(str(path), stamp, encoding, split), split


def _columns(role: str, table: Table, key: str) -> dict[str, str]:
    """{what: column}, guessed first. Columns of other roles than forget and retain are always guessed."""
    try:
        guessed = columns_of(table).by_role()
    except ValueError as error:
        guessed = {}
        if role not in OWN or table.headless:
            raise
        st.info(shell.plain(str(error).partition(": --")[0] + "."), icon=":material/table_chart:")
    if role not in OWN:
        return {}
    first = next((kind for kind, whats in OF_KIND.items() if set(whats) <= guessed.keys()), "pair")
    kind = st.segmented_control(
        "What a row is",
        list(KINDS),
        format_func=KINDS.__getitem__,
        default=first,
        wrap=True,
        key=f"data.kind.{key}",
        required=True,
    )
    aside = ("system", "request") if role == "forget" else ("system",)
    wanted = (*OF_KIND[kind], *aside)
    picked = {}
    for what, cell in zip(wanted, st.columns(len(wanted)), strict=True):
        options = ["", *table.columns] if what in aside else list(table.columns)
        beside = 0 if what in aside else min(OF_KIND[kind].index(what), len(options) - 1)
        place = options.index(guessed[what]) if guessed.get(what) in options else beside
        picked[what] = cell.selectbox(
            f"{what.capitalize()} column",
            options,
            place,
            format_func=lambda name: name or "none",
            key=f"data.{what}.{key}",
            help=sentence(f"{what}_column"),
        )
    return {what: column for what, column in picked.items() if column}


def _shown(value: object) -> str:
    """A cell of the file, for a narrow table."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)[:CELL]
    return "" if value is None else str(value)[:CELL]


def _talks(table: Table, said: dict[str, str]) -> bool:
    """Return whether the columns hold conversations."""
    try:
        return any(
            conversation(record.get(name)) for record in table.records[:EXAMPLES] for name in said.values()
        )
    except ValueError:
        return True


def _rows(key: str, talks: bool) -> dict[str, str]:
    """Draw which answers of a conversation become rows, and what is done with rows that are too long."""
    left, right = st.columns(2)
    turns = "last"
    if talks:
        turns = left.selectbox(
            "Of a conversation",
            list(TURNS),
            format_func=TURNS.__getitem__,
            key=f"data.turns.{key}",
            help=sentence("turns"),
        )
    long = right.selectbox(
        "Rows longer than the model reads",
        list(LONG),
        format_func=LONG.__getitem__,
        key=f"data.long.{key}",
        help=sentence("long"),
    )
    return ({"turns": turns} if turns != "last" else {}) | ({"long": long} if long else {})


def _examples(table: Table, role: str, said: dict[str, str], turns: str) -> None:
    """The first rows as they will be."""
    found = read_rows(table, role, said, turns)
    lines = [as_line(row) for row in found.rows[:EXAMPLES]]
    columns = [name for name in lines[0] if any(line[name] for line in lines)]
    st.caption(f"As they will be read, the first {len(lines)} of {len(found.rows):,}:")
    st.dataframe(
        lines,
        column_order=columns,
        hide_index=True,
        height="content",
        key=f"data.read.{role}",
        placeholder="–",
        alt="The first rows as they will be read",
    )


def as_line(row: Row) -> dict[str, str | int | None]:
    """Return a row for a narrow table: what stands before, the question, the answer."""
    before = " / ".join(f"{who}: {text}" for who, text in row.messages)
    return {
        "system": row.system[:CELL], "before": before[:CELL], "question": (row.question or row.lead)[:CELL],
        "answer": row.answer[:CELL], "wrong": len(row.wrong) or None,
    }  # fmt: skip
