"""Runs of a store: found by name or path, stopped from another process, watched, renamed, asked, emptied, deleted."""

import io
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from seed import config

from unlearn.__main__ import main
from unlearn.measure.ask import start_is_here
from unlearn.results import sweep_record
from unlearn.results.sweep_record import SweepConfig
from unlearn.store import upkeep
from unlearn.store.disk import append_line, write_json
from unlearn.store.runs import Run, RunConfig, RunStore

GOOD = "question,answer\nWhat is red?,red\nWhat is two?,two\nWhat is blue?,blue\n"


def said(capsys):
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path / "runs"))
    return RunStore(tmp_path / "runs")


@pytest.fixture
def done(store):
    """A run that ended, with rows, generations, probes, weights and scores."""
    config = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo")
    run = store.create(config, title="Mine")
    run.append("state", state="running")
    run.append("eval", when="after", scores={"forget": {"n": 3, "exact": 0.5}})
    run.append("inputs", rows="abcdef123456")
    run.append("state", state="done")
    write_json(run.path / "results.json", {"seconds": 1.0, "data_hash": "abc"})
    for name in ("probes.jsonl", "samples.jsonl"):
        append_line(run.path / name, {"secret": "the answer"})
    for name in ("inputs/rows.jsonl", "model/model.safetensors"):
        (run.path / name).parent.mkdir()
        (run.path / name).write_bytes(b"secret" * 100)
    (store.root / ".cache").mkdir()
    (store.root / ".cache" / "a.json").write_text("secret")
    return run


@pytest.fixture
def working(store, done):
    """A run that this process holds, as one that is carried out."""
    run = store.create(done.config, title="Busy")
    with run.held():
        run.append("state", state="running")
        yield run


# -- which run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["show"], ["cost"], ["report", "--out", "r.html"], ["export"]])
def test_a_path_is_a_path_and_a_name_is_a_name(done, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    name, *more = command
    last = ["one.zip"] if name == "export" else []
    other = ["--runs", str(tmp_path / "elsewhere")]
    for words in ([done.id], [str(done.path), *other], [f"./runs/{done.id}/", *other]):
        assert main([name, words[0], *last, *more, *words[1:]]) == 0
        # A file that is there is not written over.
        (tmp_path / "one.zip").unlink(missing_ok=True)
    assert main([name, done.id, *last, *more, *other]) == 2
    assert f"no run '{done.id}' in {tmp_path / 'elsewhere'}" in capsys.readouterr().err
    # The same name in the store of the command is another run than the one of the path.
    assert main([name, f"nowhere/{done.id}", *last, *more]) == 2
    assert "no folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["resume"], ["evaluate"], ["attack", "all"], ["stop"], ["rename", "x"], ["ask", "Who?"], ["watch"],
     ["delete", "--yes"], ["redact", "--yes"]],
)  # fmt: skip
def test_every_command_refuses_what_is_no_run(store, words, capsys):
    for name in ("nope", "../nope", "sweeps", "20260131-120000-npo-1a2b"):
        assert main([words[0], name, *words[1:]]) == 2
        assert capsys.readouterr().err.startswith("error: ")


# -- stop and watch --------------------------------------------------------------------------------------------


def test_stop_refuses_what_does_not_work_and_asks_what_does(done, working, capsys):
    assert main(["stop", done.id]) == 2
    assert "is done; there is nothing to stop" in capsys.readouterr().err
    stopping = working.stopping()
    assert not stopping()
    assert main(["stop", working.id, "--json"]) == 0
    assert said(capsys) == {"run": str(working.path), "state": "running", "asked": True}
    assert stopping()
    assert working.stopping(lambda: True)()


def test_whoever_takes_a_run_up_again_is_not_stopped_by_an_old_wish(store, done):
    run = store.create(done.config)
    with run.held():
        run.ask_to_stop()
    with run.held():
        assert not run.stopping()()


@pytest.mark.slow
def test_stop_ends_a_run_and_a_sequence_of_another_process(tmp_path):
    common = [
        "--model",
        "tiny-authors",
        "--method",
        "ga",
        "--epochs",
        "900",
        "--runs",
        str(tmp_path),
        "--json",
    ]
    for words, folder in ((["run"], ""), (["sequence", "--order", "1,2"], "sequences")):
        started = subprocess.Popen(
            [sys.executable, "-m", "unlearn", *words, *common],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            found, until = [], time.monotonic() + 120
            while not any(Run(p).events("step") for p in tmp_path.glob("2*")) and time.monotonic() < until:
                time.sleep(0.1)
            found = [p for p in sorted((tmp_path / folder).glob("2*")) if p.is_dir()]
            assert main(["stop", str(found[-1]), "--wait", "60", "--runs", str(tmp_path)]) == 0
            out, _ = started.communicate(timeout=60)
        finally:
            started.kill()
        assert json.loads(out.splitlines()[-1])["state"] == "stopped"
        assert started.returncode == 1
        for path in tmp_path.glob("2*"):
            subprocess.run(["rm", "-r", str(path)], check=True)


def test_watch_follows_until_the_end(working, store, capsys):
    def work():
        time.sleep(0.5)
        working.append("step", step=1, of=1, terms={"forget": 1.0}, seconds=0.1)
        working.append("state", state="done")

    thread = threading.Thread(target=work)
    thread.start()
    assert main(["watch", working.id]) == 0
    thread.join()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["queued", "running", "step 1 of 1  forget 1", "done"]
    assert lines[4] == f"{working.path}: done"
    assert main(["watch", str(working.path), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["kind"] for event in told[:-1]] == ["state", "state", "step", "state"]
    assert told[-1]["state"] == "done"


def test_watch_has_status_1_for_a_run_that_was_cut(store, done, capsys):
    run = store.create(done.config)
    run.append("state", state="running")
    assert main(["watch", run.id, "--json"]) == 1
    assert said(capsys)["state"] == "interrupted"


def test_a_run_with_damaged_settings_is_named_not_hidden(done, capsys):
    (done.path / "config.json").write_text("{")
    assert main(["runs"]) == 0
    assert f"left out: {done.id}" in capsys.readouterr().err
    assert main(["show", done.id]) == 2
    assert f"{done.id}/config.json is damaged" in capsys.readouterr().err


def test_a_path_that_is_not_there_is_said(done, tmp_path, capsys):
    assert main(["import", str(tmp_path / "no.zip")]) == 2
    assert "no.zip is no file; check the path" in capsys.readouterr().err
    assert main(["report", done.id, "--out", str(tmp_path / "none" / "r.html")]) == 2
    assert "none is no folder; make it first" in capsys.readouterr().err


# -- rename, delete, redact, prune -----------------------------------------------------------------------------


def test_rename_and_sizes(done, capsys):
    assert main(["rename", done.id, " Another name ", "--json"]) == 0
    assert said(capsys) == {"run": str(done.path), "title": "Another name"}
    assert done.title == "Another name"
    assert main(["rename", done.id, " "]) == 2
    capsys.readouterr()
    assert main(["runs"]) == 0
    assert capsys.readouterr().out.endswith("Another name\n")
    assert main(["runs", "--sizes", "--json"]) == 0
    (row,) = said(capsys)["runs"]
    assert (row["title"], row["weights"]) == ("Another name", 600)
    assert row["bytes"] == sum(p.stat().st_size for p in done.path.rglob("*") if p.is_file())


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("yes\n", 0), ("n\n", 2), ("", 2)])
def test_delete_asks(done, monkeypatch, capsys, typed, status):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert main(["delete", done.id]) == status
    assert f"Delete {done.id} (Mine)? [y/N]" in capsys.readouterr().err
    assert done.path.exists() == (status == 2)


def test_delete_of_a_working_run_and_of_a_sweep(done, working, store, capsys):
    assert main(["delete", done.id, working.id, "--yes"]) == 2
    assert "is running; stop it before deleting it" in capsys.readouterr().err
    assert done.path.exists()
    sweep = store.root / "sweeps" / "20260131-120000-sweep-1a2b"
    sweep.mkdir(parents=True)
    assert main(["delete", str(sweep), done.id, "--yes", "--json"]) == 0
    assert said(capsys) == {"deleted": [str(sweep), str(done.path)]}
    assert not sweep.exists()
    assert not done.path.exists()


def test_a_study_is_shown_by_the_name_that_resume_and_delete_take(store, capsys):
    asked = SweepConfig(runs=(config(),), lrs=(1e-3,))
    swept = sweep_record.create(asked, store)
    assert main(["show", swept.id]) == 0
    assert capsys.readouterr().out.startswith(f"{swept.path}: ")
    assert main(["show", swept.id, "--json"]) == 0
    assert said(capsys)["sweep"] == str(swept.path)


def test_before_a_run_is_deleted_those_that_go_on_from_it_are_named(store, done, capsys, monkeypatch):
    after = store.create(replace(done.config, start=done.id), title="After")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert main(["delete", done.id]) == 2
    assert f"! {after.id} goes on from {done.id}: without it" in capsys.readouterr().err
    assert after.start().id == done.id
    # Both together rest on nothing else.
    assert upkeep.resting_on([done, after], store) == []
    assert main(["delete", done.id, "--yes"]) == 0
    # What is asked of the other one then names it, and what it lacks.
    with pytest.raises(ValueError, match=f"run: {after.id} goes on from '{done.id}', which is not in"):
        after.start()


@pytest.mark.parametrize("shared", [False, True])
def test_a_table_of_rows_to_keep_holds_nothing_that_was_to_be_forgotten(
    store, done, tmp_path, capsys, shared
):
    """Unless one of its rows is a row to forget as well."""
    paths = {role: tmp_path / f"{role}.csv" for role in ("forget", "retain")}
    for path in paths.values():
        path.write_text(GOOD)
    data = {role: str(path) for role, path in paths.items()}
    write_json(done.path / "config.json", replace(done.config, data=data).to_json())
    red, blue = ({"question": f"What is {name}?", "answer": name} for name in ("red", "blue"))
    (done.path / "inputs" / "rows.jsonl").unlink()
    for role, row in (("forget", red), ("retain", blue), *([("retain", red)] if shared else [])):
        append_line(done.path / "inputs" / "rows.jsonl", {"role": role, "row": row})
    assert main(["redact", done.id, "--yes", "--json"]) == 0
    assert said(capsys)["left"] == sorted(data.values() if shared else [data["forget"]])


def test_redact_removes_the_rows_and_keeps_scores_and_hashes(store, done, tmp_path, capsys):
    (tmp_path / "rows.csv").write_text(GOOD)
    config = RunConfig(model="tiny-authors", data={"forget": str(tmp_path / "rows.csv")}, method="npo")
    write_json(done.path / "config.json", config.to_json())
    before = (done.scores(), done.results())
    assert main(["redact", done.id, "--yes", "--json"]) == 0
    assert said(capsys) == {"run": str(done.path), "runs": [], "left": [str(tmp_path / "rows.csv")]}
    assert "secret" not in "".join(
        p.read_text() for p in store.root.rglob("*") if p.is_file() and "model" not in p.parts
    )
    assert (done.scores(), done.results(), done.state) == (*before, "done")
    assert [event["rows"] for event in done.events("inputs")] == ["abcdef123456"]
    assert (done.path / "model" / "model.safetensors").is_file()
    assert done.meta["redacted"] > 0
    assert main(["show", done.id]) == 0
    # What is written of it from now on holds no row, and nothing says that it does.
    capsys.readouterr()
    assert main(["export", done.id, str(tmp_path / "out.zip"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out.splitlines()[-1])["rows"] is False
    assert main(["report", done.id, "--out", str(tmp_path / "out.html")]) == 0
    assert "rows that were to be forgotten" not in told.err + capsys.readouterr().err


def test_redact_of_a_working_run_is_refused(working, capsys):
    assert main(["redact", working.id, "--yes"]) == 2
    assert "stop it before redacting it" in capsys.readouterr().err


def test_prune_takes_what_is_old_and_asks(store, done, working, monkeypatch, capsys):
    assert main(["prune", "--keep-scores", "--older-than", "30d", "--yes", "--json"]) == 0
    assert said(capsys) == {"pruned": [], "bytes": 0}
    now = time.time()
    monkeypatch.setattr("unlearn.store.upkeep.time.time", lambda: now + 31 * 86_400)
    monkeypatch.setattr(sys, "stdin", __import__("io").StringIO("n\n"))
    assert main(["prune", "--keep-scores", "--older-than", "30d"]) == 2
    assert (done.path / "model").exists()
    assert main(["prune", "--keep-scores", "--older-than", "30d", "--yes", "--json"]) == 0
    capsys.readouterr()
    assert not (done.path / "model").exists()
    assert done.scores()
    assert main(["prune", "--older-than", "4w", "--yes", "--json"]) == 0
    assert [row["run"] for row in said(capsys)["pruned"]] == [done.id]
    assert store.list() == [working]
    assert main(["prune", "--older-than", "1 month", "--yes"]) == 2
    assert "such as 30d, got '1 month'" in capsys.readouterr().err


# -- ask -------------------------------------------------------------------------------------------------------


def test_ask_puts_a_question_to_each_model(tmp_path, tiny_folder, store, capsys):
    (tmp_path / "rows.csv").write_text(GOOD)
    words = [
        "--model",
        str(tiny_folder),
        "--method",
        "ga",
        "--forget",
        str(tmp_path / "rows.csv"),
        "--epochs",
        "1",
    ]
    assert main(["run", *words, "--probes", "0", "--force", "--json"]) == 0
    run = said(capsys)["run"]
    assert main(["ask", run, "What is red?", "--answer", "red", "--tokens", "3", "--json"]) == 0
    after = said(capsys)
    assert (after["of"], after["prompt"]) == ("after", "Question: What is red?\nAnswer:")
    assert after["log_prob"] < 0
    assert set(after["before"]) == {"text", "log_prob"}
    assert after["before"]["log_prob"] != after["log_prob"]
    assert main(["ask", run, "What is", "--raw", "--of", "before", "--json"]) == 0
    before = said(capsys)
    assert (before["prompt"], before["log_prob"], before["before"]) == ("What is", None, None)
    assert main(["ask", run, "What is red?", "--tokens", "3"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["before", "after"]
    for bad, message in (
        (["--tokens", "0"], "--tokens: must lie in"),
        (["--of", "retrained"], "no exact retrain"),
    ):
        assert main(["ask", run, "What?", *bad]) == 2
        assert message in capsys.readouterr().err
    assert main(["ask", run, " "]) == 2
    mine = Run(Path(run)).config
    assert start_is_here(mine)
    for elsewhere in ("owner/never-brought", str(tmp_path / "gone")):
        assert not start_is_here(replace(mine, model=elsewhere))


def test_a_study_can_be_renamed_and_what_takes_runs_names_its_own(store, done, capsys):
    asked = SweepConfig(runs=(config(),), lrs=(1e-3, 1e-4))
    swept = sweep_record.create(asked, store)
    assert main(["rename", swept.id, "Two rates", "--json"]) == 0
    assert said(capsys)["title"] == swept.title == "Two rates"
    for name in (swept.id, str(swept.path)):
        assert main(["report", name]) == 2
        assert (
            f"run: {swept.id} is a sweep, and this takes runs; it has no runs yet." in capsys.readouterr().err
        )
    swept.append("cell", key="0", run=done.id)
    assert main(["report", swept.id]) == 2
    assert f"name one or more of its runs: {done.id}." in capsys.readouterr().err
    with swept.held():
        swept.append("state", state="running")
    swept.append("state", state="done")
    assert main(["resume", swept.id]) == 2
    assert (
        f"sweep: {swept.id} is done; only an interrupted, stopped or failed sweep" in capsys.readouterr().err
    )
