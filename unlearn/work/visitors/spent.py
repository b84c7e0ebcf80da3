"""Counts what visitors hold on the disk, and the minutes that their runs worked.

Disk and uploads are counted on the disk, so that what is deleted counts no more. The minutes stand in a file of their
own, so that a run that is deleted still counts. No torch.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearn.data.write import UPLOADS
from unlearn.store import upkeep
from unlearn.store.caps import MB, is_visitor
from unlearn.store.disk import append_line, is_run_id, json_text, read_lines, write_whole
from unlearn.store.runs import Record, Run, RunStore
from unlearn.store.shapes import JsonObject, real

# The store's folder of what visitors have used, and the file of their minutes.
FOLDER, MINUTES = ".visitors", "minutes.jsonl"
# The file beside an uploaded table that names the visitor.
MARK = ".visitor"
# The folder below the uploads into which splits are written.
SPLITS = "splits"
DAY = 24 * 3600.0
# The number of lines after which the file of minutes is written anew, with those of the last day.
LINES = 5000


@dataclass(frozen=True)
class Held:
    """A visitor's run, study or table on the disk. record: None for a table."""

    owner: str
    path: Path
    bytes: int
    record: Record | None = None


def records(store: RunStore) -> list[Held]:
    """Return the visitors' runs and studies, oldest first."""
    found: list[Record] = [Run(known.path) for known in store.summaries()]
    studies = store.root.glob("*/*/events.jsonl")
    found += [Record(path.parent) for path in studies if is_run_id(path.parent.name)]
    owned = [(str(one.meta.get("owner", "")), one) for one in sorted(found, key=lambda one: one.id)]
    return [
        Held(owner, one.path, upkeep.sizes(one)["bytes"], one) for owner, one in owned if is_visitor(owner)
    ]


def tables(store: RunStore) -> list[Held]:
    """Return the visitors' tables, oldest first. A folder whose table is gone does not count."""
    uploads = store.root / UPLOADS
    found = []
    for mark in (*uploads.glob(f"*/{MARK}"), *uploads.glob(f"{SPLITS}/*/{MARK}")):
        with contextlib.suppress(OSError):
            owner, stamp = mark.read_text(encoding="utf-8").strip(), mark.stat().st_mtime
            size = sum(path.stat().st_size for path in mark.parent.iterdir() if path != mark)
            if size and is_visitor(owner):
                found.append((stamp, Held(owner, mark.parent, size)))
    return [held for _, held in sorted(found, key=lambda pair: pair[0])]


def megabytes(held: Sequence[Held], owner: str = "") -> float:
    """Return the megabytes of these things, of one visitor or of all."""
    return sum(one.bytes for one in held if owner in ("", one.owner)) / MB


def minutes(root: Path, owner: str = "") -> float:
    """Return the minutes that the runs of a visitor, or of all, worked within the last day."""
    since = time.time() - DAY
    return sum(
        line["seconds"] / 60 for line in _spent(root) if line["time"] > since and owner in ("", line["owner"])
    )


def _spent(root: Path) -> Iterator[JsonObject]:
    path = root / FOLDER / MINUTES
    for line in read_lines(path) if path.is_file() else ():
        if real(line.get("seconds")) and real(line.get("time")):
            yield line


def note_minutes(root: Path, owner: str, seconds: float) -> None:
    """Write down how long a visitor's run worked. Lines older than a day are dropped from a long file."""
    path = root / FOLDER / MINUTES
    path.parent.mkdir(parents=True, exist_ok=True)
    append_line(path, {"time": round(time.time(), 1), "owner": owner, "seconds": round(seconds, 1)})
    lines = list(_spent(root))
    if len(lines) > LINES:
        recent = [line for line in lines if line["time"] > time.time() - DAY]
        write_whole(path, "".join(json_text(line) + "\n" for line in recent).encode())
