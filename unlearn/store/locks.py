"""This module tells whether another process is at work in a folder: by its lock file, or by a heartbeat.

Any number of processes may look at the same time, because a look never takes the lock away from anyone. On file systems
that several machines share a lock of one may not be seen by another; whoever works there leaves a heartbeat beside it.
"""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK, ALIVE = ".lock", ".alive"
# Seconds between two heartbeats, and after which one says nothing any more. Clocks of machines differ a little.
BEAT, DEAD = 5.0, 40.0
# Open files that a process needs beside one for each lock that it holds.
SPARE = 256
# What a file system answers that keeps no locks, as some that several machines share.
NONE_HERE = (errno.ENOLCK, errno.EOPNOTSUPP)


def is_held(folder: Path) -> bool:
    """Return whether a process is at work in this folder: it holds the lock, or its heart beats."""
    return is_locked(folder / LOCK) or is_beating(folder)


def beats_alone(folder: Path) -> bool:
    """Return whether only a heartbeat says that a process is at work here: its lock is on another machine."""
    return not is_locked(folder / LOCK) and is_beating(folder)


def is_beating(folder: Path) -> bool:
    """Return whether a process left its heartbeat in this folder a short time ago."""
    try:
        return time.time() - (folder / ALIVE).stat().st_mtime < DEAD
    except OSError:
        return False


@contextlib.contextmanager
def beating(folder: Path) -> Iterator[None]:
    """Leave a heartbeat in the folder for as long as a block of code runs."""
    over = threading.Event()

    def beat() -> None:
        while True:
            # A full disk or a folder that is gone must not end the work.
            with contextlib.suppress(OSError):
                (folder / ALIVE).touch()
            if over.wait(BEAT):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        (folder / ALIVE).unlink(missing_ok=True)


def none_here(folder: Path, error: OSError) -> str:
    """Return the sentence on a folder whose file system keeps no locks."""
    return (
        f"runs: the file system of {folder} keeps no locks ({error.strerror}), so nobody could tell whether a run is "
        "alive; name a folder on another one with --runs or UNLEARN_RUNS, or have it mounted with locks."
    )


def room_for(count: int) -> None:
    """Let this process hold so many locks at once, each of which is an open file. ValueError where it may not."""
    try:
        import resource
    # Systems without limits of this kind.
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE
    if wanted <= soft or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise ValueError(
            f"runs: {count} cannot be queued at once, since this process may open {hard} files and each takes one; "
            f"raise the limit with `ulimit -n {wanted}`, or queue fewer."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_locked(path: Path) -> bool:
    """Return whether another process holds the lock file."""
    try:
        import fcntl
    # Systems without fcntl have no shared lock, so a look must take the lock for an instant.
    except ImportError:
        return _can_not_be_taken(path)
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        # Without a lock file nobody ever held the lock, or it is a recorded run, which nobody executes.
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        # On a file system without flock the existence of the file is the lock.
        except OSError:
            return _can_not_be_taken(path)
        else:
            # A file without links was just removed by its holder, and a new file may have taken its name.
            if os.fstat(descriptor).st_nlink:
                return False
        finally:
            os.close(descriptor)


def _can_not_be_taken(path: Path) -> bool:
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
