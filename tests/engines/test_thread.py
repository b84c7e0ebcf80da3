"""The queue: who goes next, what a stop stops, and that nothing a run does can wedge it.

Most tests put a stand-in for execute() in its place, whose steps they control; the last ones really train.
"""

import contextlib
import errno
import shutil
import threading
import time

import pytest

from unlearn.engines import thread as module
from unlearn.engines.thread import Runner
from unlearn.store.runs import Run, RunConfig, RunStore
from unlearn.work.execute import Finished, execute

# Seconds after which a thing is taken to never happen; a busy machine may need many.
WAIT = 180.0


def config(**changes):
    return RunConfig(**({"model": "tiny-authors", "data": {"name": "authors"}, "method": "ga"} | changes))


def until(true):
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


class Stage:
    """A stand-in for execute(): each run waits in `started` until `go` lets it take a step."""

    def __init__(self):
        self.order, self.go, self.fail = [], threading.Semaphore(0), {}

    def __call__(self, run, *, should_stop, on_progress, roots):
        run.append("state", state="running")
        self.order.append(run.id)
        on_progress("training", 0.5)
        while not should_stop():
            if self.go.acquire(timeout=0.005):
                if error := self.fail.pop(run.id, None):
                    raise error
                run.append("state", state="done")
                return Finished(object(), run)
        run.append("state", state="stopped", reason="stopped by hand at step 1")
        return None


@pytest.fixture
def stage(monkeypatch):
    stage = Stage()
    monkeypatch.setattr(module, "execute", stage)
    monkeypatch.setattr(module, "check", lambda *_: None)
    return stage


@pytest.fixture
def runner(tmp_path, stage):
    runner = Runner(RunStore(tmp_path / "runs"))
    yield runner
    runner.close()


@pytest.mark.slow
def test_first_come_first_served_with_positions(runner, stage):
    runs = [runner.launch(config(), owner="me", title=str(i)) for i in range(4)]
    until(lambda: stage.order)
    assert [runner.position(run) for run in runs] == [0, 1, 2, 3]
    assert [run.state for run in runs] == ["running", "queued", "queued", "queued"]
    assert runner.active() == runs
    assert runner.progress()[:2] == ("training", 0.5)
    for _ in runs:
        stage.go.release()
    until(lambda: all(run.state == "done" for run in runs))
    assert stage.order == [run.id for run in runs]
    until(lambda: not runner.active())
    assert [runner.position(run) for run in runs] == [None] * 4
    assert (runner.progress()[0], runner.busy()) == ("", "")
    assert [len(run.events("state")) for run in runs] == [3] * 4  # queued once, running, done


def test_stop_of_a_queued_and_of_the_running_run(runner, stage):
    first, second, third = (runner.launch(config()) for _ in range(3))
    until(lambda: stage.order)
    runner.stop(second)
    assert (second.state, second.reason) == ("stopped", "taken out of the queue before it began")
    assert runner.position(third) == 1
    runner.stop(first)
    runner.stop(first)
    until(lambda: first.state == "stopped")
    asked = [event["asked"] for event in first.events("note") if "asked" in event]
    assert asked == ["stop"]  # once, and for every page to see
    until(lambda: runner.position(third) == 0)
    runner.stop(first)  # again, and one that is long gone: nothing happens
    assert second.id not in stage.order


def test_discard_in_every_state(runner, stage):
    running, queued, after = (runner.launch(config()) for _ in range(3))
    until(lambda: stage.order)
    runner.discard(queued)
    assert not queued.path.exists()
    runner.discard(running)
    until(lambda: not running.path.exists())
    stage.go.release()
    until(lambda: after.state == "done")
    until(lambda: runner.position(after) is None)
    runner.discard(after)
    assert not after.path.exists()
    assert stage.order == [running.id, after.id]


def test_discard_races_with_the_start(runner, stage):
    """Whatever the moment, the folder goes and the queue goes on."""
    for _ in range(20):
        run = runner.launch(config())
        runner.discard(run)
        until(lambda run=run: not run.path.exists())
    last = runner.launch(config())
    stage.go.release()
    until(lambda: last.state == "done")


def test_resume(runner, stage):
    run = runner.launch(config())
    until(lambda: stage.order)
    with pytest.raises(ValueError, match="is running; only an interrupted, stopped or failed run"):
        runner.resume(run)
    runner.stop(run)
    until(lambda: runner.position(run) is None)
    runner.resume(run)
    until(lambda: len(stage.order) == 2)
    stage.go.release()
    until(lambda: run.state == "done")
    with pytest.raises(ValueError, match="is done"):
        runner.resume(run)


@pytest.mark.slow
def test_what_another_process_holds_is_left_alone(runner):
    run = runner.store.create(config())
    lock = run.hold()
    run.append("state", state="stopped")
    with pytest.raises(ValueError, match="held by another process"):
        runner.resume(run)
    lock.release()
    assert runner.active() == []


@pytest.mark.slow
def test_many_threads_submit_at_once(runner, stage):
    made, errors = [], []

    def submit():
        try:
            made.append(runner.launch(config()))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=submit) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in threads:
        stage.go.release()
    until(lambda: all(run.state == "done" for run in made))
    assert (errors, len(made), len(set(stage.order))) == ([], 12, 12)


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_nothing_a_run_raises_stops_the_queue(runner, stage, error):
    bad, good = runner.launch(config()), runner.launch(config())
    stage.fail[bad.id] = error
    for _ in range(2):
        stage.go.release()
    until(lambda: good.state == "done")
    assert bad.state == "failed"
    assert type(error).__name__ in bad.reason


@pytest.mark.slow
def test_a_folder_that_vanishes_does_not_wedge_the_queue(runner, stage):
    first, second, third = (runner.launch(config()) for _ in range(3))
    until(lambda: stage.order)
    shutil.rmtree(second.path)
    shutil.rmtree(first.path)
    stage.go.release()
    until(lambda: third.id in stage.order)
    stage.go.release()
    until(lambda: third.state == "done")


def test_a_full_disk_at_submission_keeps_no_lock(runner, stage, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = runner.store.create(config())
    run.append("state", state="stopped")
    monkeypatch.setattr(Run, "append", full)
    with pytest.raises(OSError, match="No space"):
        runner.resume(run)
    monkeypatch.undo()
    assert not run.is_held()


def test_close_joins_and_lets_the_queue_go(runner, stage):
    running, queued = runner.launch(config()), runner.launch(config())
    until(lambda: stage.order)
    runner.close()
    assert not runner._thread.is_alive()
    assert (running.state, queued.state) == ("stopped", "interrupted")
    with pytest.raises(ValueError, match="closing"):
        runner.launch(config())
    assert not any(run.is_held() for run in runner.store.list())


@pytest.mark.slow
def test_warm_models_are_few_and_never_of_deleted_runs(runner, stage):
    runs = [runner.launch(config()) for _ in range(5)]
    for _ in runs:
        stage.go.release()
    until(lambda: all(run.state == "done" for run in runs) and not runner.active())
    assert list(runner._warm) == [f"after {run.id}" for run in runs[-3:]]
    runner.discard(runs[-1])
    assert f"after {runs[-1].id}" not in runner._warm
    runner.store.delete(runs[-2])  # behind the runner's back
    with pytest.raises(ValueError, match="was deleted"):
        runner.ask(("after", runs[-2]), "What?")
    last = runner.launch(config())
    stage.go.release()
    until(lambda: last.state == "done" and not runner.active())
    assert list(runner._warm) == [f"after {runs[2].id}", f"after {last.id}"]


def test_asking_while_a_run_trains_says_who_has_the_device(runner, stage):
    run = runner.launch(config(), title="Long one")
    until(lambda: stage.order)
    with pytest.raises(RuntimeError, match="Long one is busy: training"):
        runner.ask(("before", run), "What?")
    for step in (1, 2):
        run.append("step", step=step, of=10, terms={}, seconds=1.0 * step)
    with pytest.raises(RuntimeError, match="Long one is training: step 2 of 10, about 8 s left"):
        runner.ask(("before", run), "What?")
    with pytest.raises(ValueError, match="prompt: is empty"):
        runner.ask(("before", run), "  ")


# -- real runs -------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    for role, words in (("forget", "red green blue"), ("retain", "one two three")):
        lines = "".join(f"What is {w}?,{w}\n" for w in words.split())
        (tmp_path / f"{role}.csv").write_text("question,answer\n" + lines)
    return {role: str(tmp_path / f"{role}.csv") for role in ("forget", "retain")}


def small(folder, files, **changes):
    values = {"model": str(folder), "data": files, "epochs": 1, "batch_size": 2, "lr": 1e-3, "probes": 0}
    return config(**(values | changes))


def test_stop_within_one_step_and_resume_to_the_end(tmp_path, tiny_folder, files):
    run = RunStore(tmp_path / "runs").create(small(tiny_folder, files, method="gd", epochs=5))
    stop = lambda: len(run.events("step")) >= 4  # noqa: E731
    roots = [tmp_path.parent, tiny_folder.parent]
    assert execute(run, should_stop=stop, roots=roots) is None
    assert (run.state, run.reason) == ("stopped", "stopped by hand at step 4")
    assert [e["step"] for e in run.events("step")] == [1, 2, 3, 4]
    assert run.checkpoint_step() == 4
    assert (run.path / "model" / "model.safetensors").is_file()
    assert execute(run, roots=roots) is not None
    steps = run.events("step")
    assert [e["step"] for e in steps] == list(range(1, 11))
    assert run.state == "done"
    whole = RunStore(tmp_path / "runs").create(run.config)
    execute(whole, roots=roots)
    assert [e["loss"] for e in steps] == pytest.approx([e["loss"] for e in whole.events("step")], abs=1e-5)
    for name in ("tokens", "seconds"):
        values = [e[name] for e in steps]
        assert values == sorted(values)
    assert [e["tokens"] for e in steps] == [e["tokens"] for e in whole.events("step")]
    for when in ("before", "after"):
        for role, metrics in whole.scores()[when].items():
            assert run.scores()[when][role] == pytest.approx(metrics, rel=1e-3, abs=1e-4)
    assert run.results()["tokens"] == whole.results()["tokens"]


@pytest.mark.slow
def test_probes_of_a_resumed_run_are_each_there_once(tmp_path, tiny_folder, files):
    run = RunStore(tmp_path / "runs").create(small(tiny_folder, files, epochs=4, probes=4))
    roots = [tmp_path.parent, tiny_folder.parent]
    for upto in (3, 5):
        execute(run, should_stop=lambda upto=upto: len(run.events("step")) >= upto, roots=roots)
        shutil.rmtree(run.path / "checkpoint")  # as if the server had died before it could save one
    execute(run, roots=roots)
    assert [e["step"] for e in run.events("step")] == list(range(1, 9))
    assert [p["step"] for p in run.probes()] == list(range(9))
    assert [e["step"] for e in run.events("probe")] == list(range(9))
    assert [e.get("resumed_from") for e in run.events("state") if e["state"] == "running"] == [None, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["append", "save"])
def test_a_full_disk_ends_the_run_and_not_the_queue(tmp_path, tiny_folder, files, monkeypatch, place):
    from unlearn.store import runs

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    runner = Runner(RunStore(tmp_path / "runs"), roots=[tmp_path.parent, tiny_folder.parent])
    with contextlib.closing(runner):
        with monkeypatch.context() as patch:
            if place == "save":
                patch.setattr("unlearn.models.tuning.save", full)
            else:
                real, count = runs.append_line, []

                def sometimes(path, value):
                    if ("step" in value and value.get("kind") == "step") or count:
                        count.append(1)
                        full()
                    real(path, value)

                patch.setattr(runs, "append_line", sometimes)
            bad = runner.launch(small(tiny_folder, files))
            until(lambda: bad.path.exists() and runner.position(bad) is None)
        assert bad.state == ("failed" if place == "save" else "interrupted")
        if place == "save":
            assert bad.reason.startswith(
                "the disk is full ([Errno 28] No space left on device); free some space"
            )
        good = runner.launch(small(tiny_folder, files))
        until(lambda: good.state == "done")
        runner.resume(bad)
        until(lambda: bad.state == "done")


@pytest.mark.slow
def test_ask_before_and_after_answers_from_the_right_model(tmp_path, tiny_folder, files):
    runner = Runner(RunStore(tmp_path / "runs"), roots=[tmp_path.parent, tiny_folder.parent])
    with contextlib.closing(runner):
        run = runner.launch(small(tiny_folder, files, lr=1e-2, epochs=3))
        until(lambda: run.state == "done" and not runner.active())
        prompt, answer = "Question: What is red?\nAnswer:", "red"
        found = {when: runner.ask((when, run), prompt, answer, raw=True) for when in ("before", "after")}
        for when, asked in found.items():
            kept = next(s for s in run.samples() if s["when"] == when and s["question"] == "What is red?")
            assert [t["lp"] for t in asked["tokens"]] == pytest.approx(
                [t["lp"] for t in kept["tokens"]], abs=1e-3
            )
        assert found["before"]["tokens"][0]["lp"] != found["after"]["tokens"][0]["lp"]
        with pytest.raises(ValueError, match="no exact retrain"):
            runner.ask(("retrained", run), prompt)
        with pytest.raises(ValueError, match="leaves no answer"):
            runner.ask(("after", run), "xyz " * 3000, "red", raw=True)
        assert runner.busy() == ""  # an error gives the device back


@pytest.mark.slow
def test_a_run_with_checkpointing_is_the_same_run(tmp_path, tiny_folder, files):
    """The same losses to rounding, and the model that stays warm is as it was."""
    from unlearn.compute.states import blocks

    store, roots = RunStore(tmp_path / "runs"), [tmp_path.parent, tiny_folder.parent]
    plain, again = (
        store.create(small(tiny_folder, files, method="gd", epochs=2, checkpointing=on))
        for on in (False, True)
    )
    execute(plain, roots=roots)
    loaded = execute(again, roots=roots)
    losses = [[e["loss"] for e in run.events("step")] for run in (plain, again)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert not any("forward" in vars(block) for block in blocks(loaded.loaded.model))


@pytest.mark.parametrize("method", ["retrain", "sisa"])
def test_a_method_with_a_loop_of_its_own_refuses_a_lean_training(method):
    from unlearn.work.checks import check

    config = RunConfig(
        model="tiny-authors", data={"name": "authors"}, method=method, memory="lean", max_grad_norm=0.0
    )
    with pytest.raises(ValueError, match="loop of its own, so memory must be usual, got lean"):
        check(config)
