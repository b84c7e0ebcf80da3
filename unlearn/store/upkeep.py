"""This module measures and frees the disk space of a store's runs. It removes weights, old runs, or the rows
that were forgotten.

Scores, hashes and the course of a run stay unless a whole run is deleted. No torch.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from unlearn.store.index import Summary
from unlearn.store.runs import ACTIVE, Record, Run, RunStore

WEIGHTS = ("adapter", "model", "checkpoint")
# The files that hold the rows, or the models' answers to them.
ROWS = ("inputs", "probes.jsonl", "samples.jsonl")
# The store's folder of answers, which are kept by content and only to save time.
CACHE = ".cache"


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
    """Remove the rows, generations and probes of a run, or of a study and its runs. It returns the files that
    still hold the rows.

    Scores, hashes and weights stay. ValueError while it is queued or running. Answers that the store keeps to save
    time are removed for all runs, because they are kept by content and not by run.
    """
    found = [record, *runs_of(record, store)]
    for one in found:
        if one.state in ACTIVE:
            raise ValueError(f"run: {one.id} is {one.state}; stop it before redacting it.")
    for one in found:
        for name in ROWS:
            _remove(one.path / name)
        one.set_meta(redacted=round(time.time(), 3))
        one.append("note", text="Rows, generations and probes were removed from this folder.")
    _remove(store.root / CACHE)
    return sorted({path for one in found for path in tables_of(one)})


def runs_of(record: Record, store: RunStore) -> list[Run]:
    """Return the runs that a study made. A run has none."""
    if isinstance(record, Run):
        return []
    names = dict.fromkeys(str(event["run"]) for event in record.events() if event.get("run"))
    return [Run(store.root / name) for name in names if (store.root / name / "config.json").is_file()]


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
