"""Gives files and folders a place to be written in before they get their name, and clears what a kill left there.

What is written here is renamed when it is whole, so a name never stands for half of something. Who writes holds a lock,
which the kernel frees when the process dies; so whoever writes next to the same name knows what is left over, and
removes it. Where there are no locks each writer takes a name of its own, and removes nothing.
"""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

# The number of processes that may write to one name at the same time with a lock.
PLACES = 16


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give the block a temporary file that replaces `path` when the block ends without an error. After an
    error the temporary file is removed.
    """
    scratch, lock = _own([path.with_name(f".{path.name}.{number}") for number in range(PLACES)])
    try:
        yield scratch
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    finally:
        _let_go(lock)


@contextlib.contextmanager
def folder_beside(parent: Path, name: str) -> Iterator[Path]:
    """Give the block a new, empty folder in `parent`, whose name begins with a dot and `name`.

    It is removed afterwards, unless the block has renamed it. What killed processes left under such names is removed
    before.
    """
    places = [parent / f".{name}-{number}" for number in range(PLACES)]
    for left in filter(os.path.lexists, places):
        with contextlib.suppress(OSError):
            if (lock := _taken(left, os.O_RDONLY)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
    folder, lock = _own(places, folder=True)
    try:
        yield folder
    finally:
        # Once it is renamed, another process may have made one with its name.
        if lock is None or _is_at(lock, folder):
            shutil.rmtree(folder, ignore_errors=True)
        _let_go(lock)


def _own(places: list[Path], folder: bool = False) -> tuple[Path, int | None]:
    """An empty file or folder that no other process writes, the first of these that is free, and its lock."""
    for place in places:
        try:
            if folder:
                place.mkdir()
            lock = _taken(place, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if error.errno == errno.ENOLCK:
                break
            # One that somebody else left, which this process may not touch, or a link, is not written through; and
            # a new folder may have been taken for one that was left.
            if os.path.lexists(place) or (folder and place.parent.is_dir()):
                continue
            raise
        if lock is not None:
            return place, lock
    place = places[0].with_name(f"{places[0].name}.{secrets.token_hex(4)}")
    if folder:
        place.mkdir()
    return place, None


def _taken(path: Path, how: int) -> int | None:
    """Open a file or folder and take its lock; a file is emptied. Returns the open file, or None where another process
    holds it. OSError where it cannot be opened; with ENOLCK, and nothing of it left, where there are no locks.
    """
    try:
        import fcntl
    except ImportError:
        raise _without_locks(path) from None
    while True:
        found = os.open(path, how | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(found)
            return None
        except OSError:
            os.close(found)
            raise _without_locks(path) from None
        # Another may have renamed or removed it since it was opened: then the name is free, or another's.
        if _is_at(found, path):
            if how & os.O_CREAT:
                os.ftruncate(found, 0)
            return found
        os.close(found)


def _is_at(opened: int, path: Path) -> bool:
    """Whether the path leads to this open file or folder."""
    try:
        return os.path.samestat(os.fstat(opened), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _without_locks(path: Path) -> OSError:
    """What is raised where there are no locks. The empty file or folder that was made for one is removed."""
    with contextlib.suppress(OSError):
        path.rmdir() if path.is_dir() else path.unlink()
    return OSError(errno.ENOLCK, "there are no locks")


def _let_go(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
