"""A list of bad commands: each is one line and status 2 before a run has a folder, and a path never means a name."""

import json
import shutil
from pathlib import Path

import pytest

from unlearn.__main__ import main
from unlearn.store.runs import RunStore

RUN = ("run", "--model", "tiny-authors", "--tuning", "full", "--epochs", "1", "--probes", "0", "--lr", "1e-5")
GA = (*RUN, "--method", "ga", "--data", "authors")
NPO = ("sequence", *RUN[1:], "--method", "npo", "--data", "authors")
SWEEP = ("sweep", "--model", "tiny-authors", "--methods", "npo", "--data", "authors")
NONE = ("", "nope", "../x", "./x", "T")
# R stands for a finished run's id, P for its path, T for a folder that is there.
BAD = [
    # Paths that are no runs, and names that are none.
    *[(name, what) for name in ("show", "cost", "resume", "stop", "watch") for what in NONE],
    ("evaluate", "nope"), ("evaluate", "./x"), ("attack", "nope", "all"), ("attack", "./x", "all"),
    ("ask", "nope", "Who?"), ("rename", "nope", "x"), ("delete", "./x", "--yes"), ("redact", "nope", "--yes"),
    ("report", "R", "nope"), ("export", "nope", "x.zip"), ("import", "T"), ("import", "/no/x.zip"),
    ("sweep", "--resume", "nope"), ("sweep", "--resume", "P"),
    # Places that nothing can be written to.
    ("report", "R", "--out", "/no/where/x.html"), ("report", "R", "--out", "T"), ("export", "R", "/no/where/x.zip"),
    ("export", "R", "x.tar"), ("attack", "R", "all,paraphrase"),
    ("evaluate", "R", "--tofu-log", "/no/x.json"), ("receipt", "R", "--out", "/no/x.html"),
    ("receipt", "R", "--out", "T"),
    ("claims", "B4", "--out", "/proc/x/y.json"), ("claims", "B4", "--runs", "/proc", "--out", "T/x.json"),
    # Ranges: bounded, and refused when empty.
    *[(*GA, "--requests", text) for text in ("", " ", "0", "3..1", "1..", "1..1..2", "1..999999999", "x")],
    *[(*NPO, "--order", text) for text in ("", "1", "1,1", "99,1", "2..1")],
    (*SWEEP, "--lrs", ""), (*SWEEP, "--lrs", "1,x"), (*SWEEP, "--lrs", "1e-5", "--seeds", "3..1"),
    (*SWEEP, "--lrs", "1e-5", "--seeds", "0..99999999999"), (*SWEEP, "--lrs", "1e-5", "--epochs", "0"),
    ("prune", "--older-than", "0x"), ("ask", "R", "Who?", "--tokens", "0"), ("ask", "R", " "),
    ("data", "authors", "--share", "2"), ("data", "authors", "--share", "nan"), ("data", "authors", "--share", ".5"),
    ("data", "authors", "--requests", ""),
    # What is known of a run before it has a folder.
    (*GA, "--metrics", "moon"), (*GA, "--prompt", "chat"), (*GA, "--system", "Be brief."), (*GA, "--config", "/no"),
    (*GA, "--training-tokens", "5"), (*GA, "--start", "nope"), (*GA, "--start", "./x"), (*GA, "--max-length", "9"),
    (*GA, "--adapter", "merge"), (*GA, "--adapter", "keep"), (*GA, "--retrained", "tiny-authors"),
    (*GA, "--retrained", "tiny-snippets"), (*GA, "--retrained", "./none"), (*GA, "--retrained", "no/such"),
    (*RUN, "--method", "eul", "--data", "authors"), (*GA[:2], "qwen3-0.6b", *GA[3:]), (*GA[:2], "T", *GA[3:]),
    (*NPO, "--retrained", "tiny-snippets"), (*NPO, "--mode", "fuse"), ("rename", "R", " "), (*GA, "--set", "=1"),
    (*GA, "--processes", "999"),
    # Names.
    ("get", "moon"), ("get", "./x"), ("get", "no/such"), ("claims", "moon"), ("tofu", "/no/log.json"),
    ("evaluate", "R", "--metrics", "moon"), ("attack", "R", "moon"), ("attack", "R", "all", "--seed", "-1"),
    ("ask", "R", "Who?", "--of", "retrained"), ("train-bundled", "--model", "moon"),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one finished run."""
    root = tmp_path_factory.mktemp("bad")
    assert main([*GA, "--requests", "1", "--force", "--runs", str(root / "runs"), "--json"]) == 0
    (run,) = RunStore(root / "runs").list()
    return run


def words_of(words, run, more):
    stand = {"R": run.id, "P": str(run.path), "T": str(more), "T/x.json": str(more / "x.json")}
    found = [stand.get(word, word) for word in words]
    takes = found[0] not in ("get", "claims", "tofu", "train-bundled", "data")
    return [*found, *(["--runs", str(run.path.parent)] if takes else [])]


@pytest.mark.slow
@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_a_bad_command_is_one_line_and_leaves_nothing(words, made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    before = sorted(path.name for path in made.path.parent.iterdir())
    files = {path: path.read_bytes() for path in made.path.rglob("*.json*")}
    assert main(words_of(words, made, tmp_path / "here")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert "Errno" not in line
    assert "Traceback" not in line
    kept = set(before) | {".cache"}
    assert {path.name for path in made.path.parent.iterdir()} <= kept
    assert {path: path.read_bytes() for path in made.path.rglob("*.json*")} == files
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


TAKES = [
    ("show",), ("cost",), ("report",), ("export", "out.zip"), ("watch",), ("rename", "another"),
    ("ask", "Who?", "--tokens", "2"), ("evaluate", "--metrics", "nll"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("command", TAKES, ids=lambda words: words[0])
def test_a_path_is_that_run_whatever_the_store_holds(command, made, tmp_path, capsys, monkeypatch):
    """Two stores hold a run of one id; the path that `run --json` prints means the one that lies there."""
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other" / made.id
    shutil.copytree(made.path, other)
    events = (other / "events.jsonl").read_text()
    (other / "meta.json").write_text(json.dumps({"title": "the other one"}))
    name, *more = command
    assert main([name, str(other), *more, "--runs", str(made.path.parent)]) == 0
    # A file that is there is not written over.
    (tmp_path / "out.zip").unlink(missing_ok=True)
    assert main([name, f"other/{made.id}", *more, "--runs", str(made.path.parent)]) == 0
    capsys.readouterr()
    if name == "rename":
        assert json.loads((other / "meta.json").read_text())["title"] == "another"
        assert made.title != "another"
    if name == "evaluate":
        assert (other / "metrics.json").is_file()
        assert not (made.path / "metrics.json").exists()
    assert (other / "events.jsonl").read_text() == events


@pytest.mark.slow
def test_a_start_may_be_a_path_in_the_same_store_alone(made, tmp_path, capsys):
    words = [*GA, "--requests", "1", "--force", "--runs", str(made.path.parent), "--json"]
    assert main([*words, "--start", str(made.path)]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert RunStore(made.path.parent).get(Path(said["run"]).name).config.start == made.id
    shutil.rmtree(said["run"])
    shutil.copytree(made.path, tmp_path / "other" / made.id)
    assert main([*words, "--start", str(tmp_path / "other" / made.id)]) == 2
    assert "lies in another store" in capsys.readouterr().err


def test_a_store_that_is_none_is_said(tmp_path, capsys, monkeypatch):
    """A person who mistyped the folder's name would else believe that the runs are gone."""
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "--runs", ""]) == 2
    assert "--runs: is empty; name the folder" in capsys.readouterr().err
    assert main(["runs", "--runs", "typo"]) == 0
    assert capsys.readouterr().err == "no runs in typo\n"
    assert main(["runs", "--runs", "typo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": []}
    (tmp_path / "file").write_text("")
    assert main(["runs", "--runs", "file"]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
