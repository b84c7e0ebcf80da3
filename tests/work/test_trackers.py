"""Reports to trackers: real ones get losses, probes, scores and tables, none a row, and a dead one ends no run."""

import json
import time
from pathlib import Path

import pytest
from conftest import small_run

from unlearn.__main__ import main
from unlearn.store.runs import RunStore
from unlearn.work import trackers

ROW = "What is red?"


def bytes_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def notes(run) -> str:
    return " ".join(event["text"] for event in run.events("note") if event.get("text"))


def test_tensorboard_reads_what_a_run_reports(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = small_run(tmp_path, method="gd", probes=4, report_to="tensorboard")
    assert "failed" not in notes(run)
    read = EventAccumulator(str(run.path / "tensorboard"))
    read.Reload()
    steps = run.events("step")
    assert [e.step for e in read.Scalars("loss/forget")] == [e["step"] for e in steps]
    assert [e.value for e in read.Scalars("loss/forget")] == pytest.approx(
        [e["terms"]["forget"] for e in steps]
    )
    probes = [sum(-i["nll"] for i in p["items"] if i["role"] == "forget") / 3 for p in run.probes()]
    assert [e.value for e in read.Scalars("probe/forget/log_prob")] == pytest.approx(probes, rel=1e-5)
    after = run.scores()["after"]["forget"]["ppl"]
    assert read.Scalars("after/forget/ppl")[0].value == pytest.approx(after, rel=1e-6)
    tables = {tag.partition("/")[0] for tag in read.Tags()["tensors"]}
    assert {"scores", "probes", "verdict", "settings"} <= tables
    assert ROW.encode() not in bytes_below(run.path / "tensorboard")


def test_trackio_keeps_what_a_run_reports(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio", raising=False)
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio", raising=False)
    from trackio.sqlite_storage import SQLiteStorage

    run = small_run(tmp_path, method="gd", probes=4, report_to="trackio")
    assert "failed" not in notes(run)
    logs = SQLiteStorage.get_logs(trackers.PROJECT, run.id)
    losses = [line["loss/forget"] for line in logs if "loss/forget" in line]
    assert losses == pytest.approx([e["terms"]["forget"] for e in run.events("step")])
    said = json.dumps(logs, default=str)
    for name in ("after/forget/ppl", "probe/forget/log_prob", "scores", "verdict"):
        assert name in said
    assert ROW not in said


@pytest.mark.slow
def test_wandb_writes_offline_into_the_runs_folder(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = small_run(tmp_path, method="gd", probes=2, report_to="wandb")
    assert "failed" not in notes(run)
    (file,) = (run.path / "wandb").rglob("*.wandb")
    content = file.read_bytes()
    for name in (b"loss/forget", b"after/forget/ppl", b"probe/forget/log_prob"):
        assert name in content
    assert ROW.encode() not in bytes_below(run.path / "wandb")


class Dead:
    """A tracker that ends in one of the ways in which trackers end."""

    how = ""

    def __init__(self, run, config):
        if self.how == "refuses":
            raise SystemExit("log in first")
        if self.how == "hangs":
            time.sleep(60)

    def log(self, values, step):
        if self.how == "breaks":
            raise ConnectionError("the server went away")

    def table(self, name, columns, rows):
        pass

    def close(self):
        if self.how == "hangs at the end":
            time.sleep(60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("refuses", "log in first"), ("breaks", "the server went away"), ("hangs", "it did not answer within 0.5 s"),
        ("hangs at the end", "it did not answer within 0.5 s"),
    ],
)  # fmt: skip
def test_a_dead_tracker_does_not_take_the_run_down(how, said, tmp_path, monkeypatch):
    kind = type("Mine", (Dead,), {"how": how})
    monkeypatch.setitem(trackers.TRACKERS, "wandb", kind)
    monkeypatch.setattr(trackers.Reporter.__init__, "__defaults__", (0.5,))
    run = small_run(tmp_path, method="ga", probes=2, report_to="wandb")
    assert run.state == "done"
    assert f"Reporting to wandb failed: {said}" in notes(run)
    assert run.scores()["after"]


def test_a_full_queue_drops_what_comes_after(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "MOST", 1)
    monkeypatch.setitem(trackers.TRACKERS, "wandb", type("Slow", (Dead,), {"how": "hangs"}))
    monkeypatch.setattr(trackers.Reporter.__init__, "__defaults__", (0.2,))
    run = small_run(tmp_path, method="ga", probes=2, report_to="wandb")
    assert "too slow; a part was not reported" in notes(run)


@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_a_missing_package_is_said_before_the_run_with_the_line_that_brings_it(
    name, tmp_path, monkeypatch, capsys
):
    known = trackers.importlib.util.find_spec
    monkeypatch.setattr(
        trackers.importlib.util, "find_spec", lambda asked: None if asked == name else known(asked)
    )
    words = ["run", "--model", "tiny-authors", "--method", "ga", "--report-to", name, "--runs", str(tmp_path)]
    assert main(words) == 2
    assert f'pip install "{name}>=' in capsys.readouterr().err
    assert not RunStore(tmp_path).list()


def test_without_a_tracker_nothing_listens(tmp_path):
    run = small_run(tmp_path, method="ga", probes=0)
    assert not (run.path / "tensorboard").exists()
    assert run.listeners == []
