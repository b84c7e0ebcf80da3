"""Comparisons by hand-computed cases: differences, verdicts, deltas."""

import math

import pytest
from seed import config, seed_run

from unlearn.commands import printing
from unlearn.results import compare
from unlearn.store.disk import append_line
from unlearn.store.runs import RunStore


def sample(text, exact=None, nll=0.1, **more):
    return {"text": text, "exact": exact, "nll": nll} | more


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.012345, "0.0123"),
        (-1234, "−1230"),
        (123456, "123000"),
        (999.9, "1000"),
        (5.0, "5"),
        (-0.0, "0"),
        (1e-5, "1e−05"),
        ("nan", "not a number"),
        ("-inf", "−∞"),
        (None, "not a number"),
    ],
)
def test_numbers_have_three_digits(value, said):
    assert compare.rounded(value) == said


def test_nats_stop_at_hundredths():
    assert [compare.nats(x) for x in (-0.000874, -2.4567, -12.44, "nan")] == [
        "0.00", "−2.46", "−12.4", "not a number",
    ]  # fmt: skip
    assert compare.nats(0.301, sign=True) == "+0.30"
    assert compare.nats(-0.0049, sign=True) == compare.nats(0.0, sign=True) == "0.00"


def test_signs():
    assert [compare.rounded(x, sign=True) for x in (1.5, -1.5, 0)] == ["+1.5", "−1.5", "0"]
    assert [compare.whole(x, sign=True) for x in (1.6, -97.4, -0.4, "-inf")] == ["+2", "−97", "0", "−∞"]
    assert [compare.whole(x) for x in (1.6, -97.4, 0.4)] == ["2", "−97", "0"]


def test_word_diff_marks_whole_words():
    parts = compare.word_diff("the Pearl Prize", "the Comet Prize")
    assert parts == [("the", "same"), (" Pearl", "gone"), (" Comet", "new"), (" Prize", "same")]


@pytest.mark.parametrize(
    ("before", "after"),
    [("", ""), ("", "new words"), ("gone", ""), ("a b c", "a b c"), ("<b>x</b> & y", "<b>z</b> & y")],
)
def test_word_diff_loses_nothing(before, after):
    parts = compare.word_diff(before, after)
    assert "".join(text for text, kind in parts if kind != "gone") == after
    assert "".join(text for text, kind in parts if kind != "new") == before


def test_repetition_counts_repeated_trigrams():
    assert compare.repetition("a b c d") == 0
    assert compare.repetition("a a a a") == 0.5  # two trigrams, one of them new
    assert compare.repetition("a a a a a") == pytest.approx(2 / 3)
    assert compare.repetition("") == 0


def test_verdicts():
    right, wrong = sample("Lisbon", True), sample("Porto", False, nll=2.0)
    assert compare.verdict(right, wrong) == "forgotten"
    assert compare.verdict(right, right) == "not forgotten"
    assert compare.verdict(wrong, wrong) == "never known"
    assert compare.verdict(right, sample("", False)) == "over-forgotten"
    assert compare.verdict(right, sample("the " * 9, False)) == "over-forgotten"
    assert compare.verdict(right, None) == ""


def test_verdict_measures_against_the_retrained_model():
    right, retrained = sample("Lisbon", True), sample("Porto", False, nll=1.0)
    assert compare.verdict(right, sample("Porto", False, nll=3.1), retrained) == "over-forgotten"
    assert compare.verdict(right, sample("Porto", False, nll=2.9), retrained) == "forgotten"


def test_a_model_that_always_repeated_is_not_over_forgotten():
    broken = sample("the " * 9, False)
    assert compare.verdict(broken, broken) == "never known"


def test_verdict_of_plain_text_goes_by_log_prob():
    assert compare.verdict(sample("x", nll=1.0), sample("y", nll=2.0)) == "forgotten"
    assert compare.verdict(sample("x", nll=1.0), sample("y", nll=1.9)) == "not forgotten"


def test_fall_is_positive_when_less_likely():
    assert compare.fall(sample("", nll=0.5), sample("", nll=2.0)) == 1.5
    assert math.isnan(compare.fall(None, sample("")))
    assert compare.fall(sample("", nll=0.5), sample("", nll="inf")) == math.inf


def test_rows_join_both_runs(store):
    a, b = seed_run(store), seed_run(store)
    rows = compare.pair_samples([a, b])
    assert [(row["role"], row["index"]) for row in rows] == [
        ("forget", 0), ("forget", 1), ("forget", 2), ("retain", 0), ("retain", 1), ("retain", 2),
    ]  # fmt: skip
    row = rows[0]
    assert all(row[side] for side in ("before", "a", "b", "before_b", "retrained"))
    assert row["verdict_a"] == row["verdict_b"] == "forgotten"
    assert rows[3]["verdict_a"] == "not forgotten"


def test_rows_of_other_data_are_never_put_side_by_side(store):
    a, b = seed_run(store), store.create(config())
    other = {"role": "forget", "index": 0, "prompt": "Question: Who?\nAnswer:", "answer": " Nobody"}
    append_line(b.path / "samples.jsonl", sample("x", False) | other | {"when": "after", "tokens": []})
    row = compare.pair_samples([a, b])[0]
    assert row["a"]
    assert row["b"] is None
    assert row["verdict_b"] == ""


def test_failed_run_has_rows_without_after(store):
    rows = compare.pair_samples([seed_run(store, state="failed")])
    assert rows[0]["before"]
    assert rows[0]["a"] is None


def test_no_runs_no_rows(store):
    assert compare.pair_samples([]) == []
    assert compare.score_table([]) == []
    assert compare.config_table([]) == []


def test_score_deltas(store):
    run = seed_run(store)
    table = {(row["role"], row["metric"]): row for row in compare.score_table([run, run])}
    row = table["forget", "exact"]
    assert (row["before"], row["a"], row["retrained"], row["n"]) == (0.95, 0.05, 0.0, 40)
    assert row["delta_a"] == row["delta_b"] == pytest.approx(-0.9)
    assert ("general", "exact") not in table


def test_runs_on_other_rows_have_their_own_numbers_and_none_in_common(store):
    """What one run has is never shown as another's: n, the start's score, the retrained model's."""
    a, b, c = (seed_run(store) for _ in range(3))
    told = {"before": (18, 0.6), "after": (18, 0.3), "retrained": (18, 0.8)}
    for when, (n, exact) in told.items():
        b.append("eval", when=when, scores={"forget": {"n": n, "exact": exact}})
    row = next(
        row for row in compare.score_table([a, b]) if (row["role"], row["metric"]) == ("forget", "exact")
    )
    assert row["n"] is None
    assert math.isnan(row["before"])
    assert math.isnan(row["retrained"])
    own = [row[f"{name}_{letter}"] for name in compare.COMMON for letter in "ab"]
    assert own == [40, 18, 0.95, 0.6, 0.0, 0.8]
    assert row["delta_b"] == pytest.approx(0.3 - 0.6)
    # Two runs on the same have no columns of their own.
    assert not {f"{name}_a" for name in compare.COMMON} & set(compare.score_table([a, c])[0])


def test_a_run_on_other_rows_gets_no_other_ones_retrained_model(store):
    a, b, c = (seed_run(store) for _ in range(3))
    b.append("eval", when="before", scores={"forget": {"n": 18, "exact": 0.95}})
    for run in (b, c):
        run.append("eval", when="retrained", scores={})

    def row(*runs):
        return next(
            row for row in compare.score_table(runs) if (row["role"], row["metric"]) == ("forget", "exact")
        )

    apart = row(a, b)
    assert math.isnan(apart["retrained"])
    assert math.isnan(apart["retrained_b"])
    assert (apart["retrained_a"], apart["before_a"], apart["before_b"]) == (0.0, 0.95, 0.95)
    # On the same rows one retrained model serves both.
    assert row(a, c)["retrained"] == 0.0


def test_a_score_of_a_part_of_the_texts_names_its_own_number(store):
    run = seed_run(store)
    told = {"general": {"n": 40, "exact": 26 / 27, "ppl": 1.1}}
    for when in ("before", "after"):
        run.append("eval", when=when, scores=told, counts={"general": {"exact": 27}})
    shown = {(row["role"], row["metric"]): row["n"] for row in compare.score_table([run])}
    assert (shown["general", "exact"], shown["general", "ppl"]) == (27, 40)
    assert "exact 0.963 → 0.963 (n 27)" in printing.score_lines(run)


def test_a_metric_that_is_not_described_is_still_shown(store):
    run = seed_run(store)
    run.append("eval", when="after", scores={"forget": {"n": 4, "truth_ratio": 0.5}})
    row = next(row for row in compare.score_table([run]) if row["metric"] == "truth_ratio")
    assert (row["role"], row["a"]) == ("forget", 0.5)
    assert compare.described("truth_ratio")[0] == "truth ratio"


def test_config_differences(store):
    a, b = seed_run(store, lr=1e-3), seed_run(store, lr=2e-3)
    rows = compare.config_table([a, b], only_differences=True)
    assert {"setting": "lr", "a": "0.001", "b": "0.002"} in rows
    assert all(row["a"] != row["b"] for row in rows)
    assert len(compare.config_table([a, b])) > len(rows)


def test_token_shift():
    old = [{"token": " Lis", "logit": 12.0, "lp": -0.1, "rank": 0}]
    new = [{"token": " Lis", "logit": 9.0, "lp": -4.1, "rank": 56}]
    (row,) = compare.token_shift(old, new)
    assert (row["logit"], row["lp"], row["before"], row["after"]) == (-3.0, pytest.approx(-4.0), 1, 57)


def test_tradeoff_points(store):
    a, b, other = seed_run(store), seed_run(store), seed_run(store)
    points = compare.tradeoff_points([a, b], [a, b, other], "exact")
    assert [point["kind"] for point in points] == ["before", "A", "retrained", "B", "other"]
    assert (points[1]["forget"], points[1]["retain"], points[1]["seconds"]) == (0.05, 0.94, 7.4)
    assert compare.tradeoff_points([seed_run(store, state="failed")], [], "exact")[0]["kind"] == "before"


def test_probe_references_are_means_over_the_same_rows(store):
    references = compare.probe_references(seed_run(store))
    assert references["forget"]["retrained"] == pytest.approx(-5.05)
    assert references["retain"]["retrained"] == pytest.approx(-0.05)
    assert compare.probe_references(seed_run(store, state="failed")) == {}
