"""A search is killed with kill -9 while a run of it trains, and goes on to the numbers of one that was let be."""

import json
import subprocess
import sys
import time

import pytest

from unlearn.__main__ import main
from unlearn.results.search.record import SearchRecord, searches
from unlearn.store.runs import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.heavy]
WAIT = 240.0


def words(files, store):
    roles = [word for role, path in files.items() for word in (f"--{role}", str(path))]
    settings = [
        "--search",
        "lr",
        "--epochs",
        "30",
        "--batch-size",
        "2",
        "--target",
        "0",
        "--trials",
        "3",
        "--no-prune",
    ]
    return ["tune", "--methods", "gd", *roles, *settings, "--force", "--runs", str(store.root)]


def told(record: SearchRecord):
    return [(t.number, dict(t.settings), t.state, dict(t.chosen), dict(t.reported)) for t in record.trials()]


def test_a_killed_search_ends_with_the_numbers_of_a_whole_one(tmp_path, tiny_folder, capsys):
    files = {"model": tiny_folder}
    for role, some in (("forget", "red green blue one"), ("retain", "two three novel capital")):
        files[role] = tmp_path / f"{role}.csv"
        files[role].write_text("question,answer\n" + "".join(f"What is {w}?,{w}\n" for w in some.split()))
    whole, cut = RunStore(tmp_path / "whole"), RunStore(tmp_path / "cut")
    assert main(words(files, whole)) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "unlearn", *words(files, cut)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + WAIT
    while not (cut.root.is_dir() and len(cut.list()) == 2 and len(cut.list()[0].events("step")) >= 5):
        assert time.monotonic() < end, "waited too long"
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    (record,) = searches(cut)
    assert (record.state, len(record.trials())) == ("interrupted", 1)
    capsys.readouterr()
    assert main(["resume", record.id, "--runs", str(cut.root), "--json"]) == 0
    last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert (last["state"], len(last["trials"]), len(cut.list())) == ("done", 3, 3)
    assert told(record) == told(searches(whole)[0])
