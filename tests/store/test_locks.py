"""Who is at work in a folder: a lock says so on one machine, a heartbeat beside it where several share the disk."""

import errno
import os
import subprocess
import sys
import time

import pytest

from unlearn.store import locks
from unlearn.store.runs import RunConfig, RunStore


def test_a_heartbeat_shows_life_where_no_lock_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    run = RunStore(tmp_path).create(RunConfig(model="tiny-authors", data={"name": "authors"}, method="gd"))
    run.append("state", state="running")
    assert run.state == "interrupted"
    with locks.beating(run.path):
        end = time.monotonic() + 5
        while not run.is_held():
            assert time.monotonic() < end
        assert not locks.is_locked(run.path / locks.LOCK)
        assert locks.beats_alone(run.path)
        with run.held():
            assert not locks.beats_alone(run.path)
        assert run.state == RunStore(tmp_path).summaries()[0].state == "running"
    assert (run.state, (run.path / locks.ALIVE).exists()) == ("interrupted", False)


def test_an_old_heartbeat_is_that_of_a_dead_process(tmp_path):
    alive = tmp_path / locks.ALIVE
    alive.touch()
    assert locks.is_beating(tmp_path)
    old = time.time() - locks.DEAD - 1
    os.utime(alive, (old, old))
    assert not locks.is_beating(tmp_path)


def test_many_locks_are_held_at_once_whatever_the_usual_limit_is(tmp_path):
    """As in a shell that lets a process open few files, where a queue of many runs would end with an error."""
    script = """
import resource, sys
from pathlib import Path
from unlearn.store import locks
from unlearn.store.runs import Record
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
locks.room_for(150)
held = []
for at in range(150):
    folder = Path(sys.argv[1]) / str(at)
    folder.mkdir()
    held.append(Record(folder).hold())
print(sum(lock.is_locked for lock in held))
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "150\n", done.stderr


def test_more_locks_than_the_system_allows_are_refused_with_the_remedy():
    resource = pytest.importorskip("resource")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this system has no limit")
    with pytest.raises(ValueError, match=rf"may open {hard} files .* `ulimit -n {hard + locks.SPARE}`"):
        locks.room_for(hard)


def test_a_shared_disk_without_locks_is_refused_with_the_remedy(tmp_path, monkeypatch):
    """As a network file system answers whose server keeps no locks."""
    fcntl = pytest.importorskip("fcntl")
    run = RunStore(tmp_path).create(RunConfig(model="tiny-authors", data={"name": "authors"}, method="gd"))

    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(ValueError, match=r"keeps no locks .*--runs or UNLEARN_RUNS"):
        run.hold()
    # Whoever only looks goes by the heartbeat that somebody left.
    assert not run.is_held()
    (run.path / locks.ALIVE).touch()
    assert run.is_held()
