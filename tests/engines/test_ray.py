"""A real cluster of Ray on this machine: three raylets, each with a core, one of which is taken away."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sweep_of_twelve as twelve

from tests.bench import test_tofu
from unlearn.__main__ import main
from unlearn.claims import CLAIMS, study
from unlearn.claims.training import MODEL
from unlearn.engines import ray as module
from unlearn.engines.elsewhere import opened
from unlearn.engines.folders import HOLDERS, home
from unlearn.engines.place import Place
from unlearn.results.search.record import searches
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work import sweep

pytestmark = pytest.mark.heavy
ROOTS = [Path("/")]
SHORT = RunConfig(
    model="tiny-authors",
    data={"name": "authors", "requests": [1]},
    method="gd",
    epochs=1,
    batch_size=4,
    probes=2,
)
LONG = replace(SHORT, epochs=1000)


@pytest.fixture(scope="module")
def cluster():
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # The GPUs are none: Ray only counts them.
    size = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 2**27}
    made = Cluster(initialize_head=True, head_node_args=size | {"include_dashboard": False})
    for _ in range(2):
        made.add_node(**size)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def place(cluster):
    return Place(on=f"ray:{cluster.address}")


def until(true, seconds=300.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def notes(run, key):
    return [event[key] for event in run.events("note") if key in event]


def test_a_sweep_survives_the_loss_of_a_node_and_equals_the_threads(cluster, place, tmp_path):
    here, there = twelve.made(tmp_path / "here"), twelve.made(tmp_path / "there")
    sweep.perform(here, roots=ROOTS)
    store = RunStore(tmp_path / "there")
    removed = []

    def take_away(engine):
        """Remove a node as soon as it is in the middle of a cell, though not the head, which holds the cluster."""
        others = {node.node_id[:8]: node for node in cluster.list_all_nodes()[1:]}
        while not removed:
            for run in store.list():
                where = engine.where(run)
                name = next((n for n in others if where and n in where.node), None)
                if name and run.events("state")[-1]["state"] == "running":
                    cluster.remove_node(others[name], allow_graceful=False)
                    removed.append(run)
                    return
            time.sleep(0.02)

    with opened(place, store, ROOTS) as engine:
        killer = threading.Thread(target=take_away, args=(engine,))
        killer.start()
        sweep.perform(there, roots=ROOTS, engine=engine)
        killer.join()
    assert (here.state, there.state) == ("done", "done"), there.reason
    twelve.check_each_once(store.list())
    lost = [run for run in store.list() if notes(run, "lost")]
    assert removed[0] in lost
    told = next(text for text in notes(removed[0], "text") if "was lost" in text)
    assert told.endswith("goes on elsewhere from its start, since no checkpoint had arrived.")
    assert len(set(notes(removed[0], "node"))) == 2
    assert twelve.outcome(there) == twelve.outcome(here)
    assert len({node for run in store.list() for node in notes(run, "node")}) == 3


# Opens Ray in a thread that ends at once, as that of a page does, and then carries a run out.
PAGE = """
import sys, threading, time
from pathlib import Path
from unlearn.engines.elsewhere import Elsewhere
from unlearn.engines.place import Place
from unlearn.store.runs import RunConfig, RunStore
store = RunStore(Path(sys.argv[1]))
elsewhere, place = Elsewhere(store, [Path("/")]), Place(on="ray")
page = threading.Thread(target=lambda: elsewhere.engine(place))
page.start()
page.join()
time.sleep(2.0)
data = {"name": "authors", "requests": [1]}
run = store.create(RunConfig(model="tiny-authors", data=data, method="gd", epochs=1, batch_size=4, probes=0))
elsewhere.engine(place).submit(run)
while elsewhere.engine(place).where(run):
    time.sleep(0.1)
elsewhere.close()
"""


def test_ray_that_a_page_has_started_outlives_the_page(tmp_path):
    pytest.importorskip("ray")
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    words = [sys.executable, "-c", PAGE, str(tmp_path)]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = RunStore(tmp_path).list()
    assert run.state == "done", run.reason


def test_stop_keeps_the_weights_and_a_checkpoint_to_go_on_from(place, tmp_path):
    store = RunStore(tmp_path)
    run = store.create(LONG)
    with opened(place, store, ROOTS) as engine:
        engine.submit(run)
        until(lambda: len(run.events("step")) > 2)
        assert run.state == "running"
        assert engine.where(run).node
        engine.stop(run)
        until(lambda: engine.where(run) is None)
    assert (run.state, run.is_held()) == ("stopped", False)
    assert run.checkpoint_step() == run.events("step")[-1]["step"]
    assert (run.path / "model" / "model.safetensors").is_file()


def test_a_process_that_was_killed_finds_its_run_again(place, tmp_path):
    words = [
        "--model",
        LONG.model,
        "--requests",
        "1",
        "--method",
        "gd",
        "--batch-size",
        "4",
        "--epochs",
        "40",
    ]
    words += ["--force", "--probes", "0", "--on", place.on, "--runs", str(tmp_path)]
    first = subprocess.Popen(
        [sys.executable, "-m", "unlearn", "run", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: any(run.events("step") for run in RunStore(tmp_path).list()))
        (run,) = RunStore(tmp_path).list()
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    seen = len(run.events("step"))
    assert run.state == "interrupted"
    assert main(["resume", str(run.path), "--json"]) == 0
    steps = [event["step"] for event in run.events("step")]
    assert run.state == "done"
    assert steps == list(range(1, steps[-1] + 1))
    assert steps[-1] > seen
    # It went on where it was, and nobody began it a second time.
    assert any("found again" in text for text in notes(run, "text"))
    assert not [event for event in run.events("state") if "resumed_from" in event]


# The command line, with less patience.
HASTY = """
import sys
from unlearn.__main__ import main
from unlearn.engines import ray
ray.LOOK, ray.SILENT = 0.5, 3.0
sys.exit(main(sys.argv[1:]))
"""
# A cluster of its own, whose first machine carries nothing out and is lost when a line comes.
TWO_MACHINES = """
import sys
from ray.cluster_utils import Cluster
small = {"object_store_memory": 2**27}
made = Cluster(initialize_head=True, head_node_args=small | {"num_cpus": 0, "include_dashboard": False})
made.add_node(num_cpus=1, **small)
made.wait_for_nodes()
print("address", made.address, flush=True)
sys.stdin.readline()
made.remove_node(made.head_node, allow_graceful=False)
sys.stdin.readline()
made.shutdown()
"""


def test_the_loss_of_the_first_machine_is_told_and_the_run_can_be_gone_on_with(tmp_path):
    """Ray itself would end the process after a minute without a word in the run."""
    pytest.importorskip("ray")
    piped = {"stdout": subprocess.PIPE, "stdin": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", TWO_MACHINES], **piped) as there:
        where = next(line.split()[1] for line in there.stdout if line.startswith("address "))
        words = ["--model", LONG.model, "--requests", "1", "--method", "gd", "--batch-size", "4", "--force"]
        words += ["--epochs", "1000", "--probes", "0", "--on", f"ray:{where}", "--runs", str(tmp_path)]
        first = subprocess.Popen([sys.executable, "-c", HASTY, "run", *words, "--json"], **piped)
        try:
            until(lambda: any(run.events("step") for run in RunStore(tmp_path).list()))
            there.stdin.write("\n")
            there.stdin.flush()
            out, _ = first.communicate(timeout=300)
        finally:
            first.kill()
            there.communicate("\n\n", timeout=300)
    (run,) = RunStore(tmp_path).list()
    assert first.returncode == 1
    (told,) = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert (told["state"], run.state, run.is_held()) == ("stopped", "stopped", False)
    assert run.reason.startswith(f"the first machine of the Ray cluster ({where}) is lost")
    seen = run.checkpoint_step()
    again = threading.Thread(target=main, args=(["resume", str(run.path), "--on", "thread"],))
    again.start()
    until(lambda: run.state == "running" and any(e["step"] > seen for e in run.events("step")))
    run.ask_to_stop()
    again.join(300)
    assert run.reason.startswith("stopped by hand")
    assert run.events("state")[-2]["resumed_from"] == seen


def test_another_version_on_a_node_is_said_at_once(place, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "versions", lambda: {"torch": "1.0"})
    store = RunStore(tmp_path)
    runs = [store.create(SHORT) for _ in range(2)]
    with opened(place, store, ROOTS) as engine:
        engine.submit(*runs)
        until(lambda: all(engine.where(run) is None for run in runs))
    for run in runs:
        assert run.state == "failed"
        assert "and this machine 1.0; install the same versions on all machines" in run.reason
        assert not run.events("step")


def test_more_cores_than_a_machine_has_are_refused(place, tmp_path):
    with (
        pytest.raises(
            ValueError, match="--cpus: no machine of the cluster has 64 CPUs for one run, the largest has 1"
        ),
        opened(replace(place, cpus=64), RunStore(tmp_path)),
    ):
        pass


def test_runs_share_a_gpu_by_parts(place, tmp_path):
    import ray

    with (
        pytest.raises(
            ValueError,
            match="--gpus-per-run: no machine of the cluster has 2 GPUs for one run, the largest has 1",
        ),
        opened(replace(place, gpus_per_run=2), RunStore(tmp_path)),
    ):
        pass
    store = RunStore(tmp_path)
    run = store.create(SHORT)
    with opened(replace(place, gpus_per_run=0.25), store, ROOTS) as engine:
        engine.submit(run)
        until(lambda: ray.cluster_resources()["GPU"] - ray.available_resources().get("GPU", 0) == 0.25)
        until(lambda: engine.where(run) is None)
    assert run.state == "done", run.reason


def test_two_carriers_of_a_machine_keep_one_folder_of_answers_until_both_are_gone(place, tmp_path):
    """The nodes of this cluster are one machine."""
    store = RunStore(tmp_path)
    runs = [store.create(SHORT), store.create(LONG)]
    with opened(replace(place, at_once=2), store, ROOTS) as engine:
        folder = home() / f"said-{engine._cluster.session}"
        engine.submit(*runs)
        until(lambda: engine.where(runs[0]) is None and runs[1].events("step"))
        assert len(list((folder / HOLDERS).iterdir())) == 2
        # Both have read the model before their first step.
        assert list(folder.glob("*.json"))
        # One goes on its own, the other with its whole process.
        seat = next(seat for seat in engine._seats if seat.record == runs[1])
        engine.stop(runs[1])
        until(lambda: engine.where(runs[1]) is None)
        os.kill(seat.about["pid"], signal.SIGKILL)
    until(lambda: not folder.exists())
    assert [run.state for run in runs] == ["done", "stopped"]


def test_a_second_cluster_is_refused_before_a_folder_is_made(place, tmp_path, capsys):
    words = ["run", "--model", "tiny-authors", "--method", "gd", "--force", "--runs", str(tmp_path / "runs")]
    with opened(place, RunStore(tmp_path), ROOTS):
        pass
    assert main([*words, "--on", "ray:127.0.0.1:1"]) == 2
    assert "already, and can not reach 127.0.0.1:1 beside it" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_sequence_an_attack_and_a_metric_travel_like_a_run(place, tmp_path, capsys):
    words = [
        "--model",
        "tiny-authors",
        "--method",
        "gd",
        "--epochs",
        "1",
        "--batch-size",
        "8",
        "--probes",
        "0",
    ]
    there = ["--on", place.on, "--runs", str(tmp_path), "--json"]
    assert main(["sequence", *words, "--order", "1,2", "--force", *there]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    runs = [RunStore(tmp_path).get(name) for name in told["runs"]]
    assert [run.state for run in runs] == ["done", "done"]
    assert runs[1].config.start == runs[0].id
    assert not any(run.is_held() for run in runs)
    before = (runs[1].path / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(["attack", str(runs[1].path), "prefix", *there]) == 0
    assert list(json.loads(capsys.readouterr().out.splitlines()[-1])["attacks"]) == ["prefix"]
    assert main(["evaluate", str(runs[1].path), "--metrics", "nll", *there]) == 0
    assert "nll" in json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]
    # The weights went there, and were not brought back.
    assert (runs[1].path / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_a_search_tries_two_settings_at_once_and_finds_what_it_finds_here(place, tmp_path):
    words = ["tune", "--model", "tiny-authors", "--methods", "gd", "--requests", "1", "--search", "lr"]
    words += ["--epochs", "1", "--batch-size", "8", "--trials", "2", "--no-prune", "--target", "0.1"]
    words += ["--cpus", "1", "--force"]
    found = []
    for name, where in (("there", ["--on", place.on, "--at-once", "2"]), ("here", [])):
        assert main([*words, *where, "--runs", str(tmp_path / name)]) == 0
        (record,) = searches(RunStore(tmp_path / name))
        found.append([(t.number, dict(t.settings), t.state, t.chosen, t.reported) for t in record.trials()])
    there, here = found
    assert len(there) == 2
    assert there == here
    nodes = {node for run in RunStore(tmp_path / "there").list() for node in notes(run, "node")}
    assert nodes


def test_the_bench_of_tofu_has_its_runs_carried_out_there(place, tmp_path, monkeypatch):
    test_tofu.stand_in(monkeypatch)
    there, here = (
        test_tofu.bench(monkeypatch, tmp_path / name, *words)
        for name, words in (("there", ("--on", place.on, "--cpus", "1")), ("here", ("--cpus", "1")))
    )
    assert there == here
    (run,) = RunStore(tmp_path / "there" / "runs").list()
    assert notes(run, "node")


def test_a_claim_travels_and_what_it_has_found_so_far_comes_back(place, tmp_path):
    told = []
    with opened(place, RunStore(tmp_path), ROOTS) as engine:

        def follow():
            claims, silent = [CLAIMS["A4"]], lambda phase, part: None
            told.extend(study.carried_out(engine, claims, "quick", MODEL, tmp_path, silent))

        following = threading.Thread(target=follow)
        following.start()
        until(lambda: list((tmp_path / "claims").glob("*.json")), 180)
        (record,) = study.ClaimRecord.every(tmp_path)
        engine.stop(record)
        following.join(120)
    ((claim, entry, why_not),) = told
    assert (claim.key, entry) == ("A4", {})
    assert why_not.startswith("stopped")
    assert not record.path.exists()
    assert all(json.loads(path.read_text()) for path in (tmp_path / "claims").glob("*.json"))
