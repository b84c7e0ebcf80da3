"""Admits what a visitor begins or uploads, or refuses it with the cap, its value and what to do.

Who clears the browser's cookies is a new visitor; the caps of all visitors together hold all the same. No torch.
"""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unlearn.data import write
from unlearn.data.base import Dataset
from unlearn.data.write import UPLOADS
from unlearn.results import classroom
from unlearn.store import upkeep
from unlearn.store.caps import MB, caps, is_visitor, mode
from unlearn.store.disk import write_whole
from unlearn.store.runs import ACTIVE, Record, Run, RunStore
from unlearn.work.visitors.rules import word
from unlearn.work.visitors.spent import MARK, SPLITS, Held, megabytes, minutes, records, tables

# Seconds for which an upload that no run names yet is not deleted for others.
FRESH = 3600.0
# Two tabs must not both take the last place.
_ONE = threading.RLock()


def full(name: str, have: str, remedy: str) -> ValueError:
    """Return the refusal of a cap: its name, value and meaning, what there is already, and what to do."""
    limits = caps()
    meaning = next(k.help for k in limits.knobs() if k.name == name)
    remedy += (
        "" if name.endswith("_each") else f"; whoever hosts this {word()} can raise it (--cap {name}=VALUE)"
    )
    return ValueError(
        f"{word()}: {limits.said(name)} ({meaning[:1].lower()}{meaning[1:-1]}); {have}. {remedy}."
    )


def admit(
    store: RunStore,
    owner: str,
    waiting: Sequence[Record],
    delete: Callable[[Record], None] | None = None,
) -> None:
    """Raise ValueError where a visitor may not begin one more run, attack or study. It admits everybody else.

    waiting: all records that wait or work. delete: deletes an old visitor's run, where the disk is too full.
    """
    if not is_visitor(owner):
        return
    limits = caps()
    owners = [str(one.meta.get("owner", "")) for one in waiting]
    mine, others = owners.count(owner), sum(map(is_visitor, owners))
    if mine >= limits.queue_each:
        raise full(
            "queue_each", f"yours are {mine}", "Wait until one of yours ends, or stop one on the page Runs"
        )
    if others >= limits.queue:
        raise full("queue", f"there are {others}", "Try again in a few minutes")
    for name, who, whose in (("minutes_each", owner, "yours took"), ("minutes", "", "they took")):
        if (spent := minutes(store.root, who)) >= getattr(limits, name):
            raise full(name, f"{whose} {spent:.3g}", "Try again tomorrow")
    _admit_bytes(store, owner, 0, delete or store.delete)


def _admit_bytes(store: RunStore, owner: str, more: int, delete: Callable[[Record], None]) -> None:
    """Raise ValueError where the disk is full for this visitor, or for all even after a pruning."""
    limits = caps()
    held = [*records(store), *tables(store)]
    if (mine := megabytes(held, owner) + more / MB) > limits.disk_mb_each:
        remedy = "Delete runs of yours on the page Runs, the largest first"
        raise full("disk_mb_each", f"yours take {mine:.3g}", remedy)
    if megabytes(held) + more / MB > limits.disk_mb:
        prune(store, delete, more)
        if (left := megabytes([*records(store), *tables(store)]) + more / MB) > limits.disk_mb:
            raise full("disk_mb", f"they take {left:.3g}", "Try again when the runs that work now have ended")


def prune(store: RunStore, delete: Callable[[Record], None] | None = None, more: int = 0) -> list[str]:
    """Delete the visitors' oldest runs and studies, and then unused tables, until all fit below the cap disk_mb.

    What waits or works stays. more: bytes that must fit in beside. Returns the ids of what was deleted.
    """
    most, gone = caps().disk_mb * MB - more, []
    runs, kept = records(store), tables(store)
    total = sum(one.bytes for one in (*runs, *kept))
    for one in runs:
        if total <= most:
            break
        if one.record is not None and one.record.state not in ACTIVE:
            with contextlib.suppress(OSError, ValueError):
                (delete or store.delete)(one.record)
                total -= one.bytes
                gone.append(one.path.name)
    if total > most:
        gone += _prune_tables(
            store, lambda left: sum(one.bytes for one in left) > most - (total - _sum(kept))
        )
    return gone


def _sum(held: Sequence[Held]) -> int:
    return sum(one.bytes for one in held)


def _prune_tables(store: RunStore, too_many: Callable[[Sequence[Held]], bool]) -> list[str]:
    """Delete the oldest tables of visitors that no run names, as long as there are too many."""
    left, gone = tables(store), []
    used = {str(Path(path).resolve().parent) for path in _named(store)}
    for one in list(left):
        if not too_many(left):
            break
        fresh = time.time() - (one.path / MARK).stat().st_mtime < FRESH
        if not fresh and str(one.path.resolve()) not in used:
            shutil.rmtree(one.path, ignore_errors=True)
            left.remove(one)
            gone.append(one.path.name)
    return gone


def _named(store: RunStore) -> Iterator[str]:
    """The files that runs of the store name as rows."""
    for known in store.summaries():
        with contextlib.suppress(OSError, ValueError):
            yield from upkeep.tables_of(Run(known.path))


def keep_table(content: bytes, name: str, store: RunStore, owner: str) -> Path:
    """Keep an uploaded or pasted table as write.keep() does. ValueError where a visitor's caps refuse it."""
    uploads = store.root / UPLOADS
    folder = write.place_of(content, name, uploads).parent
    with _ONE:
        is_new = _admit_table(store, owner, folder, len(content))
        path = write.keep(content, name, uploads)
        if is_new:
            write_whole(folder / MARK, owner.encode())
    return path


def keep_split(dataset: Dataset, store: RunStore, owner: str) -> dict[str, str]:
    """Keep a split as write.save() does. ValueError where a visitor's caps refuse it."""
    folder = store.root / UPLOADS / SPLITS / dataset.hash()
    size = sum(len(content) for _, content in write.files(dataset).values())
    with _ONE:
        is_new = _admit_table(store, owner, folder, size)
        data = write.save(dataset, folder)
        if is_new:
            write_whole(folder / MARK, owner.encode())
    return data


def _admit_table(store: RunStore, owner: str, folder: Path, size: int) -> bool:
    """Return whether the folder is a visitor's new table. ValueError where a cap refuses it."""
    if not is_visitor(owner) or folder.exists():
        return False
    limits = caps()
    check_size(size)
    mine = [one for one in tables(store) if one.owner == owner]
    remedy = "Use one of those that you gave before, or delete the runs that use them"
    if len(mine) >= limits.uploads_each:
        raise full("uploads_each", f"yours are {len(mine)}", remedy)
    if (used := megabytes(mine) + size / MB) > limits.uploads_mb_each:
        raise full("uploads_mb_each", f"with this one yours would be {used:.3g}", "Give fewer rows")
    _prune_tables(
        store, lambda left: len(left) >= limits.uploads or megabytes(left) + size / MB > limits.uploads_mb
    )
    every = tables(store)
    if len(every) >= limits.uploads:
        raise full("uploads", f"there are {len(every)}", "Try again in an hour")
    if (used := megabytes(every) + size / MB) > limits.uploads_mb:
        raise full(
            "uploads_mb",
            f"with this one they would be {used:.3g}",
            "Try again in an hour, or give fewer rows",
        )
    _admit_bytes(store, owner, size, store.delete)
    return True


def check_size(size: int) -> None:
    """Raise ValueError for a visitor's file that is larger than the cap of one."""
    if size > caps().upload_mb * MB:
        raise full("upload_mb", f"this one has {size / MB:.3g}", "Give a smaller file")


def begin_vote(root: Path, code: str, run: str, role: str, owner: str) -> classroom.Classroom:
    """Begin a class as classroom.begin() does. ValueError where a visitor may not.

    In a class the machine's own browser begins it, since a pupil who were first would choose what all vote on.
    """
    if not is_visitor(owner) or classroom.read(root, code):
        return classroom.begin(root, code, run, role, owner)
    if mode() == "class":
        raise ValueError(
            "class: a vote is begun in a browser of the machine that hosts the class; here you can vote in it."
        )
    limits = caps()
    with _ONE:
        begun = [one for one in classroom.owners(root) if is_visitor(one)]
        if (mine := begun.count(owner)) >= limits.votes_each:
            raise full("votes_each", f"yours are {mine}", "Go on with one that you began")
        if len(begun) >= limits.votes:
            raise full("votes", f"there are {len(begun)}", "Vote in one that has begun")
        return classroom.begin(root, code, run, role, owner)
