"""The table of TOFU: which runs it has, what an unfinished one says, and how seeds become a line."""

import contextlib
import json
import sys

import pytest
from engine_here import EngineHere

from bench.tofu import __main__ as command
from bench.tofu import rows as rows_module
from bench.tofu import table
from bench.tofu.lines import lines, spread
from bench.tofu.rows import EIGHT, FIRST, OTHER, SEEDS, WHOLE, merged, values, wanted
from unlearn.methods import METHODS
from unlearn.store.config import RunConfig
from unlearn.store.runs import RunStore

OURS = ("extraction", "mia_min_k", "kl_retrain")
NAMES = ("tofu_utility", "tofu_forget_quality", "tofu_rouge", "tofu_probability", "tofu_truth_ratio", *OURS)

ORIGIN = {
    "commit": "abc",
    "date": "2026-11-29",
    "command": "python -m bench.tofu",
    "dirty": False,
    "machine": {"cpu": "cpu", "cores": 2, "load": 1.0},
    "versions": {"torch": "2"},
    "seeds": [0],
}


def row(method, seed=0, data=FIRST, **more):
    return {
        "data": data,
        "method": method,
        "seed": seed,
        "utility": 0.5,
        "quality": {"p": 0.01, "log10": -2.0, "d": 0.3, "n": 40, "n_retrained": 40},
        "rouge": 0.4,
        "truth_ratio": 0.6,
        "extraction": 0.1,
        "mia": 0.7,
        "kl": {"forget": 1.5},
        "by_format": {"forget": {"chat": 0.25, "plain": 0.2, "completion": 0.15}},
        "cpu_seconds": 100.0,
        "origin": ORIGIN,
    } | more


def test_every_method_is_in_and_eight_have_all_seeds():
    runs = list(wanted())
    assert len(set(runs)) == len(runs)
    first = {(method, seed) for data, method, seed in runs if data == FIRST}
    assert {method for method, _ in first} == {name for name, m in METHODS.items() if m.continues}
    assert {(name, seed) for name in EIGHT for seed in SEEDS} <= first
    assert {(method, seed) for data, method, seed in runs if data == WHOLE} == {(name, 0) for name in EIGHT}
    assert {data for data, _, _ in list(wanted(methods=["npo"], seeds=1))} == {FIRST, WHOLE}


def test_an_unfinished_table_says_what_is_missing():
    text = table({"rows": [row("npo"), row("start"), row("retrain")]})
    npo = METHODS["npo"].title
    assert f"{npo} (seed 1)" in text
    assert f" {npo} (seed 0)" not in text.partition("Not measured yet")[2].partition(WHOLE)[0]
    assert f"*{OTHER}*" in text
    assert "`python -m bench.tofu` goes on" in text
    whole = [row(method, seed, data) for data, method, seed in wanted()]
    assert "Not measured yet" not in table({"rows": [*whole, row(OTHER, 1)]})


def test_seeds_are_one_line_and_a_failed_run_is_told():
    found = lines([row("npo", 0), row("npo", 1, utility=0.6), {"method": "ga", "failed": "diverged"}])
    assert len(found) == 4
    assert "| 0.550 ± 0.071 | -2.0 ± 0.0 | 0.30 ± 0.00 |" in found[2]
    assert "25 ± 0 / 20 ± 0 / 15 ± 0" in found[2]
    assert "diverged" in found[3]
    (alone,) = lines([row("npo") | {"intervals": {"utility": [0.45, 0.55]}}])[2:]
    assert "| 0.500 (0.450 to 0.550) | -2.0 |" in alone
    assert spread([None], 2) == "–"


def test_a_new_row_takes_the_old_ones_place():
    rows = merged([row("npo"), row("ga")], [row("npo", utility=0.9), row("retrain")])
    assert [one["method"] for one in rows] == ["retrain", "ga", "npo"]
    assert rows[2]["utility"] == 0.9


def test_a_row_reads_the_record_of_a_run():
    score = {"when": "after", "role": "forget", "value": 0.2, "details": {"d": 0.5, "n": 40, "log10": -3}}
    record = {"metrics": {name: {"scores": [score]} for name in NAMES}}
    details = {"parts": {"retain rouge": 0.9}, "interval": (0.3, 0.5)}
    kept = {"when": "after", "role": "kept", "value": 0.4, "details": details}
    record["metrics"]["tofu_utility"] = {"scores": [kept]}
    found = values(record, None, "after")
    assert found["utility"] == 0.4
    # What has no interval is left out.
    assert found["intervals"] == {"utility": [0.3, 0.5]}
    assert found["parts"] == {"retain rouge": 0.9}
    assert found["quality"] == {"p": 0.2, "d": 0.5, "n": 40, "log10": -3}
    assert found["kl"] == {"forget": 0.2, "paraphrase": None, "retain": None}
    assert values(record, None, "before")["utility"] is None


def test_a_row_says_what_is_left_in_each_format(tmp_path):
    run = RunStore(tmp_path).create(RunConfig(model="tiny-authors", data={"name": "authors"}, method="ga"))
    one = {"n": 4, "right": 0.25, "probability": 0.1, "rouge_l": 0.3, "interval": [0.0, 0.6]}
    score = {"n": 4, "exact": 0.25}
    run.append(
        "eval", when="after", scores={"forget": score}, by_format={"forget": {"chat": one, "plain": one}}
    )
    record = {"metrics": {name: {"scores": []} for name in NAMES}}
    assert values(record, run, "after")["by_format"] == {
        "forget": {"chat": 0.25, "plain": 0.25},
        "retain": {},
    }
    assert values(record, run, "before")["by_format"] == {"forget": {}, "retain": {}}


def test_a_choice_of_methods_keeps_the_start_and_the_retrained_model():
    found = lines([row("npo"), row("rmu"), row("start"), row("retrain")], ["npo"])
    names = [line.split(" | ")[0].removeprefix("| ") for line in found[2:]]
    assert names == [METHODS["npo"].title, "*start*", "*retrain*"]


@pytest.fixture
def small(monkeypatch):
    """The bench with a bundled model and its rows in place of TOFU's, which take hours."""
    stand_in(monkeypatch)


def stand_in(monkeypatch):
    def config(data, method, seed):
        return RunConfig(
            model="tiny-authors",
            data={"name": "authors", "requests": [1]},
            method=method,
            seed=seed,
            epochs=1,
            batch_size=8,
            probes=0,
        )

    monkeypatch.setattr(rows_module, "default_config", config)


def bench(monkeypatch, folder, *words):
    """Carry the command out, and return the rows that it wrote, without what only tells of the day."""
    out = folder / "tofu.json"
    given = ["--methods", "gd", "--data", FIRST, "--seeds", "1", "--allow-dirty"]
    given += ["--runs", str(folder / "runs"), "--out", str(out), *words]
    monkeypatch.setattr(sys, "argv", ["bench.tofu", *given])
    command.main()
    found = json.loads(out.read_text())["rows"]
    return [{k: v for k, v in one.items() if k not in ("origin", "cpu_seconds")} for one in found]


def test_a_run_in_another_format_leaves_the_tables_own_retrained_model(monkeypatch, tmp_path):
    """A run in 32 bits is read beside start and retrained model in 32 bits; the table's have 16."""

    def measured(engine, store, missing, top_of):
        yield ORIGIN, [row("start", utility=0.9), row("retrain", utility=0.9), row("gd", utility=0.7)]

    (tmp_path / "tofu.json").write_text(json.dumps({"rows": [row("start"), row("retrain"), row("gd")]}))
    monkeypatch.setattr(command, "measured", measured)
    found = bench(monkeypatch, tmp_path, "--again")
    assert [(one["method"], one["utility"]) for one in found] == [
        ("start", 0.5),
        ("retrain", 0.5),
        ("gd", 0.7),
    ]
    (tmp_path / "tofu.json").unlink()
    assert [one["utility"] for one in bench(monkeypatch, tmp_path)] == [0.9, 0.9, 0.7]


@pytest.mark.slow
def test_an_engine_makes_the_same_rows_as_this_process(monkeypatch, tmp_path, small):
    here = bench(monkeypatch, tmp_path / "here")
    engine = EngineHere()
    monkeypatch.setattr(command.where, "engine_at", lambda place, runs: contextlib.nullcontext(engine))
    there = bench(monkeypatch, tmp_path / "there")
    assert there == here
    assert [(one["method"], one["seed"]) for one in here] == [
        ("start", 0),
        ("retrain", 0),
        ("gd", 0),
    ]
    assert here[2]["extraction"] is not None
    assert len(engine.submitted) == 1
    # What a bench that was cut has left is taken, and not made again.
    (tmp_path / "there" / "tofu.json").unlink()
    assert bench(monkeypatch, tmp_path / "there") == here
    assert len(engine.submitted) == 1


def test_a_number_that_is_rounded_to_zero_has_no_sign():
    assert spread([-0.02], 1) == "0.0"
    assert spread([-0.02, -0.02], 1) == "0.0 ± 0.0"
    assert spread([-0.26], 1) == "-0.3"
