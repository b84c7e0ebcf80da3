"""What is said before a run of a learning rate far from the tuned one."""

import pytest
from seed import config, seed_run

from unlearn.methods import METHODS
from unlearn.store.disk import write_json
from unlearn.store.runs import RunStore
from unlearn.work.preflight import far_lr, preflight, tuned_lr


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


def test_what_a_method_reads_in_place_of_missing_rows_is_said_before_a_run(tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("question,answer\nWho?,Ada\nWhere?,Rome\n")
    asked = config(method="repselect", data={"forget": str(table)})
    assert any("has no rows of the role general" in note for note in preflight(asked, roots=[tmp_path]).notes)
    assert not any("role general" in note for note in preflight(config(method="repselect")).notes)
