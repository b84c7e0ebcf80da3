"""Packs what a record needs on a machine that shares no disk with this one: its folder, its rows, and earlier runs."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from unlearn.models.catalogue import CATALOGUE, as_folder
from unlearn.store.runs import STOP, Record, Run, RunStore
from unlearn.store.studies import Study
from unlearn.work.identity import rows_of
from unlearn.work.sequence import SequenceRecord, keep_rows
from unlearn.work.stress import StressRecord

WEIGHTS = ("adapter", "model")
# The folder of a run with its stress tests, of which none needs another.
TESTS = (StressRecord.FOLDER,)


def store_of(record: Record) -> Path:
    """Return the folder of the store that a record lies in, also where it lies in the folder of a run."""
    parent = record.path.parent
    if isinstance(record, Run):
        return parent
    inside_run = (parent.parent / "config.json").is_file()
    return parent.parent.parent if inside_run else parent.parent


def place_of(record: Record) -> str:
    """Return the record's place in its store, as its path below it."""
    return record.path.relative_to(store_of(record)).as_posix()


def packed(record: Record, roots: Sequence[Path] | None) -> list[tuple[str, Path]]:
    """Return (name below the store, file) of all that the record needs elsewhere.

    Its rows are written into its folder first, since the files that they come from stay here. ValueError where these
    cannot be read.
    """
    root, found = store_of(record), dict[str, Path]()
    for folder, without in _folders(record, roots):
        for path in _files(folder, without):
            found[path.relative_to(root).as_posix()] = path
    return list(found.items())


def _files(folder: Path, without: Sequence[str] = ()) -> Iterator[Path]:
    """Every file below the folder but those under these names, hidden ones, and a wish to stop."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == STOP or path.name in without:
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def _folders(record: Record, roots: Sequence[Path] | None) -> Iterator[tuple[Path, Sequence[str]]]:
    """(folder, what of it stays here) of the record and of the runs that it goes on from."""
    store = RunStore(store_of(record))
    if isinstance(record, Run):
        rows_of(record, roots)
        # What it made before it was cut short is in its checkpoint.
        yield record.path, (*WEIGHTS, *TESTS)
        yield from _starts(record, store)
    elif isinstance(record, StressRecord):
        yield record.run.path, TESTS
        yield record.path, ()
        yield from _starts(record.run, store)
    elif isinstance(record, SequenceRecord):
        keep_rows(record, roots)
        yield record.path, ()
        for run in store.list():
            if run.meta.get("sequence") == record.id:
                yield run.path, TESTS
    else:
        yield record.path, ()
        for name in record.ALONG if isinstance(record, Study) else ():
            folder = store.root / name
            yield folder, [path.name for path in folder.iterdir() if path.is_dir()]


def models_of(record: Record) -> dict[str, Path]:
    """Return {name in the settings: folder} of the models that are folders of this machine's user."""
    names: list[str] = []
    if isinstance(record, SequenceRecord):
        names = [record.config.run.model, record.config.run.retrained]
    elif isinstance(run := record.run if isinstance(record, StressRecord) else record, Run):
        names = [run.config.model, run.config.retrained]
    folders = {name: as_folder(name) for name in names if name and name not in CATALOGUE}
    return {name: folder for name, folder in folders.items() if folder is not None}


def digest_of(folder: Path) -> str:
    """Return a name for the folder's content as it is now, made of its files' names, sizes and times."""
    found = hashlib.sha256(str(folder.absolute()).encode())
    for path in files_of(folder):
        status = path.stat()
        found.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return found.hexdigest()[:24]


def files_of(folder: Path) -> list[Path]:
    """Return every file of a model's folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _starts(run: Run, store: RunStore) -> Iterator[tuple[Path, Sequence[str]]]:
    """The run that this one starts from, the one before that, and so on."""
    while run.config.start:
        run = store.get(run.config.start)
        yield run.path, TESTS


def batches(files: Iterable[tuple[str, Path]], most: int) -> Iterator[dict[str, bytes]]:
    """Give the files' contents in order, in groups of at most about so many bytes. A large file is in several."""
    batch: dict[str, bytes] = {}
    size = 0
    for name, path in files:
        batch[name] = b""
        with path.open("rb") as file:
            while piece := file.read(most - size):
                batch[name] = batch.get(name, b"") + piece
                if (size := size + len(piece)) == most:
                    yield batch
                    batch, size = {}, 0
    yield batch
