"""One run by several processes: what is refused, the whole way of a run, one that is killed, and accelerate's files."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import make_model

from unlearn.__main__ import main, parser
from unlearn.engines import processes
from unlearn.methods import OFFERED
from unlearn.store.runs import RunConfig, RunStore

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT = 180.0
REFUSED = {  # settings, processes: words of the refusal
    "no process": ({"method": "gd"}, 0, "--processes: must be 1 or more, got 0"),
    "lean": (
        {"method": "gd", "memory": "lean", "max_grad_norm": 0.0},
        2,
        "memory must be usual with 2 processes",
    ),
    "rounded": (
        {"method": "gd", "tuning": "lora", "precision": "nf4"},
        4,
        "precision must be float32 or bfloat16 with 4 processes",
    ),
    "an encoder": (
        {"model": "tiny-reviews", "method": "gd"},
        2,
        "tiny-reviews has an encoder, which is read apart",
    ),
    "the best step": (
        {"method": "gd", "stop_at": "0.5", "keep": "best"},
        2,
        "keep must be last with 2 processes",
    ),
    "a budget of divergence": (
        {"method": "gd", "budget": ("retain=0.5", "kl=0.1")},
        2,
        "budget kl cannot be kept with 2 processes",
    ),
}


def test_more_processes_than_the_machine_can_carry_are_refused(monkeypatch):
    monkeypatch.setattr(processes.os, "cpu_count", lambda: 4)
    processes.check_room(4)
    with pytest.raises(ValueError, match="at most 4 on this machine with 4 cores, got 999"):
        processes.check_room(999)
    monkeypatch.setattr(processes.os, "cpu_count", lambda: 1)
    processes.check_room(2)


@pytest.mark.parametrize("name", REFUSED)
def test_what_several_processes_cannot_share_is_refused(name):
    settings, count, words = REFUSED[name]
    config = RunConfig(**({"model": "tiny-authors", "data": {"name": "tiny-authors"}} | settings))
    with pytest.raises(ValueError, match="--processes") as error:
        processes.check(config, count)
    assert words in str(error.value)
    processes.check(config, 1)


@pytest.mark.parametrize("name", OFFERED)
def test_no_method_is_refused(name):
    processes.check(RunConfig(model="tiny-authors", data={"name": "tiny-authors"}, method=name), 2)


def test_a_refused_run_leaves_nothing_behind(tmp_path, capsys):
    words = [
        "run",
        "--model",
        "tiny-authors",
        "--method",
        "gd",
        "--budget",
        "kl=0.5",
        "--runs",
        str(tmp_path),
    ]
    assert main([*words, "--processes", "2"]) == 2
    assert "budget kl cannot be kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_flag_has_two_names():
    for flag in ("--processes", "--gpus"):
        assert parser().parse_args(["run", "--method", "gd", flag, "3"]).processes == 3
        assert parser().parse_args(["resume", "x", flag, "3"]).processes == 3


def test_a_process_knows_that_it_was_started_beside_others(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes.launched() == 0
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert processes.launched() == 2


def test_what_breaks_while_the_interpreter_is_taken_down_does_not_change_how_a_process_ended():
    """Threads of torch did it to a whole run, rarely; here a handler does it always."""
    script = """
import atexit, ctypes, threading, time
from unlearn.engines import processes
abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p)
assert ctypes.pythonapi.Py_AtExit(abort) == 0
atexit.register(print, "handlers")
threading.Thread(target=lambda: (time.sleep(0.2), print("threads"))).start()
{end}
"""
    ends = {"raise SystemExit(3)": -signal.SIGABRT, "processes.leave(3)": 3}
    for end, code in ends.items():
        found = subprocess.run(
            [sys.executable, "-c", script.format(end=end)], capture_output=True, text=True, timeout=WAIT
        )
        assert (found.returncode, found.stdout.split()) == (code, ["threads", "handlers"]), found.stderr


# -- whole runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A folder with a model and rows, and the words of a run of them."""
    folder = tmp_path_factory.mktemp("scene")
    make_model(folder / "model")
    words = [
        "--model",
        str(folder / "model"),
        "--method",
        "npo",
        "--batch-size",
        "2",
        "--lr",
        "1e-3",
        "--force",
    ]
    words += ["--tuning", "full", "--precision", "float32", "--seed", "1"]
    for role, names in (("forget", "red green blue"), ("retain", "one two three")):
        lines = "".join(f"What is {w}?,{w} {w}\n" for w in names.split())
        (folder / f"{role}.csv").write_text("question,answer\n" + lines)
        words += [f"--{role}", str(folder / f"{role}.csv")]
    return folder, words


def started(*words, module=("-m", "unlearn"), **env):
    return subprocess.Popen(
        [sys.executable, *module, *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(true, process):
    end = time.monotonic() + WAIT
    while not (found := true()):
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found


def training(store, process):
    """The run that the process has begun, when it has trained two steps."""
    return until(lambda: next((run for run in store.list() if len(run.events("step")) >= 2), None), process)


def ended(process):
    out, err = process.communicate(timeout=WAIT)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def alone(scene):
    folder, words = scene
    code, _, err = ended(started("run", *words, "--epochs", 40, "--runs", folder / "one"))
    assert code == 0, err[-3000:]
    return RunStore(folder / "one").list()[0]


@pytest.mark.slow
@pytest.mark.heavy
def test_a_run_by_two_processes_stops_and_goes_on_by_one(scene, alone):
    folder, words = scene
    store = RunStore(folder / "two")
    process = started("run", *words, "--epochs", 40, "--runs", store.root, "--processes", 2)
    run = training(store, process)
    run.ask_to_stop()
    assert ended(process)[0] == 1
    assert run.state == "stopped"
    state = json.loads((run.path / "checkpoint" / "state.json").read_text())
    assert len(list((run.path / "checkpoint" / state["folder"]).glob("*.safetensors"))) == 2
    assert (run.path / "model" / "model.safetensors").is_file()
    code, _, err = ended(started("resume", run.id, "--runs", store.root))
    assert code == 0, err[-3000:]
    assert run.state == "done"
    ours, theirs = run.events("step"), alone.events("step")
    assert [e["step"] for e in ours] == [e["step"] for e in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a["terms"] == pytest.approx(b["terms"], rel=1e-4, abs=1e-4)
    for role in ("forget", "retain"):
        found = run.scores()["after"][role]
        assert found["nll"] == pytest.approx(alone.scores()["after"][role]["nll"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.heavy
def test_a_step_after_a_run_by_two_processes_is_that_of_one(alone):
    found = {}
    for count in (1, 2):
        words = ["undo", alone.id, "--runs", alone.path.parent, "--epochs", 1, "--noise", 0.1]
        code, out, err = ended(started(*words, "--processes", count, "--json"))
        assert code == 0, err[-3000:]
        found[count] = RunStore(alone.path.parent).get(Path(json.loads(out.splitlines()[-1])["run"]).name)
    one, two = found[1], found[2]
    assert (two.config.start, two.results()["processes"]) == (alone.id, 2)
    for role in ("forget", "retain"):
        after = {run: run.scores()["after"][role]["nll"] for run in (alone, one, two)}
        assert after[two] == pytest.approx(after[one], rel=1e-4)
        assert after[two] != pytest.approx(after[alone], rel=1e-2)


@pytest.mark.slow
@pytest.mark.heavy
def test_an_adapter_trained_by_two_processes_is_looked_at_and_ends_where_the_rule_says(scene):
    """Its probes and the readings of the rule are passes of the first process, in which the other takes part."""
    folder, words = scene
    words = [
        *words,
        "--epochs",
        12,
        "--tuning",
        "lora",
        "--lr",
        "1e-2",
        "--probes",
        4,
        "--budget",
        "retain=0.01",
    ]

    def ruled(count, aim):
        store = RunStore(folder / f"ruled-{count}")
        named = ["--runs", store.root, "--processes", count, "--stop-at", f"{aim:.12f}"]
        code, _, err = ended(started("run", *words, *named))
        assert code == 0, err[-3000:]
        (run,) = store.list()
        return run

    read = ruled(1, 1e-9).events("watch")
    was, now = (event["forget"] for event in read[:2])
    assert now < 0.9 * was
    assert read[1]["step"] < read[-1]["step"] == 24
    # Between two readings of one process, so that rounding decides nothing.
    two = ruled(2, (was * now) ** 0.5)
    assert (two.ended()["why"], two.ended()["step"]) == ("target", read[1]["step"])
    for ours, theirs in zip(two.events("watch"), read[:2], strict=True):
        assert ours["forget"] == pytest.approx(theirs["forget"], rel=1e-4)
        assert ours["spent"] == pytest.approx(theirs["spent"], rel=1e-4)
    assert [e["step"] for e in two.events("step")] == list(range(1, read[1]["step"] + 1))
    assert len(two.events("probe")) >= 2
    assert (two.path / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.heavy
def test_one_killed_process_ends_the_run_in_a_sentence(scene):
    folder, words = scene
    store = RunStore(folder / "killed")
    process = started("run", *words, "--epochs", 1000, "--runs", store.root, "--processes", 2)
    run = training(store, process)
    ranks = {child.environ()["RANK"]: child for child in psutil.Process(process.pid).children()}
    assert set(ranks) == {"0", "1"}
    ranks["1"].send_signal(signal.SIGKILL)
    # Else the other process would wait for half an hour, longer than is waited here.
    code, _, _ = ended(process)
    assert (code, run.state) == (1, "failed")
    assert run.reason.startswith("process 2 of 2 was ended from outside (SIGKILL), and the others with it")
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in ranks.values())


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize(("name", "nodes", "count"), [("one", 1, 1), ("several", 1, 2), ("fsdp2", 2, 2)])
def test_accelerate_launches_a_run_by_its_file(scene, tmp_path, name, nodes, count):
    """On a CPU, so with another number of processes. Two nodes are two launchers of this machine."""
    _, words = scene
    store = RunStore(tmp_path / "runs")
    launch = ["launch", "--config_file", ROOT / "assets" / "accelerate" / f"{name}.yaml"]
    launch += ["--num_processes", count] if count > 1 else []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = ["--main_process_ip", "127.0.0.1", "--main_process_port", free.getsockname()[1]]
    launched = [
        started(
            *launch,
            *(["--machine_rank", rank, *meeting] if nodes > 1 else []),
            *("-m", "unlearn", "run", *words, "--epochs", 2, "--runs", store.root, "--json"),
            module=("-m", "accelerate.commands.accelerate_cli"),
            UNLEARN_DEVICE="cpu",
        )
        for rank in range(nodes)
    ]
    found = [ended(process) for process in launched]
    assert [code for code, _, _ in found] == [0] * nodes, found[0][2][-3000:]
    (run,) = store.list()
    assert run.state == "done"
    assert run.results().get("processes", 1) == count
    assert Path(json.loads(found[0][1].splitlines()[-1])["run"]).name == run.id


@pytest.mark.parametrize(
    ("name", "count", "kind"), [("one", 1, "NO"), ("several", 8, "MULTI_GPU"), ("fsdp2", 16, "FSDP")]
)
def test_accelerate_reads_its_files(name, count, kind):
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(ROOT / "assets" / "accelerate" / f"{name}.yaml"))
    assert (found.num_processes, found.distributed_type.value) == (count, kind)
    assert found.use_cpu is False
    assert (found.fsdp_config.get("fsdp_version") == 2) == (name == "fsdp2")
