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
    locks = [parent / f".{name}-{number}.lock" for number in range(PLACES)]
    for left in filter(os.path.lexists, locks):
        with contextlib.suppress(OSError):
            if (lock := _taken(left)) is not None:
                _remove(left, lock)
    own, lock = _own(locks)
    folder = own.with_name(own.name.removesuffix(".lock"))
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
    finally:
        _remove(own, lock)


def _remove(lock_file: Path, lock: int | None) -> None:
    """Remove a temporary folder that this process holds, then its lock."""
    shutil.rmtree(lock_file.with_name(lock_file.name.removesuffix(".lock")), ignore_errors=True)
    with contextlib.suppress(OSError):
        lock_file.unlink()
    _let_go(lock)


def _own(places: list[Path]) -> tuple[Path, int | None]:
    """An empty file that no other process writes, the first of these that is free, and its lock, as in _taken()."""
    for place in places:
        try:
            lock = _taken(place)
        except OSError as error:
            # One that somebody else left, which this process may not touch, or a link, is not written through.
            if error.errno != errno.ENOLCK and os.path.lexists(place):
                continue
            if error.errno != errno.ENOLCK:
                raise
            break
        if lock is not None:
            return place, lock
    place = places[0].with_name(f"{places[0].name}.{secrets.token_hex(4)}")
    return place, None


def _taken(path: Path) -> int | None:
    """Take the lock of a file, which is made where there is none, and empty it. Returns the open file, or None where
    another holds it. OSError where it cannot be opened; with ENOLCK where there are no locks.
    """
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOLCK, "no locks") from None
    while True:
        found = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another may have renamed or removed the file since it was opened: then the name is free, or another's.
            if os.path.samestat(os.fstat(found), os.stat(path, follow_symlinks=False)):
                os.ftruncate(found, 0)
                return found
        except BlockingIOError:
            os.close(found)
            return None
        except FileNotFoundError:
            pass
        except OSError:
            os.close(found)
            path.unlink(missing_ok=True)
            raise OSError(errno.ENOLCK, "no locks") from None
        os.close(found)


def _let_go(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
