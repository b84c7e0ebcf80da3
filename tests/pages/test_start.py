"""Start: where to begin stands large, and what was done here is one line each."""

import pytest
from seed import config, seed_run

from tests.pages.test_compare import opened, store, words  # noqa: F401  (a fixture)
from unlearn.results import sweep_record
from unlearn.work import sequence


def test_the_first_thing_to_do_is_a_filled_button(store):  # noqa: F811
    app = opened("start")
    (go,) = [one for one in app.button if one.label == "Try it yourself"]
    assert go.proto.type == "primary"


def test_words_of_the_code_are_not_on_the_page(store):  # noqa: F811
    shown = words(opened("start"))
    for word in ("log-prob", "nats", "eos", "optimiser"):
        assert word not in shown


def test_a_sweep_and_a_sequence_are_one_line_each(store):  # noqa: F811
    swept = sweep_record.create(sweep_record.SweepConfig(runs=(config(),), lrs=(1e-3,)), store)
    asked = sequence.SequenceConfig(run=config(), mode="chain", order=(1, 2))
    ordered = sequence.SequenceRecord.create(store.root, "gd-chain", asked.to_json())
    for _ in range(8):
        seed_run(store).set_meta(sweep=swept.id)
    for _ in range(4):
        seed_run(store).set_meta(sequence=ordered.id)
    seed_run(store)
    shown = words(opened("start")).replace("\\", "")
    assert "None of 1 cells was tried yet." in shown
    assert "None of 2 requests was honoured yet." in shown
    assert shown.count("GA + GD") <= 3


@pytest.mark.parametrize("name", ["20260101-000000-sweep-abcd", "../../etc"])
def test_runs_of_a_sweep_that_is_gone_are_one_line_too(store, name):  # noqa: F811
    for _ in range(3):
        seed_run(store).set_meta(sweep=name)
    assert words(opened("start")).count("The runs of a sweep that is not here any more") == 1


def test_a_run_that_was_discovered_to_fail_keeps_its_state(store):  # noqa: F811
    seed_run(store, "failed")
    shown = words(opened("start"))
    assert "failed" in shown


def test_a_run_stands_with_its_verdict(store):  # noqa: F811
    seed_run(store)
    shown = words(opened("start")).replace("\\", "")
    assert "not attacked" in shown
    assert "5\u00a0% left (retrained 0\u00a0%, n\u00a0" in shown
