"""Folders with people's rows and answers: for one user, for as long as somebody has them, and no longer."""

import os
import subprocess
import sys
import time

import pytest

from unlearn.engines import folders
from unlearn.engines.folders import OwnFolder, SharedFolder, clear_dead, home

# A process that has a folder of the session "s", and is killed when it has said so.
KILLED = """
import os, signal, sys
from unlearn.engines import afterwards
from unlearn.engines.folders import OwnFolder, SharedFolder
for folder in (OwnFolder(), SharedFolder("s")):
    (folder.path / "rows.jsonl").write_text("a row")
if "watched" in sys.argv:
    afterwards.watch()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """A place for temporary files of this test alone."""
    monkeypatch.setattr(folders.tempfile, "tempdir", str(tmp_path))


def kill_one(tmp_path, *words):
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", KILLED, *words], env=environ).returncode == -9


def there():
    return sorted(path.name for path in home().iterdir() if path.is_dir())


def test_a_folder_lives_as_long_as_somebody_has_it():
    one, two, other = SharedFolder("s"), SharedFolder("s"), SharedFolder("t")
    assert one.path == two.path != other.path
    (one.path / "said.json").write_text("1")
    one.remove()
    assert (two.path / "said.json").is_file()
    two.remove()
    assert there() == ["t"]
    other.remove()
    assert there() == []


def test_what_killed_processes_left_is_cleared_away_and_serves_nobody(tmp_path):
    kill_one(tmp_path)
    assert len(there()) == 2
    mine = SharedFolder("s")
    assert not (mine.path / "rows.jsonl").exists()
    own = OwnFolder()
    clear_dead()
    assert there() == sorted([mine.path.name, own.path.name])


def test_the_last_one_that_was_killed_is_noticed_although_nobody_comes_after_it(tmp_path):
    kill_one(tmp_path, "watched")
    end = time.monotonic() + 120
    while there():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_killed_one_takes_nothing_from_others(tmp_path):
    mine = SharedFolder("s")
    (mine.path / "said.json").write_text("1")
    kill_one(tmp_path)
    clear_dead()
    assert there() == ["s"]
    assert (mine.path / "said.json").is_file()


@pytest.mark.skipif(os.name != "posix", reason="others are kept away by the system there")
def test_a_place_that_others_may_read_is_refused():
    path = home()
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o755)
    with pytest.raises(PermissionError, match=r"not this user's alone.*TMPDIR"):
        OwnFolder()
