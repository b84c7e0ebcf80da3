"""Makes the folders that carriers need for a while, and clears away those of carriers that were killed.

Rows and answers lie in them, so they are readable for their user alone. Whoever has one holds a lock in it for as long
as its process lives, so that others can tell a dead one's.
"""

import contextlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from filelock import FileLock

from unlearn.store.disk import NEW as UNNAMED
from unlearn.store.locks import LOCK, is_locked
from unlearn.store.runs import STOP

# The folder of all of them, in that for temporary files; a user's number follows. And where in each the locks lie.
PREFIX, HOLDERS = "unlearn-carriers-", ".holders"

Stamp = tuple[int, int]


class SharedFolder:
    """A folder for temporary files of all processes of this machine that give it this name. The first finds it empty.

    It goes when the last of them removes it. OSError where there is no room, or where the place is somebody else's.
    """

    def __init__(self, name: str) -> None:
        self.path = home() / name
        with _door():
            # What was left by processes that were killed serves nobody.
            if not _is_held(self.path):
                shutil.rmtree(self.path, ignore_errors=True)
            holders = self.path / HOLDERS
            holders.mkdir(parents=True, exist_ok=True)
            self._mine = holders / secrets.token_hex(8)
            self._lock = FileLock(self._mine, thread_local=False)
            self._lock.acquire()

    def remove(self) -> None:
        """Let go of the folder, and remove it with all that is in it where nobody else has it."""
        with _door():
            self._lock.release()
            self._mine.unlink(missing_ok=True)
            if not _is_held(self.path):
                shutil.rmtree(self.path, ignore_errors=True)


class OwnFolder(SharedFolder):
    """An empty folder of this process for temporary files."""

    def __init__(self) -> None:
        super().__init__(f"own-{secrets.token_hex(8)}")


def home() -> Path:
    """Return the folder of this user in which all of these lie. OSError where somebody else made it or may read it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    path = Path(tempfile.gettempdir()) / f"{PREFIX}{user}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    private = stat.S_ISDIR(status.st_mode) and not stat.S_IMODE(status.st_mode) & 0o077
    if os.name == "posix" and not (private and status.st_uid == user):
        raise PermissionError(
            f"carrier: {path} is not this user's alone, and rows lie there; remove it, or name another folder for "
            "temporary files with TMPDIR."
        )
    return path


def _door() -> FileLock:
    """The lock of whoever makes or removes such a folder. Its file stays: it is empty."""
    return FileLock(home() / LOCK)


def _is_held(folder: Path) -> bool:
    return any(is_locked(path) for path in (folder / HOLDERS).glob("*"))


def clear_dead() -> None:
    """Remove the folders that carriers left on this machine which were killed."""
    with _door():
        for folder in home().iterdir():
            if folder.is_dir() and not _is_held(folder):
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


if __name__ == "__main__":
    clear_dead()
