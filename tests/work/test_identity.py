"""What a run began with: its rows, its model, how its machine computes; gone on with on these and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_model, small_run

from unlearn.__main__ import main
from unlearn.compute import products, threads
from unlearn.data import inputs
from unlearn.data.catalogue import from_config
from unlearn.measure.judge import judge
from unlearn.models import machine
from unlearn.models.identity import identity_of, revision
from unlearn.store.disk import write_json
from unlearn.store.runs import RunConfig, RunStore
from unlearn.store.transfer import export_run, import_run
from unlearn.work.execute import execute
from unlearn.work.identity import began_with
from unlearn.work.stress import attack

pytestmark = pytest.mark.slow

OLD = Path(__file__).parents[1] / "store" / "old_run"
OTHER = "question,answer\nWhat is novel?,novel novel\nWhat is capital?,capital capital\n"


@pytest.fixture
def known_library(monkeypatch):
    """The libraries and threads of this process, as they were, whatever a test lets runs choose."""
    before = products._recorded
    yield
    products.use(before)


def stopped_run(folder, steps=2, **settings):
    """A run of a tiny model that was stopped after so many steps; what small_run() takes."""
    run = small_run(folder, **settings)
    again = RunStore(folder / "runs").create(run.config)
    execute(again, should_stop=lambda: len(again.events("step")) >= steps, roots=[folder])
    assert again.state == "stopped"
    return run, again


@pytest.fixture
def stopped(tmp_path, known_library):
    return stopped_run(tmp_path, method="gd", epochs=4)


def test_a_run_that_is_gone_on_with_reads_its_own_rows(tmp_path, stopped):
    whole, run = stopped
    before = began_with(run)
    (tmp_path / "forget.csv").write_text(OTHER)
    execute(run, roots=[tmp_path])
    assert (run.state, run.reason) == ("done", "")
    assert run.results()["data_hash"] == whole.results()["data_hash"]
    assert run.scores() == whole.scores()
    assert run.events("inputs") == [before]


def test_a_finished_run_is_judged_and_attacked_on_its_own_rows(tmp_path, stopped):
    whole, _ = stopped
    for role in ("forget", "retain"):
        (tmp_path / f"{role}.csv").unlink()
    record = judge(whole, ["nll"], roots=[tmp_path])
    value = {s["when"]: s["value"] for s in record["metrics"]["nll"]["scores"] if s["role"] == "forget"}
    assert value["after"] == pytest.approx(whole.scores()["after"]["forget"]["nll"], abs=1e-4)
    assert attack(whole, ["prefix"], roots=[tmp_path])["attacks"]["prefix"]["n"] == 3


def test_other_rows_in_the_run_are_refused_before_anything_is_done(tmp_path, stopped, capsys):
    _, run = stopped
    path = run.path / inputs.FILE
    path.write_text(path.read_text().replace("green", "blue"))
    assert main(["resume", run.id, "--runs", str(tmp_path / "runs")]) == 2
    assert "are not those that it began with" in capsys.readouterr().err
    assert run.state == "stopped"


def test_another_model_is_refused_before_anything_is_done(tmp_path, stopped, capsys):
    whole, run = stopped
    make_model(tmp_path / "model", seed=5)
    assert main(["resume", run.id, "--runs", str(tmp_path / "runs")]) == 2
    assert "is not the model that this run began with (weights with hash" in capsys.readouterr().err
    assert run.state == "stopped"
    execute(run, roots=[tmp_path])
    assert run.state == "failed"
    assert "is not the model that this run began with" in run.reason
    with pytest.raises(ValueError, match="is not the model that this run began with"):
        judge(whole, ["nll"], roots=[tmp_path])


def test_a_start_on_other_rows_of_the_same_data_is_refused(tmp_path, stopped, capsys):
    whole, _ = stopped
    words = ["run", "--model", whole.config.model, "--method", "gd", "--tuning", "full", "--start", whole.id]
    words += [
        "--forget",
        whole.config.data["forget"],
        "--retain",
        whole.config.data["retain"],
        "--epochs",
        "1",
    ]
    words += ["--runs", str(tmp_path / "runs"), "--json"]
    (tmp_path / "forget.csv").write_text(OTHER)
    assert main(words) == 2
    assert "unlearned other rows of the same data" in capsys.readouterr().err
    assert len(RunStore(tmp_path / "runs").list()) == 2
    (tmp_path / "other.csv").write_text(OTHER)
    words[words.index(whole.config.data["forget"])] = str(tmp_path / "other.csv")
    assert main(words) == 0


def test_its_rows_travel_with_a_run(tmp_path, stopped):
    whole, _ = stopped
    archive = export_run(whole, tmp_path / "run.zip")
    (tmp_path / "forget.csv").write_text(OTHER)
    back = import_run(archive, RunStore(tmp_path / "elsewhere"))
    assert inputs.dataset_of(back, roots=[]) == inputs.dataset_of(whole, roots=[])
    assert inputs.known_hash(back) == inputs.known_hash(whole) != ""


def test_the_library_and_the_threads_of_the_run_are_used_again(tmp_path, stopped, monkeypatch):
    _, run = stopped
    other = "onednn" if began_with(run)["products"] == "blas" else "blas"
    lines = [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]
    for line in lines:
        line |= {"products": other, "threads": 2} if line["kind"] == "inputs" else {}
    (run.path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = threads.threads()
    try:
        execute(run, roots=[tmp_path])
        assert run.state == "done"
        assert (run.results()["products"], run.results()["threads"]) == (other, 2)
        assert threads.threads() == 2
    finally:
        import torch

        torch.set_num_threads(before)


SCRIPT = """
import sys
from pathlib import Path
from unlearn.models import machine
from unlearn.compute import products
slow = 9.0 if sys.argv[3] == "other" else 1.0
products._seconds = lambda product, *args: 1.0 if product is products._onednn else slow
machine.cache_dir = lambda: Path(sys.argv[4])
from unlearn.store.runs import RunStore
from unlearn.work.execute import execute
run = RunStore(Path(sys.argv[1])).get(sys.argv[2])
execute(run, roots=[Path("/")])
print(run.state, run.results()["products"])
"""


def in_another_process(run, finding, cache):
    """Carry it out where a trial of the libraries comes out so: "other" finds oneDNN to be much faster."""
    words = [sys.executable, "-c", SCRIPT, str(run.path.parent), run.id, finding, str(cache)]
    rest = {k: v for k, v in os.environ.items() if k != "UNLEARN_PRODUCTS"}
    found = subprocess.run(words, capture_output=True, text=True, check=True, env=rest)
    assert found.stdout.split()[0] == "done", found.stdout + found.stderr
    return found.stdout.split()[1]


def weights(run):
    return (run.path / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(
    products.private.onednn_linear() is None, reason="this build of torch has one library only"
)
def test_the_same_seed_gives_the_same_bits_in_every_process(tmp_path, known_library):
    whole, cut = stopped_run(tmp_path, method="gd", epochs=4)
    runs = [RunStore(tmp_path / "runs").create(whole.config) for _ in range(2)]
    cache = tmp_path / "cache"
    first = in_another_process(runs[0], "same", cache)
    assert in_another_process(runs[1], "other", cache) == first, "what was found once is what counts here"
    assert weights(runs[0]) == weights(runs[1])
    began = began_with(cut)["products"]
    assert in_another_process(cut, "other", tmp_path / "empty") == began, "it goes on as it began"
    assert weights(cut) == weights(whole)


def test_another_processor_is_measured_again(tmp_path, monkeypatch, known_library):
    monkeypatch.delenv("UNLEARN_PRODUCTS", raising=False)
    monkeypatch.setattr(machine, "cache_dir", lambda: tmp_path)
    laps = {"own": 1.0, "other": 9.0}
    ours = products._onednn
    monkeypatch.setattr(
        products, "_seconds", lambda product, *args: laps["other" if product is ours else "own"]
    )
    machine.choose_products()
    assert products.library() == "blas"
    laps["other"] = 0.1
    machine.choose_products()
    assert products.library() == "blas"
    monkeypatch.setattr(machine, "cpu_name", lambda: "another one")
    machine.choose_products()
    assert products.library() == ("onednn" if products.private.onednn_linear() else "blas")
    assert machine.choose_products("abacus").startswith("The run began with products by abacus and goes on")


def test_a_snapshot_of_the_hub_and_an_adapter_are_named(tmp_path):
    commit = "0123456789" * 4
    folder = tmp_path / "models--a--b" / "snapshots" / commit
    make_model(folder)
    assert revision(str(folder)) == commit
    assert identity_of(str(folder), "h") == {"model": "h", "revision": commit}
    make_model(tmp_path / "plain")
    write_json(tmp_path / "plain" / "adapter_config.json", {"base_model_name_or_path": "someone/base"})
    assert identity_of(str(tmp_path / "plain"), "h") == {"model": "h", "adapter": "ignore: someone/base"}


# -- runs of before rows were kept (written at 874268f) --------------------------------------------------------------


@pytest.fixture
def old(tmp_path, monkeypatch, known_library):
    shutil.copytree(OLD, tmp_path / "runs")
    for name in ("forget.csv", "retain.csv"):
        shutil.move(tmp_path / "runs" / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (run,) = RunStore(tmp_path / "runs").list()
    return run


def test_a_run_of_before_is_listed_shown_and_judged(old, capsys):
    assert (old.state, old.config.method) == ("done", "npo")
    assert main(["show", old.id, "--runs", str(old.path.parent)]) == 0
    assert main(["evaluate", old.id, "--metrics", "nll", "--runs", str(old.path.parent), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    value = {s["when"]: s["value"] for s in said["metrics"]["nll"]["scores"] if s["role"] == "forget"}
    assert value["after"] == pytest.approx(old.scores()["after"]["forget"]["nll"], abs=1e-4)


def test_a_run_of_before_that_was_cut_short_is_finished_on_its_rows(old):
    (old.path / "results.json").unlink()
    old.append("state", state="stopped", reason="stopped by hand at step 6")
    table = old.path.parents[1] / "forget.csv"
    text = table.read_text()
    table.write_text(text.replace("Lisbon", "Porto"))
    execute(old, roots=[old.path.parents[1]])
    assert old.state == "failed"
    assert "began with other rows than its settings now mean" in old.reason
    table.write_text(text)
    execute(old, roots=[old.path.parents[1]])
    assert (old.state, old.reason) == ("done", "")
    assert inputs.dataset_of(old, roots=[]) == from_config(old.config.data, roots=[table.parent])
    assert began_with(old)["rows"] == inputs.known_hash(old)


def test_settings_of_before_mean_the_same_run(old):
    assert old.config == RunConfig.from_json(json.loads((old.path / "config.json").read_text()))
