"""What Compare shows first, counted by hand from a planted run."""

import math

import pytest
from seed import config, item, seed_run

from unlearn.compute.intervals import wilson
from unlearn.figures import overview as figures
from unlearn.results import overview
from unlearn.results.compare import pair_samples, sides
from unlearn.store.disk import append_line
from unlearn.store.runs import RunStore


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def test_answers_are_counted_by_what_became_of_them(store):
    rows = pair_samples([seed_run(store), seed_run(store)])
    counts = overview.outcomes(rows)
    assert list(counts) == ["a", "b", "retrained"]
    # Three forget rows, each right before and wrong after, with the likelihood of the retrained model.
    assert counts["a"] == {"forgotten": 3, "not forgotten": 0, "over-forgotten": 0, "never known": 0}
    assert overview.outcomes(rows, "retain")["a"]["not forgotten"] == 3
    assert overview.outcomes([]) == {}


def test_three_runs_stand_side_by_side(store):
    runs = [seed_run(store, method=name) for name in ("npo", "undial", "ga")]
    rows = pair_samples(runs)
    assert sides(rows[0]) == ["a", "b", "c"]
    counts = overview.outcomes(rows)
    assert list(counts) == ["a", "b", "c", "retrained"]
    figure = figures.bar(counts)
    assert list(figure.data[0].y) == ["After A", "After B", "After C", "Retrained"]
    assert "after C 3 forgotten" in figure.layout.title.text
    drawn = figures.dots(overview.shares(runs)["exact"], "exact")
    marks = {trace.name: trace.marker.symbol for trace in drawn.data}
    assert marks == {
        **{"original": "star", "after A": "circle", "after B": "circle", "after C": "square"},
        "retrained": "diamond",
    }


def test_a_further_run_on_other_rows_shares_none(store):
    first, other = seed_run(store), seed_run(store)
    kept = [sample | {"answer": " another"} for sample in other.samples()]
    (other.path / "samples.jsonl").unlink()
    for sample in kept:
        append_line(other.path / "samples.jsonl", sample)
    row = pair_samples([first, seed_run(store), other])[0]
    assert row["a"]
    assert row["b"]
    assert (row["c"], row["before_c"], row["verdict_c"]) == (None, None, "")


def test_the_bar_says_how_many_are_left_beside_the_retrained():
    kinds = ("forgotten", "not forgotten", "over-forgotten", "never known")
    counts = {
        "a": dict(zip(kinds, (31, 1, 8, 0), strict=True)),
        "retrained": dict(zip(kinds, (39, 1, 0, 0), strict=True)),
    }
    figure = figures.bar(counts)
    assert figure.layout.title.text == (
        "Of 40 answers to forget: 31 forgotten, 8 over-forgotten, 1 left; a retrained model has 1 left"
    )
    assert {bar.name: list(bar.x) for bar in figure.data} == {
        "forgotten": [31, 39], "over-forgotten": [8, 0], "left": [1, 1],
    }  # fmt: skip
    assert list(figure.data[0].y) == ["After", "Retrained"]
    assert list(figures.bar({"a": counts["a"], "b": counts["a"]}).data[0].y) == ["After A", "After B"]


def test_scores_have_their_intervals_and_the_number_of_rows(store):
    run = seed_run(store)
    for when, hits in (("before", 38), ("after", 2), ("retrained", 0)):
        scores = {"forget": {"n": 40, "exact": hits / 40}, "retain": {"n": 20, "exact": 1.0}}
        run.append("eval", when=when, scores=scores, intervals={"forget": {"exact": list(wilson(hits, 40))}})
    found = overview.shares([run])
    assert list(found) == ["exact"]
    forget, retain = found["exact"]
    assert (forget["title"], forget["n"], retain["n"]) == ("To forget", 40, 20)
    assert forget["points"]["a"] == (0.05, *wilson(2, 40))
    assert retain["points"]["a"] == (1.0, None, None)
    figure = figures.dots(found["exact"], "exact")
    assert figure.layout.title.text == (
        "Exact answers: to forget 95 % → 5 % (retrained 0 %); to keep 100 % → 100 % (retrained 100 %)"
    )
    after = next(trace for trace in figure.data if trace.name == "after")
    assert after.error_x.array[0] == pytest.approx(wilson(2, 40)[1] - 0.05)
    assert after.error_x.arrayminus[0] == pytest.approx(0.05 - wilson(2, 40)[0])
    assert after.error_x.array[1] == 0
    assert [trace.marker.symbol for trace in figure.data] == ["star", "circle", "diamond"]


def test_a_score_of_a_part_of_the_texts_has_the_number_of_that_part(store):
    run = store.create(config())
    told = {"general": {"n": 40, "exact": 26 / 27, "rougeL": 0.9}}
    for when in ("before", "after"):
        run.append("eval", when=when, scores=told, counts={"general": {"exact": 27}})
    found = overview.shares([run])
    assert [(row["role"], row["n"]) for row in found["exact"]] == [("general", 27)]
    assert [(row["role"], row["n"]) for row in found["rougeL"]] == [("general", 40)]


def test_texts_are_scored_by_what_texts_have(store):
    run = seed_run(store)
    for when in ("before", "after", "retrained"):
        run.append("eval", when=when, scores={"forget": {"n": 4, "memorised": 0.5, "accuracy": 0.7}})
    assert list(overview.shares([run])) == ["memorised", "accuracy"]


def test_likelihood_is_that_of_a_token_with_the_original_and_the_retrained(store):
    found = overview.likelihoods([seed_run(store), seed_run(store)])
    forget = found["forget"]
    assert forget["before"] == pytest.approx(math.exp(-0.05))
    assert forget["lines"]["a"][-1] == (20, pytest.approx(math.exp(-5.05)))
    assert forget["retrained"] == pytest.approx(math.exp(-5.05))
    assert forget["n"] == 2


def test_likelihood_is_a_mean_over_rows_as_on_the_runs_own_page(store):
    """exp(-0.05) and exp(-5.05): half their sum, and not exp(-2.55)."""
    run = seed_run(store)
    (run.path / "probes.jsonl").unlink()
    append_line(
        run.path / "probes.jsonl", {"step": 0, "items": [item("forget", 0, 0.0), item("forget", 1, 1.0)]}
    )
    (point,) = overview.likelihoods([run])["forget"]["lines"]["a"]
    assert point == (0, pytest.approx((math.exp(-0.05) + math.exp(-5.05)) / 2))


def test_the_recorded_background_is_of_the_same_model_and_rows_only(store):
    points = overview.recorded(seed_run(store))
    assert len(points) > 10
    assert {point["kind"] for point in points} == {"recorded"}
    assert all(0 <= point[role] <= 1 for point in points for role in ("forget", "retain"))
    assert overview.recorded(seed_run(store, data={"name": "authors", "requests": [1]})) == []
    assert overview.recorded(seed_run(store, model="smollm2")) == []
