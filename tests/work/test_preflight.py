"""What is said before a run of a learning rate far from the tuned one."""

import pytest
from seed import config, seed_run

from unlearn.__main__ import parser
from unlearn.commands.options import config_of
from unlearn.methods import METHODS
from unlearn.models.catalogue import default_prompt
from unlearn.store.disk import write_json
from unlearn.store.runs import RunStore
from unlearn.work.preflight import (
    default_tuning,
    far_lr,
    model_size,
    preflight,
    tuned_for,
    tuned_lr,
)


def said(factor, method="ga"):
    tuned = METHODS[method].settings("tiny", "full", "tiny-authors")["lr"]
    asked = config(method=method, lr=factor * tuned)
    assert tuned_lr(asked) == tuned
    return " ".join(far_lr(asked, METHODS[method]()))


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (2500, "2,500 × the tuned rate"),
        (2500, "expect ruin"),
        (20, "may destroy"),
        (1 / 50, "50 times below"),
    ],
)
def test_a_rate_far_from_the_tuned_one_is_told(factor, words):
    assert words in said(factor)


@pytest.mark.parametrize("factor", [1, 10, 0.1])
def test_a_rate_near_it_is_not(factor):
    assert said(factor) == ""


def test_the_time_is_learnt_from_the_same_method_where_it_ran_here(tmp_path):
    store = RunStore(tmp_path)
    slow, fast = seed_run(store, method="npo"), seed_run(store, method="gd")
    results = slow.results()
    write_json(slow.path / "results.json", {**results, "phases": {"training": 60.0}, "seconds": 61.4})
    finished = [fast, slow]
    planned = {
        name: preflight(config(method=name, epochs=1, batch_size=4), finished) for name in ("npo", "gd")
    }
    training = {name: (one.seconds - 1.4) / one.tokens for name, one in planned.items()}
    assert training["npo"] == pytest.approx(10 * training["gd"], rel=1e-6)
    assert (
        preflight(config(method="npo"), [seed_run(store, model="smollm2", data={"name": "capitals"})]).seconds
        is None
    )


@pytest.mark.parametrize("name", ["npo", "eul", "undial"])
@pytest.mark.parametrize("model", ["tiny-authors", "smollm2-tofu"])
def test_the_command_a_file_and_a_sweep_take_the_same_tuned_settings(name, model):
    """One function fills in what is not said, for the command line, a file of settings and the form of a sweep."""
    from ui.launch.stated import whole
    from ui.sweep.form import templates

    method = METHODS[name]
    told = tuned_for(method, model)
    assert told["tuning"] == method.tuning_for(default_tuning(model))
    assert told["prompt"] == default_prompt(model)
    assert told["lr"] == method.settings(model_size(model), told["tuning"], model, told["prompt"])["lr"]
    line = config_of(parser().parse_args(["run", "--model", model, "--method", name]))
    (form,) = templates([name], METHODS, model, line.data, model_size(model))
    file = whole({"model": model, "method": name, "data": dict(line.data)})
    for found in (line, form, file):
        values = found.to_json()
        assert {key: values[key] for key in told if key != "knobs"} == {
            k: v for k, v in told.items() if k != "knobs"
        }
        assert values["knobs"] == method.from_knobs(told["knobs"]).to_json()
    # What is said of tuning and format decides which settings are meant.
    asked = tuned_for(method, model, tuning=method.tunings[-1], prompt="completion")
    assert (asked["tuning"], asked["prompt"]) == (method.tunings[-1], "completion")


def test_what_a_method_reads_in_place_of_missing_rows_is_said_before_a_run(tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("question,answer\nWho?,Ada\nWhere?,Rome\n")
    asked = config(method="repselect", data={"forget": str(table)})
    assert any("has no rows of the role general" in note for note in preflight(asked, roots=[tmp_path]).notes)
    assert not any("role general" in note for note in preflight(config(method="repselect")).notes)
