"""Keeps the weights of runs at an address such as a bucket or a shared folder, and brings them back to be read.

The run's folder stays where it is, with scores, rows and events. In place of the weights it has away.json: where they
lie, and of each file its size and hash. What is brought back lies in the cache, and is checked against these.
"""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.store.disk import cache_dir, read_json, write_json
from unlearn.store.runs import Run
from unlearn.store.scratch import beside

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

FILE = "away.json"
WEIGHTS = ("adapter", "model")
PIECE = 2**24
# Stores that have no folders. Making one would make a bucket where its name is misspelt.
BUCKETS = frozenset(("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss"))


def place_of(address: str) -> "tuple[AbstractFileSystem, str]":
    """Return (the file system, the folder on it) that an address means. ValueError, with the remedy, for no address."""
    # It comes with torch and datasets, and a command that asks for no address needs neither.
    import fsspec

    try:
        system, folder = fsspec.url_to_fs(address)
    except ImportError as error:
        raise ValueError(f"--store: {address} needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise ValueError(
            f"--store: {address} is no address ({error}); write it such as /nfs/weights or s3://bucket/weights."
        ) from error
    return system, str(folder).rstrip("/")


def send(run: Run, address: str) -> None:
    """Move the run's weights to address/<run id>, and note in its folder where they are. OSError where that fails."""
    system, folder = place_of(address)
    files = {}
    for path in sorted(p for name in WEIGHTS for p in (run.path / name).rglob("*") if p.is_file()):
        name = path.relative_to(run.path).as_posix()
        there = f"{folder}/{run.id}/{name}"
        try:
            if not BUCKETS.intersection(
                [system.protocol] if isinstance(system.protocol, str) else system.protocol
            ):
                system.makedirs(there.rpartition("/")[0], exist_ok=True)
            system.put_file(str(path), there)
            # The file system may remember what was there before.
            system.invalidate_cache(there)
            size = system.size(there)
        # Each file system has errors of its own, and not all are OSError.
        except Exception as error:
            raise OSError(f"--store: {there} cannot be written ({error}); the weights stay here.") from error
        if size != path.stat().st_size:
            raise OSError(f"{there} has not the size of {path}; the weights stay here.")
        files[name] = {"bytes": path.stat().st_size, "sha256": _digest(path)}
    if files:
        write_json(run.path / FILE, {"address": f"{address.rstrip('/')}/{run.id}", "files": files})
        for name in WEIGHTS:
            shutil.rmtree(run.path / name, ignore_errors=True)


def keeps_weights(run: Run) -> bool:
    """Return whether the run has weights that can be read, here or elsewhere."""
    here = any(any((run.path / name).glob("*.safetensors")) for name in WEIGHTS)
    return here or (run.path / FILE).is_file()


def weights_of(run: Run) -> Path:
    """Return the folder that has the run's adapter/ or model/: its own, or one of the cache that they are brought to.

    ValueError where they lie elsewhere and cannot be had, or are not those that were sent.
    """
    told = read_json(run.path / FILE)
    if not told or any((run.path / name).is_dir() for name in WEIGHTS):
        return run.path
    address, files = str(told.get("address", "")), dict(told.get("files", {}))
    folder = cache_dir() / "weights" / f"{run.id}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
    system, there = place_of(address)
    for name, about in files.items():
        path = folder / Path(name).parent.name / Path(name).name
        if path.is_file() and path.stat().st_size == about["bytes"]:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(path) as scratch:
            try:
                system.get_file(f"{there}/{name}", str(scratch))
            except Exception as error:
                raise ValueError(
                    f"run: the weights of {run.id} cannot be brought from {address} ({error})."
                ) from error
            if _digest(scratch) != about["sha256"]:
                raise ValueError(
                    f"run: {address}/{name} is not the file that {run.id} sent there; put it back, or run again."
                )
    return folder


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()
