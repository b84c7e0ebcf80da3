"""A place to write in before the name is given: whole or not at all, and nothing left over after a kill."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from unlearn.store import scratch
from unlearn.store.scratch import beside, folder_beside

# Writes half of something in a place of its own, says so, and is then killed.
WRITER = """
import sys, time
from pathlib import Path
from unlearn.store.scratch import beside, folder_beside
kind, place = sys.argv[1], Path(sys.argv[2])
with beside(place) if kind == "file" else folder_beside(place.parent, place.name) as half:
    (half if kind == "file" else half / "weights").write_text("half")
    print(half, flush=True)
    time.sleep(60)
"""


def writer(kind, place):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, kind, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline()
    return process


def test_what_a_killed_writer_left_is_gone_with_the_next_one(tmp_path):
    file, folder = tmp_path / "results.json", tmp_path / "model"
    for kind, place in (("file", file), ("folder", folder)):
        process = writer(kind, place)
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".model-0", ".results.json.0"]
    with beside(file) as half:
        assert half.read_text() == ""
        half.write_text("whole")
    with folder_beside(folder.parent, folder.name) as half:
        assert not list(half.iterdir())
        half.rename(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "results.json"]
    assert file.read_text() == "whole"


def test_a_writer_at_work_is_left_alone(tmp_path):
    file = tmp_path / "results.json"
    first = writer("file", file)
    second = writer("folder", tmp_path / "model")
    with beside(file) as half, folder_beside(tmp_path, "model") as folder:
        half.write_text("mine")
        assert {half.name, folder.name} == {".results.json.1", ".model-1"}
    assert (tmp_path / ".results.json.0").read_text() == "half"
    assert (tmp_path / ".model-0" / "weights").read_text() == "half"
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".model-0", ".results.json.0", "results.json"]
    assert file.read_text() == "mine"
    for process in (first, second):
        process.kill()
        process.wait()


def test_many_threads_write_one_file_and_each_time_it_is_whole(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    file = tmp_path / "results.json"

    def write(number):
        with beside(file) as half:
            half.write_text(str(number) * 1000)
            time.sleep(0.001)
        return file.read_text()

    # More than there are places with a lock.
    with ThreadPoolExecutor(2 * scratch.PLACES) as pool:
        seen = list(pool.map(write, [n % 10 for n in range(200)]))
    assert all(len(text) == 1000 and len(set(text)) == 1 for text in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_folder_that_took_the_name_after_the_rename_is_anothers(tmp_path):
    with folder_beside(tmp_path, "model") as one:
        one.rename(tmp_path / "model")
        with folder_beside(tmp_path, "model") as two:
            assert two == one
            (two / "weights").write_text("theirs")
            two.rename(tmp_path / "another")
            # What the first block leaves behind it when it ends must not be what others have there.
            one.mkdir()
            (one / "weights").write_text("theirs")
    assert (one / "weights").read_text() == "theirs"


def test_an_error_leaves_the_file_that_was_there_and_nothing_else(tmp_path):
    file = tmp_path / "results.json"
    file.write_text("before")

    def fill(place):
        place.write_text("ha")
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"), beside(file) as half:
        fill(half)
    with pytest.raises(OSError, match="full"), folder_beside(tmp_path, "model") as half:
        fill(half / "weights")
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert file.read_text() == "before"
    with pytest.raises(FileNotFoundError), beside(tmp_path / "none" / "results.json"):
        pytest.fail("there is no such folder")


def test_a_link_that_somebody_put_there_is_not_written_through(tmp_path):
    other, file = tmp_path / "other", tmp_path / "out.zip"
    other.write_text("theirs")
    (tmp_path / ".out.zip.0").symlink_to(other)
    (tmp_path / ".out.zip.1").mkdir()
    with beside(file) as half:
        half.write_text("mine")
    assert (other.read_text(), file.read_text()) == ("theirs", "mine")


def test_without_locks_each_writer_has_a_name_of_its_own(tmp_path, monkeypatch):
    import fcntl

    def none(descriptor, how):
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(fcntl, "flock", none)
    file = tmp_path / "results.json"
    with beside(file) as one, beside(file) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert file.read_text() == "one"
    with folder_beside(tmp_path, "model") as one, folder_beside(tmp_path, "model") as two:
        assert one != two
        (one / "weights").write_text("")
        one.rename(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "results.json"]
    assert os.listdir(tmp_path / "model") == ["weights"]
