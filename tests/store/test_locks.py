"""Who is at work in a folder: a lock says so on one machine, a heartbeat beside it where several share the disk."""

import os
import time

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
        assert run.state == RunStore(tmp_path).summaries()[0].state == "running"
    assert (run.state, (run.path / locks.ALIVE).exists()) == ("interrupted", False)


def test_an_old_heartbeat_is_that_of_a_dead_process(tmp_path):
    alive = tmp_path / locks.ALIVE
    alive.touch()
    assert locks.is_beating(tmp_path)
    old = time.time() - locks.DEAD - 1
    os.utime(alive, (old, old))
    assert not locks.is_beating(tmp_path)
