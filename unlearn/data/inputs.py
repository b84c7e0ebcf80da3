"""This module keeps the rows of a run in the run's own folder. They are written when the run begins and read
from there afterwards.

A table may be edited, moved or deleted while a run waits to be gone on with, and a hub's dataset may change. So
whatever works for a run or a study (resume, evaluate, attack, the next member of a sequence) asks dataset_of() and
gets the very rows that the run began with. Their hash stands in the run's `inputs` event. No torch, no pandas.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from unlearn.data.base import Dataset, Row
from unlearn.data.catalogue import from_config
from unlearn.store.disk import write_whole
from unlearn.store.runs import Record, Run
from unlearn.store.scratch import beside
from unlearn.store.shapes import JsonObject

FILE = Path("inputs") / "rows.jsonl"
SCHEMA = 1
ABOUT = ("name", "title", "note", "warnings")


def dataset_of(
    record: Record,
    data: Mapping[str, object] | None = None,
    roots: Sequence[Path] | None = None,
    fit: Callable[[Dataset], Dataset] = lambda dataset: dataset,
) -> Dataset:
    """Return the rows of a run or a study. Where it keeps none, these are the rows that its settings mean
    today.

    data: the data field of its settings (default: config.data). fit: makes of what the settings mean the rows that the
    model reads; what is kept went through it. ValueError where the
    rows it keeps are not those that it began with, and where it keeps none and its settings now mean other rows.
    """
    known = known_hash(record)
    if (record.path / FILE).is_file():
        return _read(record, known)
    if data is None:
        assert isinstance(record, Run), "a study says its data"
        data = record.config.data
    found = fit(from_config(dict(data), roots=roots))
    if known and rows_hash(found) != known:
        raise ValueError(
            f"run: {record.id} no longer holds its rows, and its settings now mean other ones (hash "
            f"{rows_hash(found)}, it began with {known}); put the data back as it was, or start a new run."
        )
    return found


def keep(record: Record, dataset: Dataset) -> str:
    """Write the rows into the folder, completely or not at all, and return their hash."""
    path = record.path / FILE
    path.parent.mkdir(exist_ok=True)
    content = _content(dataset)
    write_whole(path, content)
    return _digest(content)


def begin(
    study: Record,
    data: Mapping[str, object],
    roots: Sequence[Path] | None,
    fit: Callable[[Dataset], Dataset],
) -> Dataset:
    """Return the rows of a study. They are written into its folder when it is first carried out, and its runs
    share() them.
    """
    found = dataset_of(study, data, roots, fit)
    # A kill may have come between the file and the event.
    if not (study.path / FILE).is_file() or not known_hash(study):
        study.append("inputs", rows=keep(study, found))
    return found


def share(study: Record, record: Record) -> None:
    """Give a study's rows to one of its runs. They use disk space only once, where the file system can do
    that.
    """
    target = record.path / FILE
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(study.path / FILE, target)
    except OSError:
        with beside(target) as scratch:
            shutil.copyfile(study.path / FILE, scratch)


def rows_hash(dataset: Dataset) -> str:
    """Return twelve hex digits of the rows as they are kept. A later version gives the same rows the same
    hash.
    """
    return _digest(_content(dataset))


def known_hash(record: Record) -> str:
    """Return the hash of the rows that the run or study began with, or "" for one that an older version made."""
    return next((event["rows"] for event in record.events("inputs") if event.get("rows")), "")


def _content(dataset: Dataset) -> bytes:
    """A first line about the dataset, then a line a row; what a row does not say is left out."""
    about = {"schema": SCHEMA} | {name: getattr(dataset, name) for name in ABOUT}
    lines: list[JsonObject] = [about]
    lines += [{"role": role, "row": _said(row)} for role in dataset.roles for row in dataset.rows(role)]
    text = "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines)
    return text.encode("utf-8", "surrogatepass")


def _said(row: Row) -> JsonObject:
    return {f.name: value for f in fields(Row) if (value := getattr(row, f.name)) != _default(f)}


def _default(field: Field[object]) -> object:
    """What a row says that does not say it; a field that every row must say is text."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return "" if field.default is MISSING else field.default


def _digest(content: bytes) -> str:
    """Of the rows alone: a title that is worded anew is no other data."""
    return hashlib.sha256(content.partition(b"\n")[2]).hexdigest()[:12]


def _read(record: Record, known: str) -> Dataset:
    content = (record.path / FILE).read_bytes()
    if known and _digest(content) != known:
        raise ValueError(
            f"run: the rows in {record.id}/{FILE} are not those that it began with (hash {_digest(content)}, it "
            f"began with {known}); put that file back as it was, or start a new run."
        )
    try:
        about, *lines = map(json.loads, content.splitlines())
        if about["schema"] > SCHEMA:
            raise ValueError(f"schema {about['schema']} is of a newer version, this one reads up to {SCHEMA}")
        roles: dict[str, list[Row]] = {}
        for line in lines:
            roles.setdefault(line["role"], []).append(_row(line["row"]))
        told = {name: _frozen(about[name]) for name in ABOUT}
        return Dataset(roles={role: tuple(rows) for role, rows in roles.items()}, **told)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"run: {record.id}/{FILE} cannot be read ({error}); start a new run.") from error


def _row(said: Mapping[str, object]) -> Row:
    known = {f.name: f for f in fields(Row)}
    if unknown := sorted(set(said) - set(known)):
        raise ValueError(f"unknown field {unknown[0]}, which a newer version may know")
    values = {name: _frozen(value) for name, value in said.items()}
    for name, value in values.items():
        wanted = type(_default(known[name]))
        if not isinstance(value, wanted):
            raise ValueError(f"{name} must be {wanted.__name__}, got {str(value)[:40]!r}")
    return Row(**values)


def _frozen(value: object) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
