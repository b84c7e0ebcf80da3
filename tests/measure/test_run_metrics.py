"""Metrics chosen with the run: computed at its end, never its ruin, and no other run than without them."""

import dataclasses
import json

import pytest

from unlearn.__main__ import main, parser
from unlearn.commands.options import config_of
from unlearn.measure import judge
from unlearn.metrics import CHEAP, METRICS
from unlearn.results.sweep_record import identity
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work.execute import execute

pytestmark = pytest.mark.slow

SHORT = {"method": "gd", "epochs": 1, "probes": 0, "lr": 1e-4}
CONFIG = RunConfig(model="tiny-authors", data={"name": "authors", "requests": [1]}, **SHORT)


def config_from(*words: str) -> RunConfig:
    return config_of(parser().parse_args(["run", "--model", "tiny-authors", "--method", "gd", *words]))


def test_metrics_of_a_config_round_trip_and_reach_the_command():
    config = dataclasses.replace(CONFIG, metrics=["mia_loss", "el_3"])
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert "--metrics mia_loss,el_3" in config.command()
    assert "--metrics" not in CONFIG.command()
    with pytest.raises(ValueError, match="run: metrics must be a list of names, got 'el_3'"):
        dataclasses.replace(CONFIG, metrics="el_3")


def test_a_run_with_more_metrics_is_the_same_cell_of_a_sweep():
    assert identity(dataclasses.replace(CONFIG, metrics=("el_3",))) == identity(CONFIG)


def test_the_command_line_knows_names_all_and_nothing_else():
    assert config_from().metrics == ()
    # The order is the reader's; ppl is in every run.
    assert config_from("--metrics", "el_3, mia_loss, ppl").metrics == ("el_3", "mia_loss")
    assert config_from("--metrics", "all").metrics == tuple(name for name in METRICS if name not in CHEAP)
    with pytest.raises(ValueError, match=r"metrics: must be among .*, got nope"):
        config_from("--metrics", "nope")


def test_a_run_computes_what_was_asked_for(tmp_path, monkeypatch):
    words = ["--method", "gd", "--epochs", "1", "--probes", "0", "--requests", "1", "--runs", str(tmp_path)]
    assert main(["run", "--model", "tiny-authors", *words, "--metrics", "mia_loss"]) == 0
    (run,) = RunStore(tmp_path).list()
    record = judge.read_metrics(run)
    assert set(record["metrics"]) == {"mia_loss"}
    assert "further metrics" in run.results()["phases"]
    monkeypatch.setattr("unlearn.measure.judge.load_source", lambda *_: pytest.fail("computed again"))
    assert judge.judge(run, ["mia_loss"]) == record  # what evaluate would have given


@pytest.mark.parametrize(
    ("ends", "says"), [("stop", "were stopped"), ("fail", "Further metrics failed: no luck")]
)
def test_the_run_stands_when_its_metrics_do_not(tmp_path, monkeypatch, ends, says):
    run = RunStore(tmp_path).create(dataclasses.replace(CONFIG, metrics=("el_3",)))
    asked = []

    def compute(run, names, *, roots, progress):
        asked.append(names)
        if ends == "fail":
            raise ValueError("no luck")
        progress("el_3", 0.0)

    monkeypatch.setattr(judge, "compute", compute)
    execute(run, should_stop=lambda: bool(asked))
    assert asked == [("el_3",)]
    assert run.state == "done"
    assert "after" in run.results()["scores"]
    assert any(says in event.get("text", "") for event in run.events("note"))


def test_a_wrong_name_is_said_before_training(tmp_path):
    run = RunStore(tmp_path).create(dataclasses.replace(CONFIG, metrics=("nope",)))
    execute(run)
    assert run.state == "failed"
    assert "metrics: must be among" in run.reason
    assert not run.events("step")
