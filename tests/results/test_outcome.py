"""What stands in large above a finished run, and in which order several are named."""

import pytest

from tests.results.test_conclusion import attacked, planted
from unlearn.results import outcome
from unlearn.results.conclusion import MEANS, of_run
from unlearn.store.runs import RunStore


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def shown(run):
    return {tile.title: tile for tile in outcome.tiles(run)}


def test_each_number_stands_beside_the_retrained_models(store):
    found = shown(planted(store, forget=(48, 2, 1), retain=(49, 47, 50)))
    left = found["To forget, still answered"]
    assert (left.value, left.before, left.good) == ("4 % (retrained 2 %)", "96 %", True)
    assert "n = 50" in left.help
    kept = found["To keep, still answered"]
    assert (kept.value, kept.before, kept.good) == ("94 % (retrained 100 %)", "98 %", False)
    assert found["Perplexity of other text"].value == "5.5 (retrained 5.1)"
    assert found["Perplexity of other text"].good is False
    # Of texts that the model never said a change is neither good nor bad.
    unsaid = shown(planted(store, ppl=(1001.0, 9000.0, 1100.0)))["Perplexity of other text"]
    assert unsaid.good is None
    assert "never said these texts" in unsaid.help
    assert "never said" not in found["Perplexity of other text"].help


def test_without_a_retrained_model_none_is_invented(store):
    found = shown(planted(store, forget=(48, 2, None), retain=(49, 49, None)))
    assert found["To forget, still answered"].value == "4 %"
    # A change of nothing is neither good nor bad.
    assert found["To keep, still answered"].good is None


def test_gone_is_not_said_before_somebody_attacked(store):
    run = planted(store)
    assert shown(run)["Is it really gone?"].value == outcome.NOT_ATTACKED
    attacked(run, relearn="suppressed")
    found = shown(run)
    assert "Is it really gone?" not in found
    assert found["Came back under attack"].value == "80 % (retrained 0 %)"


def test_a_model_that_answers_nothing_is_said_to_be_no_success(store):
    ruined = planted(store, forget=(48, 0, 1), retain=(49, 0, 49), ppl=(5.0, 900.0, 5.0))
    assert outcome.alarm(ruined) == "It answers nothing any more; this is not unlearning."
    half = planted(store, forget=(48, 0, 1), retain=(49, 25, 49), ppl=(5.0, 11.0, 5.0))
    assert outcome.alarm(half).startswith("It was ruined")
    assert outcome.alarm(planted(store)) == ""
    nothing = planted(store, forget=(0, 0, 0))
    assert outcome.alarm(nothing) == MEANS["nothing to forget"]


def test_a_run_without_scores_has_no_numbers(store):
    run = store.create(planted(store).config)
    assert (outcome.tiles(run), outcome.alarm(run), outcome.ranked([run])) == ([], "", [])


def test_the_best_verdict_is_named_first(store):
    good, better = planted(store), planted(store, retain=(49, 49, 49))
    ruined = planted(store, ppl=(5.0, 900.0, 5.0))
    weak = attacked(planted(store), relearn="suppressed")
    strong = attacked(planted(store), relearn="erased", probe="erased")
    ranked = [run for run, _ in outcome.ranked([ruined, weak, good, strong, better])]
    assert ranked == [strong, better, good, weak, ruined]
    assert set(outcome.BEST_FIRST) == set(MEANS)


def test_one_line_says_both_sides(store):
    said = outcome.short(of_run(planted(store)))
    assert said == "4 % left (retrained 2 %, n 50) · 94 % of the rest kept (retrained 98 %, n 50)"
