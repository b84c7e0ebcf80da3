"""How likely right answers are is read from the probes, and the token that ends an answer does not count."""

import math

import pytest
from seed import item, seed_run

from unlearn.results import likelihood
from unlearn.store.disk import append_line
from unlearn.store.runs import RunStore


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def test_the_token_that_ends_an_answer_does_not_count():
    probe = item("forget", 0, 1.0)
    assert [token["token"] for token in probe["tokens"]] == [" Lisbon", "<|eos|>"]
    assert likelihood.of_answer(probe) == pytest.approx(math.exp(-5.05))
    # A last token that spells part of the answer is no end.
    probe["answer"] = " Lisbon<|eos|>"
    assert likelihood.of_answer(probe) == pytest.approx(math.exp((-5.05 - 0.01) / 2))


def test_what_is_not_a_number_stays_one_and_what_is_impossible_is_none():
    probe = item("forget", 0, 1.0)
    probe["tokens"][0]["lp"] = "nan"
    assert math.isnan(likelihood.of_answer(probe))
    probe["tokens"][0]["lp"] = "-inf"
    assert likelihood.of_answer(probe) == 0


def test_the_curve_of_each_role(store):
    found = likelihood.over_steps(seed_run(store))
    assert [step for step, _ in found["forget"]] == [0, 5, 10, 15, 20]
    assert found["forget"][0][1] == pytest.approx(math.exp(-0.05))
    assert found["forget"][-1][1] == pytest.approx(math.exp(-5.05))
    assert found["retain"][-1][1] == pytest.approx(math.exp(-0.05))


def test_a_run_that_still_trains_has_the_retrained_line_from_one_that_is_alike(store):
    done, going = seed_run(store), seed_run(store, "running", method="npo")
    assert likelihood.of_retrained(going) == {}
    assert likelihood.of_retrained(going, [done])["forget"] == pytest.approx(math.exp(-5.05))
    assert likelihood.of_retrained(done)["forget"] == pytest.approx(math.exp(-5.05))


@pytest.mark.parametrize(
    "changes", [{"model": "smollm2"}, {"data": {"name": "snippets"}}, {"prompt": "completion"}]
)
def test_another_models_or_other_rows_truth_is_not_borrowed(store, changes):
    done, going = seed_run(store, **changes), seed_run(store, "running", method="npo")
    assert likelihood.of_retrained(going, [done]) == {}


def test_a_role_with_one_unknown_row_has_no_line(store):
    run = seed_run(store)
    records = run.probes()
    more = item("forget", 2, 0.0)
    (run.path / "probes.jsonl").unlink()
    append_line(
        run.path / "probes.jsonl", {"step": 0, "items": [*records[0]["items"], more | {"answer": " else"}]}
    )
    assert set(likelihood.of_retrained(run)) == {"retain"}
