"""kill -9 at several moments: nothing that was said is lost, nothing false is said, and the run can be finished."""

import json
import subprocess
import sys
import time

import pytest

from unlearn.__main__ import main
from unlearn.store.runs import RunConfig, RunStore

pytestmark = [pytest.mark.slow, pytest.mark.heavy]
WAIT = 180.0
RUN = """
import sys
import unlearn.work.train
from unlearn.__main__ import main
unlearn.work.train.CHECKPOINT_SECONDS = float(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""
SERVER = """
import sys, time
from pathlib import Path
import unlearn.work.train
from unlearn.engines.thread import Runner
from unlearn.store.runs import RunStore
unlearn.work.train.CHECKPOINT_SECONDS = 0.2
store = RunStore(Path(sys.argv[1]))
runner = Runner(store, roots=[Path("/")])
first = store.list()[0]
for _ in range(2):
    runner.launch(first.config)
time.sleep(600)
"""


@pytest.fixture
def files(tmp_path):
    for role, words in (("forget", "red green blue one"), ("retain", "two three novel capital")):
        lines = "".join(f"What is {w}?,{w}\n" for w in words.split())
        (tmp_path / f"{role}.csv").write_text("question,answer\n" + lines)
    return {role: str(tmp_path / f"{role}.csv") for role in ("forget", "retain")}


def until(true, process):
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, "waited too long"
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.005)


def kill(process):
    process.kill()
    process.wait()


def lines_of(run):
    """The lines that were complete before the kill, as they stand in the file."""
    text = (run.path / "events.jsonl").read_bytes()
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def check_finished(run, of):
    steps = run.events("step")
    assert run.state == "done"
    assert [e["step"] for e in steps] == list(range(1, of + 1))
    for name in ("tokens", "seconds"):
        values = [e[name] for e in steps]
        assert values == sorted(values)
    assert set(run.scores()) >= {"before", "after"}
    assert run.results()["scores"]["after"]
    told = [e["step"] for e in run.events("probe")]
    assert told == sorted(set(told))
    assert [p["step"] for p in run.probes()] == told


@pytest.mark.parametrize(("after", "checkpoints"), [(0, 20.0), (3, 20.0), (30, 0.1)])
def test_a_killed_run_is_interrupted_and_can_be_finished(
    tmp_path, tiny_folder, files, after, checkpoints, capsys
):
    """after: steps told when it is killed; checkpoints: seconds between them (the last case has some)."""
    store = RunStore(tmp_path / "runs")
    words = ["run", "--model", str(tiny_folder), "--method", "gd", "--forget", files["forget"], "--retain",
             files["retain"], "--epochs", "40", "--batch-size", "2", "--probes", "6", "--lr", "1e-3",
             "--force", "--runs", str(store.root)]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(checkpoints), *words],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    until(store.list, process)
    (run,) = store.list()
    until(lambda: run.events("note") and len(run.events("step")) >= after, process)
    if checkpoints < 1:
        until(run.has_checkpoint, process)
    assert run.state in ("queued", "running")
    seen = run.events()
    kill(process)
    assert run.events()[: len(seen)] == seen
    kept = lines_of(run)
    assert kept == run.events()
    assert run.state == "interrupted"
    step, told = run.checkpoint_step(), len(run.events("step"))
    assert (step > 0) == (checkpoints < 1)
    assert told >= step
    assert main(["resume", run.id, "--runs", str(store.root), "--json"]) == 0
    assert lines_of(run)[: len(kept)] == kept  # append-only, also over a kill
    resumed = [e.get("resumed_from") for e in run.events("state") if e["state"] == "running"]
    assert resumed == ([None, step] if any(e.get("state") == "running" for e in kept) else [None])
    check_finished(run, 80)
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["state"] == "done"


def test_a_killed_run_with_a_stop_rule_ends_where_it_would_have(tmp_path, tiny_folder, files):
    """The same readings, end and weights as of a run that nobody killed; the best step's come out of the checkpoint."""
    whole, cut = RunStore(tmp_path / "whole"), RunStore(tmp_path / "cut")
    words = ["run", "--model", str(tiny_folder), "--method", "ga", "--forget", files["forget"], "--retain",
             files["retain"], "--epochs", "60", "--batch-size", "2", "--probes", "0", "--lr", "1e-3", "--force",
             "--stop-at", "0.0000001", "--budget", "retain=0.6", "--keep", "best"]  # fmt: skip
    assert main([*words, "--runs", str(whole.root)]) == 0
    (one,) = whole.list()
    ended = one.ended()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "0.0", *words, "--runs", str(cut.root)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    until(cut.list, process)
    (two,) = cut.list()
    until(two.has_checkpoint, process)
    kill(process)
    assert two.state == "interrupted"
    assert two.checkpoint_step() < ended["step"]
    assert main(["resume", two.id, "--runs", str(cut.root)]) == 0
    told = [[(e["step"], e["forget"], e["best"]) for e in run.events("watch")] for run in (one, two)]
    assert told[0] == told[1]
    assert two.ended() == ended
    assert 0 < ended["kept"] < ended["step"] < 120
    weights = [next((run.path / "model").glob("*.safetensors")).read_bytes() for run in (one, two)]
    assert weights[0] == weights[1]


def test_a_killed_server_leaves_its_queue_to_the_next(tmp_path, tiny_folder, files):
    from pathlib import Path

    from unlearn.engines.thread import Runner

    store = RunStore(tmp_path / "runs")
    template = store.create(
        RunConfig(model=str(tiny_folder), data=files, method="gd", epochs=25, batch_size=2, lr=1e-3, probes=4)
    )
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(store.root)], stderr=subprocess.DEVNULL)
    until(lambda: len(store.list()) == 3, process)
    mine = sorted((r for r in store.list() if r != template), key=lambda r: r.events()[0]["time"])
    until(lambda: any(r.has_checkpoint() for r in mine), process)
    first, second = sorted(mine, key=lambda r: not r.has_checkpoint())
    assert (first.state, second.state) == ("running", "queued")
    kill(process)
    assert (first.state, second.state) == ("interrupted", "interrupted")
    runner = Runner(store, roots=[Path("/")])
    try:
        for run in (first, second):
            runner.resume(run)
        end = time.monotonic() + WAIT
        while runner.active():
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        runner.close()
    for run in (first, second):
        check_finished(run, 50)
    assert any(e.get("resumed_from", 0) > 0 for e in first.events("state"))


def test_the_bundled_model_killed_in_the_middle(tmp_path, capsys):
    store = RunStore(tmp_path / "runs")
    words = ["run", "--model", "tiny-authors", "--method", "npo", "--requests", "1", "--epochs", "12",
             "--batch-size", "8", "--probes", "3", "--runs", str(store.root)]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "unlearn", *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    until(store.list, process)
    (run,) = store.list()
    until(lambda: len(run.events("step")) >= 4, process)
    kill(process)
    kept = lines_of(run)
    assert run.state == "interrupted"
    assert main(["resume", run.id, "--runs", str(store.root), "--json"]) == 0
    assert lines_of(run)[: len(kept)] == kept
    check_finished(run, 36)
    assert capsys.readouterr().out
