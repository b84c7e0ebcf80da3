"""Whether another process holds a lock file. Any number may look at once: a look takes the lock from none."""

import os
from pathlib import Path

from filelock import FileLock, Timeout


def is_locked(path: Path) -> bool:
    try:
        import fcntl
    # A system without it: there a look must take the lock for an instant.
    except ImportError:
        return _can_not_be_taken(path)
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        # No lock: nobody ever held it, or it is a recorded run, which nobody executes.
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        # A file system without flock: there the lock is the file itself.
        except OSError:
            return _can_not_be_taken(path)
        else:
            if os.fstat(
                descriptor
                # Else its holder has just removed it; another may stand there now.
            ).st_nlink:
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
