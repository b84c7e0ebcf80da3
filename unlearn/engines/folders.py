"""Makes the folders that a carrier needs for a while, and clears away those of carriers that were killed.

Rows lie in them. Each is locked for as long as its process lives, so that whoever comes next can tell a dead one's.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from filelock import FileLock

from unlearn.store.disk import NEW as UNNAMED
from unlearn.store.locks import LOCK, is_locked
from unlearn.store.runs import STOP

PREFIX = "unlearn-carrier-"
# Seconds in which a new folder may have no lock yet.
NEW = 60.0

Stamp = tuple[int, int]


class OwnFolder:
    """An empty folder of this process for temporary files."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = FileLock(self.path / LOCK, thread_local=False)
        self._lock.acquire()

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def clear_dead() -> None:
    """Remove the folders that carriers left on this machine which were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > NEW and not is_locked(folder / LOCK):
                shutil.rmtree(folder, ignore_errors=True)


def stamps(root: Path) -> Iterator[tuple[str, Stamp]]:
    """Give (name below root, (size, time)) of every file but locks, scratch files and wishes to stop."""
    for folder, folders, files in os.walk(root):
        # A run that is being made has no name yet.
        folders[:] = [name for name in folders if not name.startswith(f".{UNNAMED}-")]
        for name in files:
            if name.startswith(".") or name == STOP:
                continue
            path = Path(folder) / name
            with contextlib.suppress(OSError):
                status = path.stat()
                yield path.relative_to(root).as_posix(), (status.st_size, status.st_mtime_ns)


def inside(root: Path, name: str) -> Path:
    """Return the path of this name below root. ValueError for a name that leads out of root."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise ValueError(f"store: {name[:100]!r} is no name of a file below it.")
    return root.joinpath(*parts)
