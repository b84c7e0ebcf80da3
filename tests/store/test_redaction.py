"""Nothing of the rows is left where they were left out: a marker planted in every row is searched in every byte."""

import json
import zipfile
from pathlib import Path

import pytest

from unlearn.__main__ import main
from unlearn.data import write
from unlearn.results import conclusion
from unlearn.store import upkeep
from unlearn.store.redaction import bare, event, only
from unlearn.store.runs import Run, RunStore
from unlearn.store.transfer import export_run, import_run

MARK = "zqxjmark"
WORDS = ("red", "green", "blue", "two", "one", "three", "ten", "sun")


def table(role: str) -> str:
    """Rows whose question and answer hold the marker, with the columns that fill further fields of a row."""
    head = "question,answer,wrong,paraphrased_answer,paraphrased_question,request\n"
    return head + "".join(
        f"What is {MARK} {role} {w}?,{w} {MARK},not {MARK} {i},{MARK} or {w},Tell {MARK} {w},{1 + i % 2}\n"
        for i, w in enumerate(WORDS)
    )


def joined(value: object) -> str:
    """All texts of a JSON value in a row, so that a word cut into tokens is found too."""
    inner = (
        [*value.values(), *value]
        if isinstance(value, dict)
        else list(value)
        if isinstance(value, list)
        else []
    )
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        keys = dict.fromkeys(key for one in value for key in one)
        inner = [*value, *([one.get(key) for one in value] for key in keys)]
    return value if isinstance(value, str) else "".join(map(joined, inner))


def holds(name: str, content: bytes) -> bool:
    if MARK.encode() in content.lower():
        return True
    if not name.endswith((".json", ".jsonl")):
        return False
    lines = content.splitlines() if name.endswith(".jsonl") else [content]
    return any(MARK in joined(json.loads(line)).lower().replace(" ", "") for line in lines if line.strip())


def left(folder: Path) -> list[str]:
    """The files below a folder in which the marker is found."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return sorted(str(p.relative_to(folder)) for p in files if holds(p.name, p.read_bytes()))


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_folder):
    """A store with a run on uploaded tables that was scored, judged, attacked and voted on, and a sequence."""
    root = tmp_path_factory.mktemp("marked") / "runs"
    tables = {r: write.keep(table(r).encode(), f"{r}.csv", root / ".uploads") for r in ("forget", "retain")}
    data = [word for role, path in tables.items() for word in (f"--{role}", str(path))]
    common = ["--model", str(tiny_folder), *data, "--epochs", "1", "--runs", str(root), "--force"]
    assert main(["run", "--method", "random", "--probes", "4", *common]) == 0
    (run,) = RunStore(root).list()
    assert main(["evaluate", run.id, "--runs", str(root)]) == 0
    assert main(["attack", run.id, "all", "--runs", str(root)]) == 0
    run.append("note", text=f"Row 3 says {MARK}.")
    run.append("state", state="done", reason=f"{MARK} was read")
    return root, run.id


@pytest.fixture
def store(made, tmp_path):
    import shutil

    root, name = made
    shutil.copytree(root, tmp_path / "runs")
    # The copy's own uploads are what its settings name.
    text = (tmp_path / "runs" / name / "config.json").read_text().replace(str(root), str(tmp_path / "runs"))
    (tmp_path / "runs" / name / "config.json").write_text(text)
    return RunStore(tmp_path / "runs"), Run(tmp_path / "runs" / name)


@pytest.mark.slow
def test_the_rows_lie_where_they_are_thought_to_lie(store):
    """The search finds them before: else the tests below would pass for nothing."""
    found = left(store[0].root)
    for name in ("inputs/rows.jsonl", "probes.jsonl", "samples.jsonl", "events.jsonl", "attacks.json"):
        assert f"{store[1].id}/{name}" in found
    assert len([name for name in found if name.startswith(".uploads")]) == 2
    assert [name for name in found if name.startswith(".cache")]


@pytest.mark.slow
def test_redact_leaves_no_byte_of_them_and_the_verdict_as_it_was(store, capsys):
    store, run = store
    before = (run.scores(), run.intervals(), conclusion.of_run(run), run.config, run.state)
    assert upkeep.redact(run, store) == []
    assert left(store.root) == []
    assert (run.scores(), run.intervals(), conclusion.of_run(run), run.config, run.state) == before
    for words in (
        ["show", run.id],
        ["report", run.id, "--out", str(store.root.parent / "r.html")],
        ["cost", run.id],
    ):
        assert main([*words, "--runs", str(store.root)]) == 0
    assert MARK not in (store.root.parent / "r.html").read_text().lower()


@pytest.mark.slow
def test_an_archive_without_rows_holds_none_and_comes_back(store, tmp_path):
    store, run = store
    archive = export_run(run, tmp_path / "bare.zip", rows=False)
    with zipfile.ZipFile(archive) as opened:
        assert not [name for name in opened.namelist() if holds(name, opened.read(name))]
        assert not [n for n in opened.namelist() if str(store.root).encode() in opened.read(n)]
    back = import_run(archive, RunStore(tmp_path / "there"))
    assert (back.scores(), conclusion.of_run(back), back.state) == (
        run.scores(),
        conclusion.of_run(run),
        "done",
    )
    assert back.meta["redacted"] > 0
    assert left(run.path), "the run itself keeps its rows"
    with zipfile.ZipFile(export_run(run, tmp_path / "whole.zip")) as opened:
        assert [name for name in opened.namelist() if holds(name, opened.read(name))]


@pytest.mark.slow
def test_an_upload_of_another_run_stays_and_is_named(store):
    store, run = store
    other = store.create(run.config)
    named = set(upkeep.redact(run, store))
    # Both tables stay for the other run; only one of them says what was to be forgotten.
    assert named == {run.config.data["forget"]}
    assert all(Path(run.config.data[role]).is_file() for role in ("forget", "retain"))
    store.delete(other)
    assert upkeep.redact(run, store) == []
    assert left(store.root) == []


@pytest.mark.slow
def test_a_sequence_is_redacted_with_its_runs_and_named_by_each_alone(tmp_path, tiny_folder, capsys):
    for role in ("forget", "retain"):
        (tmp_path / f"{role}.csv").write_text(table(role))
    root, given = tmp_path / "runs", [f"--{r}={tmp_path / r}.csv" for r in ("forget", "retain")]
    words = ["sequence", "--method", "ga", "--model", str(tiny_folder), *given, "--epochs", "1", "--force"]
    assert main([*words, "--probes", "2", "--runs", str(root), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    one = Run(root / said["runs"][0])
    named = upkeep.redact(one, RunStore(root))
    assert left(one.path) == []
    assert said["sequence"] in named, "the sequence holds its rows too"
    assert str(root / said["runs"][1]) not in named, "another request's rows"
    assert main(["redact", said["sequence"], "--yes", "--runs", str(root)]) == 0
    assert left(root) == []
    assert main(["watch", said["sequence"], "--runs", str(root)]) == 0


def test_a_field_that_nobody_named_is_left_out():
    assert event({"kind": "new", "time": 1.5, "words": MARK, "deep": {"n": 1, "text": [MARK]}}) == {
        "kind": "new", "time": 1.5, "deep": {"n": 1},
    }  # fmt: skip
    assert only({"title": "T", "other": MARK, "list": [1, 2], "words": ["a"]}, ("title",)) == {
        "title": "T", "list": [1, 2],
    }  # fmt: skip
    assert bare("samples.jsonl", b"{}") is None
    assert bare("metrics.json", b"{ broken") is None
    assert bare("model/config.json", b"{}") == b"{}"


def test_what_a_sweep_found_stays_and_what_may_quote_a_row_goes():
    found = {
        "title": "Relearning: LoRA", "tells": "both", "reason": "", "family": "Relearning", "setting": "LoRA",
        "says": "suppressed", "residue": 0.5, "values": {"after": [1.0, 0.0]}, "details": {"lr": 0.1},
        "again": [{"seed": 1, "residue": 0.4, "words": "Alma"}],
    }  # fmt: skip
    left_out = {
        "title": "Other format",
        "tells": "suppressed",
        "family": "Other format",
        "setting": "in chat",
    }
    left_out["reason"] = "prompt: the chat template changes the text of the row 'Alma Reyes'"
    swept = {"of": 3, "done": 2, "minutes": 1.0, "next": "NF4 weights", "words": "Alma"}
    record = {"control": "retrained", "attacks": {}, "sweep": {"a": found, "b": left_out}, "swept": swept}
    told = bare("attacks.json", json.dumps(record).encode())
    assert told
    assert b"Alma" not in told
    kept = json.loads(told)
    assert kept["swept"] == {"of": 3, "done": 2, "minutes": 1.0, "next": "NF4 weights"}
    assert kept["sweep"]["b"]["reason"] == "it could not be done"
    assert kept["sweep"]["a"]["again"] == [{"seed": 1, "residue": 0.4}]
    assert {k: v for k, v in kept["sweep"]["a"].items() if k not in ("again", "reason")} == {
        k: v for k, v in found.items() if k not in ("again", "reason")
    }
