"""A real SLURM of one node on this machine, where it is installed; what needs none is tested everywhere."""

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import slurm_here
import sweep_of_twelve as twelve

from unlearn.__main__ import main
from unlearn.engines import slurm as module
from unlearn.engines.elsewhere import opened
from unlearn.engines.job import LIMIT
from unlearn.engines.place import Place
from unlearn.engines.slurm import minutes, options_of
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work import sweep

ROOTS = [Path("/")]
LONG = RunConfig(
    model="tiny-authors",
    data={"name": "authors", "requests": [1]},
    method="gd",
    epochs=1000,
    batch_size=4,
    probes=0,
)
# The jobs whose start was moved, by the folder of their run.
HURRIED: set[tuple[Path, str]] = set()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    try:
        daemons = slurm_here.start(tmp_path_factory.mktemp("slurm"))
    except slurm_here.NotHere as reason:
        pytest.skip(str(reason))
    yield
    slurm_here.stop(daemons)


@pytest.fixture
def place(slurm):
    pytest.importorskip("submitit")
    return Place(on="slurm:main", slurm={"time": "10"})


def until(true, seconds=300.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def notes(run, key):
    return [event[key] for event in run.events("note") if key in event]


def called(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def near_its_limit(run):
    """Whether the run's job got the signal that SLURM sends before the time limit."""
    return not subprocess.run(
        ["scancel", "--signal=USR1", notes(run, "job")[-1]], capture_output=True
    ).returncode


def soon(run):
    """Let a job that came back begin in a quarter of a minute: SLURM would have it wait for two.

    It waits because the end of the earlier script may be reported late, and would then count for the new one.
    """
    if run.reason != LIMIT:
        return
    job = notes(run, "job")[-1]
    if (run.path, job) not in HURRIED:
        told = ["scontrol", "update", f"jobid={job}", "StartTime=now+15seconds"]
        # It is refused until the job is in the queue again.
        if not subprocess.run(told, capture_output=True).returncode:
            HURRIED.add((run.path, job))


@pytest.mark.heavy
def test_a_job_near_its_time_limit_goes_on_from_its_checkpoint(place, tmp_path):
    """The limit is two minutes, of which the signal leaves half a minute."""
    store = RunStore(tmp_path)
    run = store.create(replace(LONG, data={"name": "authors", "requests": [1, 2, 3]}, batch_size=1))
    with opened(replace(place, slurm={"time": "2"}), store, ROOTS) as engine:
        engine.submit(run)
        until(lambda: run.reason == LIMIT or run.state == "failed")
        assert run.reason == LIMIT
        assert engine.where(run) is not None
        step = run.checkpoint_step()
        until(lambda: soon(run) or len(run.events("step")) > step + 2)
        engine.stop(run)
        until(lambda: engine.where(run) is None)
    assert step > 3
    assert [event["resumed_from"] for event in run.events("state") if "resumed_from" in event] == [step]
    steps = [event["step"] for event in run.events("step")]
    assert steps == list(range(1, steps[-1] + 1))
    assert run.state == "stopped"


@pytest.mark.heavy
def test_a_sweep_is_one_array_and_equals_the_threads_although_a_task_is_requeued(place, tmp_path):
    here, there = twelve.made(tmp_path / "here"), twelve.made(tmp_path / "there")
    sweep.perform(here, roots=ROOTS)
    store = RunStore(tmp_path / "there")
    requeued = []

    def interrupt(phase, fraction):
        """Send the signal that SLURM sends before the time limit to the first cell that is at work."""
        for run in [] if requeued else store.list():
            if run.events("state")[-1]["state"] == "running" and near_its_limit(run):
                requeued.append(run)
                break
        for run in requeued:
            soon(run)

    with opened(place, store, ROOTS) as engine:
        sweep.perform(there, roots=ROOTS, engine=engine, on_progress=interrupt)
    assert there.state == "done", there.reason
    twelve.check_each_once(store.list())
    (run,) = requeued
    assert LIMIT in [event.get("reason") for event in run.events("state")]
    assert [event["resumed_from"] for event in run.events("state") if "resumed_from" in event]
    jobs = {job for run in store.list() for job in notes(run, "job")}
    assert len(jobs) == twelve.CELLS
    assert len({job.partition("_")[0] for job in jobs}) == 1
    assert twelve.outcome(there) == twelve.outcome(here)


@pytest.mark.heavy
def test_what_scancel_ends_from_outside_reads_stopped(place, tmp_path):
    store = RunStore(tmp_path)
    run = store.create(LONG)
    with opened(place, store, ROOTS) as engine:
        engine.submit(run)
        until(lambda: run.events("step"))
        job = notes(run, "job")[-1]
        called("scancel", job)
        until(lambda: engine.where(run) is None)
    assert (run.state, run.reason) == ("stopped", f"job {job} was cancelled (scancel)")


@pytest.mark.heavy
def test_stop_ends_a_job_within_a_step_and_takes_a_waiting_one_out_of_the_queue(place, tmp_path):
    store = RunStore(tmp_path)
    runs = [store.create(LONG) for _ in range(2)]
    with opened(replace(place, cpus=2), store, ROOTS) as engine:
        engine.submit(*runs)
        until(lambda: any(run.events("step") for run in runs))
        running, waiting = sorted(runs, key=lambda run: not run.events("step"))
        assert engine.where(waiting).ahead == 1
        engine.stop(waiting)
        engine.stop(running)
        until(lambda: all(engine.where(run) is None for run in runs))
    assert waiting.reason == "taken out of the queue before it began"
    assert running.state == "stopped"
    assert running.checkpoint_step() == running.events("step")[-1]["step"]


@pytest.mark.heavy
def test_a_sequence_an_attack_and_a_metric_are_jobs_like_a_run(place, tmp_path, capsys):
    words = ["--model", LONG.model, "--method", "gd", "--epochs", "1", "--batch-size", "8", "--probes", "0"]
    there = ["--on", place.on, "--slurm", "time=10", "--runs", str(tmp_path), "--json"]
    told = []
    assert main(["sequence", *words, "--order", "1,2", "--force", *there]) == 0
    told.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    run = RunStore(tmp_path).get(told[0]["runs"][1])
    assert run.state == "done"
    assert main(["attack", run.id, "prefix", *there]) == 0
    told.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert list(told[1]["attacks"]) == ["prefix"]
    assert main(["evaluate", run.id, "--metrics", "nll", *there]) == 0
    told.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert "nll" in told[2]["metrics"]


@pytest.mark.heavy
def test_a_job_that_dies_tells_the_end_of_its_log(place, tmp_path):
    store = RunStore(tmp_path)
    run = store.create(replace(LONG, model=str(tmp_path / "gone")))
    with opened(place, store, ROOTS) as engine:
        engine.submit(run)
        until(lambda: notes(run, "node"))
        until(lambda: engine.where(run) is None)
    assert run.state == "failed"
    assert any("The end of the log of job" in text for text in notes(run, "text"))


@pytest.mark.parametrize(
    ("text", "found"),
    [("30", 30), ("90:30", 90), ("2:30:00", 150), ("1-2", 1560), ("1-2:30", 1590), ("1-2:30:00", 1590)],
)
def test_times_are_read_as_sbatch_reads_them(text, found):
    assert minutes(text) == found


def test_options_that_are_set_elsewhere_are_refused():
    with pytest.raises(ValueError, match="partition cannot be given here; give --on slurm:PARTITION instead"):
        options_of({"partition": "gpu"})
    with pytest.raises(ValueError, match="array cannot be given here; the engine sets it itself"):
        options_of({"array": "1-4"})
    with pytest.raises(ValueError, match="time must be such as 30, 2:00:00 or 1-12, got 'soon'"):
        options_of({"time": "soon"})
    assert options_of({"time": "2:00:00", "account": "lab"}) == {"time": 120, "account": "lab"}


def test_jobs_of_an_array_are_told_apart(monkeypatch):
    told = "7_0|0|7|RUNNING|n1|None\n7_1|1|7|PENDING||Resources\n9|N/A|9|COMPLETED|n2|None\n"
    monkeypatch.setattr(module, "_called", lambda *words: told)
    assert module.states(["7_0", "7_1", "9", "7_2"]) == {
        "7_0": ("RUNNING", "n1"),
        "7_1": ("PENDING", "Resources"),
        "9": ("COMPLETED", "n2"),
    }
