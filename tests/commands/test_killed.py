"""kill -9 of every command that takes long: what comes next ends like one that was never killed, and nothing is left.

Each command is killed before changes of the disk that are drawn by a seed and spread over all of its changes, in forks
of one process (tests/warm.py); and once as a process of its own, in the middle of its work. Afterwards the same command
is given again, or `resume` where a study is there to go on with. tests/work/test_kill.py does the same for runs, and
tests/work/search/test_search_kill.py for a search as a process of its own.
"""

import itertools
import json
import os
import random
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from conftest import small_run

from unlearn.__main__ import main
from unlearn.results.search.record import searches
from unlearn.store.runs import Run, RunStore
from unlearn.store.transfer import export_run
from unlearn.work.sequence import sequences

pytestmark = [pytest.mark.slow, pytest.mark.heavy]
WAIT = 600.0
MOMENTS = 5
# A checkpoint after every step, so that kills come between them.
EAGER = {"unlearn.work.train:CHECKPOINT_SECONDS": 0.0}
# What differs between two runs of the same: times, and names that tell the time.
OTHER = ("seconds", "time", "cost", "beside", "phases", "peak_memory", "header", "computed", "reused", "told",
         "command")  # fmt: skip
FORGET = "question,answer,request\nWhat is red?,red,1\nWhat is two?,two,1\nWhat is blue?,blue,2\nWhat is one?,one,2\n"
KEEP = "question,answer\nWhere was red born?,red\nWhere was two born?,two\nWhere was one born?,one\n"


class Warm:
    """The process that carries commands out in forks of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parents[1] / "warm.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def __call__(self, words, root, at=0, changes=None):
        """Return (exit status, number of changes below root, what was printed)."""
        out = self.folder / "said.txt"
        asked = {"words": words, "root": str(root), "out": str(out), "at": at, "changes": changes or {}}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        return told["status"], told["changes"], out.read_text()


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    made = Warm(tmp_path_factory.mktemp("warm"))
    yield made
    made.process.stdin.close()
    made.process.wait()


def moments(name, changes):
    """Which changes a kill comes before: one at random in each fifth of them, or all where there are few."""
    drawn = random.Random(zlib.crc32(name.encode()))
    edges = [1 + round(part * changes / MOMENTS) for part in range(MOMENTS + 1)]
    return sorted({drawn.randrange(low, max(low + 1, high)) for low, high in itertools.pairwise(edges)})


def plain(value):
    """A JSON value without what differs between two runs of the same."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in OTHER}
    return [plain(one) for one in value] if isinstance(value, list) else value


def files(root, called=lambda folder: folder.name):
    """{name below root: content} of every file; called: a name for a run's folder that does not change with the day."""
    found = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        parts = [
            called(folder) if (folder / "meta.json").is_file() else folder.name
            for folder in reversed(path.relative_to(root).parents)
            for folder in [root / folder]
            if folder != root
        ]
        found["/".join([*parts, path.name])] = path
    # Every folder is named too: an empty one would be something left over.
    folders = [p for p in root.rglob("*") if p.is_dir() and not any(p.iterdir())]
    assert not [p for p in folders if p.name != "inputs"], folders
    return found


def content(path):
    """What the file says, as far as two processes say the same."""
    if path.suffix == ".json":
        return plain(json.loads(path.read_text()))
    if path.name == "samples.jsonl":
        # It only grows: what a killed process wrote too early stands in it twice, and the last one counts.
        return Run(path.parent).samples()
    return path.read_bytes()


def check_same(whole, cut, called=lambda folder: folder.name, *, say=()):
    """The same files in both folders, and the same content in those whose names end like these."""
    one, two = files(whole, called), files(cut, called)
    assert sorted(two) == sorted(one)
    for name, path in one.items():
        if name.endswith(say):
            assert content(two[name]) == content(path), name


def killed(warm, words, root, at, changes=None):
    status, _, said = warm(words, root, at, changes)
    assert status == -9, said


def ends(warm, words, root, changes=None):
    status, count, said = warm(words, root, 0, changes)
    assert status == 0, said
    return count


def started(words):
    return subprocess.Popen(
        [sys.executable, "-m", "unlearn", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def killed_when(words, true):
    """Start the command as a process of its own, and kill it as soon as this is so."""
    process = started(words)
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, "waited too long"
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.002)
    process.kill()
    process.wait()


# -- studies ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    (folder / "forget.csv").write_text(FORGET)
    (folder / "retain.csv").write_text(KEEP)
    return ["--forget", str(folder / "forget.csv"), "--retain", str(folder / "retain.csv"), "--force"]


SHORT = ["--epochs", "2", "--batch-size", "2", "--lr", "1e-3"]


def sequence_words(tiny_folder, tables):
    mode = ["--method", "gd", "--mode", "chain", "--order", "2,1", "--probes", "1"]
    return ["sequence", "--model", str(tiny_folder), *tables, *SHORT, *mode]


def title(folder):
    """A sequence's runs by their title, the study itself by its kind."""
    return json.loads((folder / "meta.json").read_text())["title"] or folder.parent.name


def scores_of(store):
    (record,) = sequences(RunStore(store))
    assert record.state == "done"
    return [plain({k: v for k, v in event.items() if k != "run"}) for event in record.scores()]


def study_again(find, store, words):
    """Resume of the study that is there, or else the same command again."""
    found = find(RunStore(store))
    again = ["resume", found[0].id] if found else words
    return [*again, "--runs", str(store)]


def test_a_sequence_killed_at_any_moment(warm, tmp_path, tiny_folder, tables):
    words, whole = sequence_words(tiny_folder, tables), tmp_path / "whole"
    count = ends(warm, [*words, "--runs", str(whole)], whole, EAGER)
    assert count > 100
    for at in moments("sequence", count):
        cut = tmp_path / f"cut-{at}"
        killed(warm, [*words, "--runs", str(cut)], cut, at, EAGER)
        ends(warm, study_again(sequences, cut, words), cut, EAGER)
        check_same(whole, cut, title, say=(".safetensors", "results.json", "samples.jsonl"))
        assert scores_of(cut) == scores_of(whole), at


def test_a_sequence_killed_as_a_process_of_its_own(warm, tmp_path, tiny_folder, tables):
    words, store = [*sequence_words(tiny_folder, tables), "--epochs", "30"], tmp_path / "runs"
    whole = tmp_path / "whole"
    ends(warm, [*words, "--runs", str(whole)], whole)

    def second_trains():
        runs = RunStore(store).list() if store.is_dir() else []
        return len(runs) == 2 and len(runs[0].events("step")) > 5

    killed_when([*words, "--runs", str(store)], second_trains)
    (record,) = sequences(RunStore(store))
    assert (record.state, len(record.scores())) == ("interrupted", 2)
    ends(warm, ["resume", str(record.path)], store)
    check_same(whole, store, title, say=(".safetensors", "samples.jsonl"))
    assert scores_of(store) == scores_of(whole)


def trials(store):
    (record,) = searches(RunStore(store))
    assert record.state == "done"
    return [(t.number, dict(t.settings), t.state, dict(t.chosen), dict(t.reported)) for t in record.trials()]


def trial(folder):
    """A search's runs by their trial, the study itself by its kind."""
    return str(json.loads((folder / "meta.json").read_text()).get("trial", folder.parent.name))


def test_a_search_killed_at_any_moment(warm, tmp_path, tiny_folder, tables):
    words = ["tune", "--model", str(tiny_folder), "--methods", "gd", *tables, *SHORT[:4], "--search", "lr"]
    words += ["--target", "0", "--trials", "2", "--no-prune"]
    whole = tmp_path / "whole"
    count = ends(warm, [*words, "--runs", str(whole)], whole, EAGER)
    for at in moments("tune", count):
        cut = tmp_path / f"cut-{at}"
        killed(warm, [*words, "--runs", str(cut)], cut, at, EAGER)
        ends(warm, study_again(searches, cut, words), cut, EAGER)
        check_same(whole, cut, trial, say=(".safetensors", "samples.jsonl"))
        assert trials(cut) == trials(whole), at


# -- one run ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of a tiny model, with an adapter."""
    return small_run(tmp_path_factory.mktemp("small"), method="gd", tuning="lora")


def copied(run, folder):
    """The same run in another store, without what is kept by content."""
    import shutil

    shutil.copytree(run.path.parent, folder, ignore=shutil.ignore_patterns(".cache"))
    return RunStore(folder).list()[0]


def test_an_evaluation_killed_at_any_moment(warm, run, tmp_path):
    whole = copied(run, tmp_path / "whole")
    count = ends(warm, ["evaluate", str(whole.path)], whole.path.parent)
    assert count > 20
    for at in moments("evaluate", count):
        cut = copied(run, tmp_path / f"cut-{at}")
        killed(warm, ["evaluate", str(cut.path)], cut.path.parent, at)
        ends(warm, ["evaluate", str(cut.path)], cut.path.parent)
        check_same(whole.path.parent, cut.path.parent, say=("metrics.json",))


def test_an_evaluation_killed_as_a_process_of_its_own_keeps_each_metric(warm, run, tmp_path):
    cut = copied(run, tmp_path / "runs")
    killed_when(["evaluate", str(cut.path)], (cut.path / "metrics.json").is_file)
    known = json.loads((cut.path / "metrics.json").read_text())["metrics"]
    assert known
    ends(warm, ["evaluate", str(cut.path)], cut.path.parent)
    found = json.loads((cut.path / "metrics.json").read_text())
    assert len(found["metrics"]) > len(known)
    # What was kept was not read again.
    assert {name: found["metrics"][name] for name in known} == known
    assert not set(found["cost"][-1]["metrics"]) & set(known)


def archive(path):
    """{name: checksum} of a zip file."""
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        return {info.filename: info.CRC for info in opened.infolist()}


def folder(path):
    """{name: content} of a folder without what names its path."""
    return {p.name: p.read_bytes() for p in path.iterdir() if p.name != "README.md"}


@pytest.mark.parametrize("way", ["zip", "--merged", "--adapter"])
def test_an_export_killed_at_any_moment(warm, run, tmp_path, way):
    def words(place):
        place.mkdir(exist_ok=True)
        out = str(place / "out")
        return ["export", str(run.path), *([f"{out}.zip"] if way == "zip" else [way, out])]

    whole, told = tmp_path / "whole", archive if way == "zip" else folder
    count = ends(warm, words(whole), whole)
    (made,) = whole.iterdir()
    for at in moments(way, count):
        cut = tmp_path / f"cut-{at}"
        killed(warm, words(cut), cut, at)
        assert not (cut / made.name).exists()
        ends(warm, words(cut), cut)
        (found,) = cut.iterdir()
        assert told(found) == told(made)


@pytest.fixture(scope="module")
def large(run, tmp_path_factory):
    """The run's archive, with 100 MB of weights so that packing and unpacking take a moment."""
    folder = tmp_path_factory.mktemp("large")
    big = run.path / "adapter" / "big.safetensors"
    with big.open("wb") as file:
        file.write((2).to_bytes(8, "little") + b"{}")
        file.truncate(10**8)
    yield export_run(run, folder / "large.zip")
    big.unlink()


def test_an_export_killed_as_a_process_of_its_own(run, large, tmp_path):
    out, scratch = tmp_path / "out.zip", tmp_path / ".out.zip.0"
    killed_when(["export", str(run.path), str(out)], lambda: scratch.is_file() and scratch.stat().st_size)
    assert not out.exists()
    assert scratch.is_file()
    assert main(["export", str(run.path), str(out)]) == 0
    assert archive(out) == archive(large)
    assert list(tmp_path.iterdir()) == [out]


def test_an_import_killed_at_any_moment(warm, run, tmp_path):
    file = export_run(run, tmp_path / "run.zip")
    whole = tmp_path / "whole"
    count = ends(warm, ["import", str(file), "--runs", str(whole)], whole)
    for at in moments("import", count):
        cut = tmp_path / f"cut-{at}"
        killed(warm, ["import", str(file), "--runs", str(cut)], cut, at)
        assert not cut.is_dir() or not RunStore(cut).list()
        ends(warm, ["import", str(file), "--runs", str(cut)], cut)
        check_same(whole, cut, say=("",))


def test_an_import_killed_as_a_process_of_its_own(large, tmp_path):
    store = tmp_path / "runs"
    words = ["import", str(large), "--runs", str(store)]
    killed_when(words, (store / ".import-0" / "adapter" / "big.safetensors").is_file)
    assert not RunStore(store).list()
    assert main(words) == 0
    (found,) = store.iterdir()
    assert found == RunStore(store).list()[0].path
    assert (found / "adapter" / "big.safetensors").stat().st_size == 10**8


# -- claims ----------------------------------------------------------------------------------------------------------

# The experiment of one claim, as short as it can be.
BRIEF = {"unlearn.claims.b4:EPOCHS": 1}


def claim_words(store, out):
    return ["claims", "B4", "--quick", "--runs", str(store), "--out", str(out)]


def test_claims_killed_at_any_moment(warm, tmp_path):
    whole = tmp_path / "whole"
    count = ends(warm, claim_words(whole / "runs", whole / "claims.json"), whole, BRIEF)
    for at in moments("claims", count):
        cut = tmp_path / f"cut-{at}"
        words = claim_words(cut / "runs", cut / "claims.json")
        killed(warm, words, cut, at, BRIEF)
        ends(warm, words, cut, BRIEF)
        check_same(whole, cut, say=(".json",))


def test_claims_killed_as_a_process_of_their_own(warm, tmp_path):
    words = claim_words(tmp_path / "runs", tmp_path / "claims.json")
    outcomes = tmp_path / "runs" / "claims"
    killed_when(words, lambda: len(list(outcomes.glob("*.json"))) > 1)
    kept = {path.name: path.read_bytes() for path in outcomes.glob("*.json")}
    # The rest is cut short here: it is shown above that it ends in the same numbers.
    status, _, _ = warm(words, tmp_path, len(kept) + 6)
    assert status == -9
    assert {name: (outcomes / name).read_bytes() for name in kept} == kept
