"""What retraining costs beside a run: known, entered, or not known; on the command line and in the app."""

import json

import pytest
from seed import seed_run

from tests.pages.test_compare import opened, store, words  # noqa: F401  (a fixture)
from unlearn.__main__ import main
from unlearn.report import numbers
from unlearn.results import cost
from unlearn.store.disk import read_json, write_json
from unlearn.store.runs import RunStore

OWN = "owner/model"  # of which nothing is known


def unknown(root: RunStore):
    run = seed_run(root, model=OWN)
    write_json(run.path / "results.json", run.results() | {"tokens": 16_000, "parameters": 2_000_000})
    return run


def test_an_entered_count_gives_the_ratio_and_its_formula(tmp_path):
    run = unknown(RunStore(tmp_path))
    assert cost.of_run(run) == {}
    cost.enter(run, 4e9)
    found = cost.of_run(run)
    assert found["token_ratio"] == found["flops_ratio"] == 4e9 / 16_000
    assert found["flops"] == 6 * 2_000_000 * 4e9
    assert found["formula"].endswith("= 6 · 2,000,000 · 4,000,000,000 ÷ (6 · 2,000,000 · 16,000)")
    assert ("Retraining ÷ this run, FLOPs", "250000 (computed)") in numbers.cost(run)


@pytest.mark.parametrize("tokens", [0.0, -1e9, float("nan"), 1e30])
def test_an_absurd_count_is_refused(tmp_path, tokens):
    run = unknown(RunStore(tmp_path))
    with pytest.raises(ValueError, match=r"cost: training tokens must lie in \[1000, 1e\+18\], got"):
        cost.enter(run, tokens)
    assert cost.of_run(run) == {}


@pytest.mark.parametrize("said", ["many", None, 1e30, [1e9]])
def test_what_an_imported_run_says_is_not_believed_blindly(tmp_path, said):
    run = unknown(RunStore(tmp_path))
    run.set_meta(training_tokens=said)
    assert cost.of_run(run) == {}


def test_a_known_model_needs_no_count(tmp_path):
    run = seed_run(RunStore(tmp_path))
    with pytest.raises(ValueError, match="what training tiny-authors took is known"):
        cost.enter(run, 1e9)
    assert cost.is_known("smollm2")
    assert not cost.is_known(OWN)


def test_the_command_line_takes_it_and_keeps_it(tmp_path, capsys):
    run = unknown(RunStore(tmp_path))
    words = ["cost", run.id, "--runs", str(tmp_path)]
    assert main(words) == 0
    assert "not known; say it with --training-tokens" in capsys.readouterr().out
    assert main([*words, "--training-tokens", "4e9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["retraining"]["token_ratio"] == 250_000
    assert main(words) == 0
    assert "250000 (computed)" in capsys.readouterr().out
    assert main([*words, "--training-tokens", "5"]) == 2
    assert "training tokens must lie in" in capsys.readouterr().err


def test_a_run_is_refused_before_it_begins_where_the_count_is_known(tmp_path, capsys):
    words = ["run", "--model", "tiny-authors", "--method", "gd", "--runs", str(tmp_path)]
    assert main([*words, "--training-tokens", "1e9"]) == 2
    assert "is known; leave its tokens out" in capsys.readouterr().err
    assert not RunStore(tmp_path).list()


def test_compare_asks_for_it_and_shows_the_ratio(store):  # noqa: F811
    run = unknown(store)
    app = opened("compare", tab="Settings", a=run.id)
    assert "is not known" in words(app)
    app.number_input(key=f"costs.{run.id}.{OWN}").set_value(4e9).run()
    assert not app.exception
    assert read_json(run.path / "meta.json")["training_tokens"] == 4e9
    assert "is not known" not in words(app)
    (table,) = [frame.value for frame in app.dataframe if "what" in frame.value]
    shown = dict(zip(table["what"], table["Value"], strict=True))
    assert shown["Retraining ÷ this run, FLOPs"] == "250000 (computed)"
