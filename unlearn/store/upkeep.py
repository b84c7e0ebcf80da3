"""This module measures and frees the disk space of a store's runs. It removes weights, old runs, or the rows
that were forgotten.

Scores, hashes and the course of a run stay unless a whole run is deleted. No torch.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from unlearn.store.disk import is_run_id, read_lines, write_json, write_whole
from unlearn.store.index import Summary
from unlearn.store.redaction import HASHES, NOTE, ROWS, bare, rows_of
from unlearn.store.runs import ACTIVE, Record, Run, RunStore

WEIGHTS = ("adapter", "model", "checkpoint")
# The store's folder of answers, which are kept by content and only to save time.
CACHE = ".cache"
# The roles whose rows say what was to be forgotten.
SAME_FACTS = ("forget", "paraphrase")
# The store's folder of uploaded tables.
UPLOADS = ".uploads"


def sizes(run: Record | Summary) -> dict[str, int]:
    """Return {"bytes": all files of the run, "weights": the files that its scores do not need}, both in
    bytes.
    """
    return {
        "bytes": _bytes(run.path),
        "weights": sum(_bytes(run.path / name) for name in WEIGHTS),
    }


def _bytes(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())


def redact(record: Record, store: RunStore) -> list[str]:
    """Remove the rows, generations and probes of a run, or of a study and its runs. It returns what still
    holds rows: files, and other runs and studies of the store.

    Scores, hashes and weights stay. ValueError while it is queued or running. Answers that the store keeps to save
    time are removed for all runs, because they are kept by content and not by run. An uploaded table goes where no
    other run names it.
    """
    found = [record, *runs_of(record, store)]
    for one in found:
        if one.state in ACTIVE:
            raise ValueError(f"run: {one.id} is {one.state}; stop it before redacting it.")
    tables = {path for one in found for path in tables_of(one)}
    holding = {path for one in found for path in _holding(one)}
    rows = {row for one in found for row in _forgotten(one)}
    for one in found:
        _redact(one)
    _remove(store.root / CACHE)
    others = [run for run in store.list() if run not in found]
    mine = {path for path in tables if _is_upload(path, store)}
    for path in mine - {path for run in others for path in tables_of(run)}:
        _remove(Path(path))
        _remove_empty(Path(path).parent)
    left = {path for path in holding if Path(path).is_file()}
    elsewhere = [*others, *(study for study in _studies(store) if study not in found)]
    return sorted(left | {str(other.path) for other in elsewhere if rows & _forgotten(other)})


def _redact(record: Record) -> None:
    """Take the rows out of all files of one folder, and leave its weights."""
    if kept := rows_of(record.path):
        write_json(record.path / HASHES, kept)
    # A checkpoint serves to go on with the run, for which its rows are needed.
    _remove(record.path / "checkpoint")
    for path in sorted(p for p in record.path.rglob("*") if p.is_file() and not p.is_symlink()):
        name = path.relative_to(record.path).as_posix()
        if name.partition("/")[0] in WEIGHTS or path.suffix not in (".json", ".jsonl"):
            continue
        before = path.read_bytes()
        after = bare(name, before, study=not isinstance(record, Run))
        if after is None:
            _remove(path)
        elif after != before:
            write_whole(path, after)
    record.set_meta(redacted=round(time.time(), 3))
    record.append("note", text=NOTE)


def _forgotten(record: Record) -> set[tuple[str, str]]:
    """The question and the answer of each row to forget that a run or a study keeps."""
    return _kept(record).get("forget", set())


def _kept(record: Record) -> dict[str, set[tuple[str, str]]]:
    """{role: the question and the answer of each row} of what a run or a study keeps."""
    found: dict[str, set[tuple[str, str]]] = {}
    for line in read_lines(record.path / ROWS[0]):
        if isinstance(row := line.get("row"), dict):
            told = (str(row.get("question", "")), str(row.get("answer", "")))
            found.setdefault(str(line.get("role", "")), set()).add(told)
    return found


def _holding(record: Record) -> list[str]:
    """The files of tables_of() that hold what was to be forgotten.

    A table of another role does not, unless one of its rows is also a row to forget.
    """
    kept, named = _kept(record), set(tables_of(record))
    others = {role for role in kept if role not in SAME_FACTS and not kept[role] & kept.get("forget", set())}
    data = record.config.data if isinstance(record, Run) else {}
    return [
        path for role, path in data.items() if role not in others and isinstance(path, str) and path in named
    ]


def _studies(store: RunStore) -> list[Record]:
    """The studies of a store: every folder of a folder in it that has events of its own."""
    return [
        Record(path.parent) for path in store.root.glob("*/*/events.jsonl") if is_run_id(path.parent.name)
    ]


def _is_upload(path: str, store: RunStore) -> bool:
    return Path(path).absolute().is_relative_to((store.root / UPLOADS).absolute())


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def runs_of(record: Record, store: RunStore) -> list[Run]:
    """Return the runs that a study made. A run has none."""
    if isinstance(record, Run):
        return []
    names = dict.fromkeys(str(event["run"]) for event in record.events() if event.get("run"))
    return [Run(store.root / name) for name in names if (store.root / name / "config.json").is_file()]


def resting_on(records: Sequence[Record], store: RunStore) -> list[str]:
    """Return a sentence for each run of the store that goes on from one of these and is none of them."""
    ids = {record.id for record in records}
    return [
        f"{run.id} goes on from {run.config.start}: without it nothing can be asked of the model before, so it can be "
        "scored, attacked and resumed no more."
        for run in store.list()
        if run.config.start in ids and run.id not in ids
    ]


def tables_of(record: Record) -> list[str]:
    """Return the files on this machine that a run's settings name as rows, if they exist."""
    if not isinstance(record, Run):
        return []
    named = [value for value in record.config.data.values() if isinstance(value, str) and value]
    return [path for path in named if Path(path).expanduser().is_file()]


def old(store: RunStore, seconds: float) -> Iterator[Run]:
    """Return the runs that ended more than this many seconds ago. A run that still works and a recorded run
    are never among them.
    """
    for run in store.list():
        ended = max((float(event["time"]) for event in run.events()), default=time.time())
        if time.time() - ended > seconds and run.state not in ACTIVE and not run.meta.get("recorded"):
            yield run


def drop_weights(run: Run) -> int:
    """Remove the weights and the checkpoint of a run and return the bytes that this freed. Its scores stay,
    but nobody can ask or resume it any more.
    """
    freed = sizes(run)["weights"]
    for name in WEIGHTS:
        _remove(run.path / name)
    return freed


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def facts(run: Summary) -> dict[str, str]:
    """Return the facts that a list shows of a run: its id, state, model, method and title."""
    return {
        "run": run.id,
        "state": run.state,
        "model": run.model,
        "method": run.method,
        "title": run.title or run.id,
    }
