"""The badge of a run says how it is known to be alive where its lock is another machine's."""

import pytest
from streamlit.testing.v1 import AppTest

from unlearn.store import locks
from unlearn.store.runs import RunConfig, RunStore


def page(path):
    from pathlib import Path

    from ui import shell
    from unlearn.store.runs import Run

    shell.state_badge(Run(Path(path)))


def badge(run):
    app = AppTest.from_function(page, args=(str(run.path),), default_timeout=60).run()
    assert not app.exception
    (found,) = app.markdown
    return found.value, found.proto.help


@pytest.mark.slow
def test_a_run_that_only_its_heartbeat_shows_alive_says_so(tmp_path):
    run = RunStore(tmp_path).create(RunConfig(model="tiny-authors", data={"name": "authors"}, method="gd"))
    run.append("state", state="running")
    (run.path / locks.ALIVE).touch()
    words, told = badge(run)
    assert "running" in words
    assert told.startswith("Alive by its heartbeat: a process on another machine has it")
    with run.held():
        assert badge(run)[1] == ""
    (run.path / locks.ALIVE).unlink()
    assert "interrupted" in badge(run)[0]
