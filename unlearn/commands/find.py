"""Finds the run or study that a command names, by its path or by its name."""

import contextlib
from pathlib import Path
from typing import TypeVar

from unlearn.results.search.record import SearchRecord
from unlearn.results.sweep_record import SweepRecord
from unlearn.store.disk import is_run_id
from unlearn.store.runs import Record, Run, RunStore
from unlearn.store.studies import Study
from unlearn.store.upkeep import runs_of
from unlearn.work.sequence import SequenceRecord

# Each folder of a store, and the class of the records in it.
STUDIES: dict[str, type[Study]] = {
    record.FOLDER: record for record in (SequenceRecord, SweepRecord, SearchRecord)
}
# The commands whose studies have another name than they.
COMMANDS = {"search": "tune"}
# The runs of a study that an error names.
NAMED = 3
Kind = TypeVar("Kind", bound=Study)


def run_named(text: str, runs: Path) -> Run:
    """Return the run of this id in the store `runs`, or the run at this path, whichever store it lies in.

    ValueError, saying what was looked for, where there is none, and for a study, whose runs it names.
    """
    if study := _study(text, runs):
        own = [run.id for run in runs_of(study, store_of(study))]
        more = f" and {len(own) - NAMED} more" if len(own) > NAMED else ""
        such = (
            f"name one or more of its runs: {', '.join(own[:NAMED])}{more}" if own else "it has no runs yet"
        )
        raise ValueError(f"run: {study.id} is a {kind_of(study)}, and this takes runs; {such}.")
    if not is_path(text):
        return RunStore(runs).get(text)
    path = Path(text).expanduser().absolute()
    if not (path / "config.json").is_file():
        raise ValueError(f"run: {text} is no folder of a run; it has no config.json.")
    if not is_run_id(path.name):
        raise ValueError(
            f"run: the folder {path.name} has no name that a run gives itself; name it such as "
            "20260131-120000-npo-1a2b, or bring it in with export and import."
        )
    return Run(path)


def record_named(text: str, runs: Path) -> Record:
    """Return a run, a sequence, a sweep or a search by its id or path, as run_named() does a run."""
    return _study(text, runs) or run_named(text, runs)


def kind_of(record: Record) -> str:
    """Return what a person calls a record of this kind: "run", "sequence", "sweep" or "search"."""
    folder = record.path.parent.name
    if isinstance(record, Run):
        return "run"
    return {"searches": "search"}.get(folder, folder.removesuffix("s"))


def _study(text: str, runs: Path) -> Study | None:
    """The study of this id or path, or None where it names none."""
    path = Path(text).expanduser().absolute()
    if is_path(text) and path.parent.name in STUDIES and is_run_id(path.name) and path.is_dir():
        return STUDIES[path.parent.name](path)
    if is_run_id(text) and not (runs / text).is_dir():
        for folder, study in STUDIES.items():
            if (runs / folder / text).is_dir():
                return study(runs / folder / text)
    return None


def study_named(text: str, runs: Path, kind: type[Kind], name: str) -> Kind:
    """Return the study of this kind by its id or path. name: what a person calls the kind, such as "sweep".

    ValueError, with the remedy, where there is none.
    """
    found: Record | None = None
    # What is no run either is no study: said in one way.
    with contextlib.suppress(ValueError):
        found = record_named(text, runs) if is_path(text) or is_run_id(text) else None
    if not isinstance(found, kind):
        where = "" if is_path(text) else f" in {runs}"
        raise ValueError(
            f"{COMMANDS.get(name, name)}: no {name} {text[:80]!r}{where}; give its id, or the path of its folder."
        )
    return found


def store_of(record: Record) -> RunStore:
    """Return the store that a run or a study lies in."""
    parent = record.path.parent
    return RunStore(parent.parent if parent.name in STUDIES and not isinstance(record, Run) else parent)


def is_path(text: str) -> bool:
    """Return whether the text is a path: it has a separator, or begins with a dot or a tilde."""
    return "/" in text or "\\" in text or text.startswith((".", "~"))
