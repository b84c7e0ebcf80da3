"""This module writes datasets as JSONL files that an upload reads again without loss. A file has one role,
and a line has one row.

A stranger's table says question and answer; ours says everything that a Row knows, so that a forget set which was
split, saved and uploaded gives the same prompts and the same scores. The columns of tables.OURS mark such a file.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from unlearn.data.base import LATER, ROLES, Dataset, Row
from unlearn.data.files.bounds import MAX_BYTES
from unlearn.store.disk import write_whole
from unlearn.store.shapes import JsonObject

HASH_DIGITS = 16
KEPT = re.compile(r"[0-9a-f]{16}")
# The folder that contains the folders named by hashes.
UPLOADS = ".uploads"


def to_jsonl(rows: Sequence[Row], name: str = "the file") -> bytes:
    """Return the rows as JSONL. ValueError for more than an upload may have. name is what the error calls the
    file.
    """
    numbered = any(row.request for row in rows)
    later = [name for name in LATER if any(getattr(row, name) for row in rows)]
    lines = (json.dumps(_cells(row, numbered, later), ensure_ascii=False) + "\n" for row in rows)
    data = "".join(lines).encode()
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"{name}: must be at most {MAX_BYTES / 2**20:.0f} MB to be read again, got {len(data) / 2**20:.1f} MB. "
            "Take a part of the rows."
        )
    return data


def _cells(row: Row, numbered: bool, later: Sequence[str]) -> JsonObject:
    cells: JsonObject = {
        "question": row.question,
        "lead": row.lead,
        "answer": row.answer,
        "wrong": list(row.wrong),
        "entities": [list(span) for span in row.entities],
        "subject": row.subject,
        "attribute": row.attribute,
    }
    for name in later:
        cells[name] = (
            [{"role": role, "content": text} for role, text in row.messages]
            if name == "messages"
            else getattr(row, name)
        )
    return cells | ({"request": row.request} if numbered else {})


def files(dataset: Dataset) -> dict[str, tuple[str, bytes]]:
    """Return {role: (file name, content)} for every role that has rows, forget first."""
    made = {}
    for role in ROLES:
        if rows := dataset.rows(role):
            name = f"{dataset.name}{'' if role == 'forget' else '-' + role}.jsonl"
            made[role] = (name, to_jsonl(rows, name))
    return made


def save(dataset: Dataset, folder: Path) -> dict[str, str]:
    """Write the files into the folder and return the data field of a run that reads them."""
    # The contents are made before anything is written, because files() may refuse the dataset.
    contents = files(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.values():
        write_whole(folder / name, content)
    return {role: str(folder / name) for role, (name, _) in contents.items()}


def keep(content: bytes, name: str, folder: Path) -> Path:
    """Write an uploaded or pasted table completely, once, in folder/<its hash>, and return the file.

    A file that is there with other content (cut by a full disk) is written anew. OSError where it cannot be.
    """
    path = place_of(content, name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (path.is_file() and _digest(path.read_bytes()) == path.parent.name):
        write_whole(path, content)
    return path


def place_of(content: bytes, name: str, folder: Path) -> Path:
    """Return the file that keep() would write."""
    clean = re.sub(r"[^\w.-]+", "_", Path(name).name).lstrip(".")[-80:] or "table.txt"
    return folder / _digest(content) / clean


def check_kept(path: Path) -> None:
    """Raise ValueError where a file in a folder named by its hash does not have that hash."""
    named = path.parent.parent.name == UPLOADS and KEPT.fullmatch(path.parent.name)
    if named and _digest(path.read_bytes()) != path.parent.name:
        raise ValueError(
            f"data: {path.name} is not what was uploaded (it was cut, or changed since); upload it again."
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
