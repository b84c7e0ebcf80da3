"""This module tells whether another process holds a lock file. Any number of processes may look at the same
time, because a look never takes the lock away from anyone.
"""

import os
from pathlib import Path

from filelock import FileLock, Timeout


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
