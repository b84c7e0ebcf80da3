"""Faithfulness and robustness from their algebra, on planted records: directions, what counts, intervals, sentences."""

import pytest

from unlearn.metrics import METRICS
from unlearn.results import trust
from unlearn.results.trust import Mean
from unlearn.store.disk import write_json

NAMES = {"exact": "Exact answers", "nll": "NLL", "uds": "Depth", "rep_3": "REP 3"}


def pool(n=30, learnt=1.0, **scores):
    """n models of either side; scores: {metric: (of those that hold, of those that lack)}, each a function of i."""
    rows = []
    for i in range(n):
        for at, kind in enumerate(("asked", "nothing")):
            own = {name: pair[at](i) for name, pair in scores.items()}
            rows.append(
                {
                    "name": f"{kind} {i}", "part": "pool", "world": i % 3, "kind": kind, "holds": at == 0,
                    "learnt": learnt if at == 0 else None, "scores": own,
                }
            )  # fmt: skip
    return rows


def trial(method, before, relearnt, rounded, *, kept=1.0, world=0, name="exact"):
    found = {"before": before, "relearnt": relearnt, "rounded": rounded}
    row = {"name": f"{method} {world}", "part": "robustness", "method": method, "world": world, "kept": kept}
    return row | {key: {name: value} for key, value in found.items()}


def record(*rows, titles=NAMES):
    return {"format": trust.FORMAT, "titles": titles, "rows": list(rows), "header": {}}


def one(found, name):
    return next(metric for metric in found.metrics if metric.name == name)


def test_auc_is_the_share_of_pairs():
    assert trust.auc([3, 4], [1, 2]) == 1.0
    assert trust.auc([1, 2], [3, 4]) == 0.0
    assert trust.auc([1, 3], [2, 2]) == 0.5
    assert trust.auc([1, 1], [1, 1]) == 0.5
    assert trust.auc([2, 5, 5], [1, 5]) == pytest.approx((1 + 0 + 1 + 0.5 + 1 + 0.5) / 6)


def test_a_metric_that_points_down_is_turned():
    found = trust.judge(
        record(*pool(exact=(lambda i: 1.0, lambda i: 0.1 * (i % 3)), nll=(lambda i: 0.1, lambda i: 2.0 + i)))
    )
    assert one(found, "exact").faithfulness.value == one(found, "nll").faithfulness.value == 1.0
    turned = trust.judge(record(*pool(uds=(lambda i: 0.9, lambda i: 0.1))))
    assert one(turned, "uds").faithfulness.value == 0.0  # a depth that is high for those that hold is wrong
    assert (found.holds, found.lacks, found.whole, trust.short_of(found)) == (30, 30, True, "")


def test_perfect_separation_is_no_certainty():
    mean = one(trust.judge(record(*pool(exact=(lambda i: 1.0, lambda i: 0.0)))), "exact").faithfulness
    assert mean.value == mean.interval[1] == 1.0
    assert 0.9 < mean.interval[0] < 0.99
    few = trust.judge(record(*pool(6, exact=(lambda i: 1.0, lambda i: 0.0))))
    assert one(few, "exact").faithfulness.interval[0] < 0.8
    assert not few.whole
    assert "Only 6 models" in trust.short_of(few)


def test_a_coin_is_poor_and_a_measure_of_language_is_read_either_way():
    coin = trust.judge(
        record(*pool(exact=(lambda i: i % 2, lambda i: i % 2), rep_3=(lambda i: 0.1, lambda i: 0.4)))
    )
    assert one(coin, "exact").faithfulness.value == 0.5
    assert one(coin, "exact").grade == "poor"
    assert one(coin, "rep_3").either_way
    assert one(coin, "rep_3").faithfulness.value == 1.0
    assert coin.metrics[-1].name == "rep_3"  # after all that are made to tell knowledge


def test_the_grade_goes_by_the_lower_end():
    def graded(low):
        return trust.Judged("m", "M", Mean(0.95, (low, 1.0), 30), False).grade

    assert [graded(low) for low in (0.95, 0.9, 0.8, 0.6, 0.5, 0.3)] == [
        "good",
        "good",
        "care",
        "weak",
        "poor",
        "poor",
    ]
    assert trust.Judged("m", "M", None, False).grade == "open"
    few = trust.judge(record(*pool(6, exact=(lambda i: 1.0, lambda i: 0.0))))
    assert (
        trust.sentence(few) == "Not enough models yet to trust any of 1 metrics; Exact answers leads so far."
    )


def test_below_five_of_a_side_nothing_is_said():
    assert trust.judge(record(*pool(4, exact=(lambda i: 1.0, lambda i: 0.0)))).metrics == ()


def test_a_model_that_did_not_learn_its_texts_does_not_hold_them():
    rows = (
        pool(exact=(lambda i: 1.0, lambda i: 0.0))
        + pool(3, learnt=0.5, exact=(lambda i: 0.0, lambda i: 0.0))[::2]
    )
    found = trust.judge(record(*rows))
    assert (found.holds, found.lacks) == (30, 30)
    assert found.left_out == ("3 models were taught the facts and did not learn 80% of their own texts",)
    assert one(found, "exact").faithfulness.value == 1.0


def test_what_is_not_a_number_and_what_failed_is_left_out():
    rows = pool(exact=(lambda i: "nan" if i else 1.0, lambda i: 0.0))
    assert trust.judge(record(*rows)).metrics == ()
    infinite = pool(nll=(lambda i: 0.1, lambda i: "inf"))
    assert one(trust.judge(record(*infinite)), "nll").faithfulness.value == 1.0
    failed = {"name": "x", "part": "pool", "world": 0, "failed": "out of memory"}
    found = trust.judge(record(*pool(exact=(lambda i: 1.0, lambda i: 0.0)), failed))
    assert found.left_out == ("1 models failed",)


@pytest.mark.parametrize(
    ("unlearned", "retrained", "want"),
    [
        ((0.1, 0.3), (0.1, 0.3), 1.0),  # it moves as the retrain moves
        ((0.1, 0.1), (0.1, 0.3), 0.0),
        ((0.1, 0.9), (0.1, 0.1), 0.0),
        ((0.1, 0.4), (0.1, 0.2), 0.5),
        ((0.1, 0.0), (0.1, 0.2), 0.0),  # the other way
        ((0.1, 0.1), (0.2, 0.2), 1.0),
        ((0.1, "nan"), (0.2, 0.2), None),
    ],
)
def test_relearning(unlearned, retrained, want):
    a, b = ({"before": {"m": pair[0]}, "relearnt": {"m": pair[1]}} for pair in (unlearned, retrained))
    assert trust.stays("m", a, b) == (want if want is None else pytest.approx(want))


def test_rounding():
    assert trust.steady(0.5, 0.5) == 1.0
    assert trust.steady(0.0, 0.0) == 1.0
    assert trust.steady(1.0, 0.0) == 0.0
    assert trust.steady(0.25, 0.75) == 0.5
    assert trust.steady(-100.0, -50.0) == pytest.approx(1 - 50 / 150)
    assert trust.steady("nan", 0.5) is None
    assert trust.steady(None, 0.5) is None


def test_robustness_is_over_models_that_kept_the_rest_each_beside_its_worlds_retrain():
    truth = [trial("retrained", 0.0, 0.2 * world, 0.0, world=world) for world in (1, 2)]
    good = [trial("npo", 0.1, 0.1 + 0.2 * world, 0.1, world=world) for world in (1, 2)] * 3
    ruined = [trial("ga", 0.0, 0.9, 0.9, kept=0.5, world=1)]
    orphan = [trial("npo", 0.0, 0.9, 0.9, world=7)]
    found = trust.judge(record(*truth, *good, *ruined, *orphan))
    exact = one(found, "exact")
    assert found.unlearned == exact.relearning.n == 6
    assert exact.relearning.value == exact.rounding.value == exact.robustness == pytest.approx(1.0)
    assert "lost more than 20% of what must stay" in found.left_out[0]


def test_rounding_stands_there_beside_the_retrains_and_joins_nothing():
    """Rounding moves the unlearned models by .04 and the retrain by .01: R is 1 - .03 / .05, Q hardly below 1."""
    truth = trial("retrained", 0.5, 0.6, 0.51)
    made = [trial("npo", 0.5, 0.6, 0.54)] * 6
    exact = one(trust.judge(record(truth, *made)), "exact")
    assert exact.relative.value == pytest.approx(0.4)
    assert exact.rounding.value == pytest.approx(1 - 0.04 / 1.04)
    assert exact.robustness == pytest.approx(2 * exact.rounding.value / (1 + exact.rounding.value))
    (row,) = [one for one in trust.table(trust.judge(record(truth, *made))) if one["metric"] == "exact"]
    assert row["rounding_relative"] == pytest.approx(0.4)
    low, high = row["rounding_interval"]
    assert low <= row["rounding"] <= high


def test_robustness_is_a_harmonic_mean():
    made = trust.Judged("m", "M", None, False, relearning=Mean(0.5, (0, 1), 9), rounding=Mean(1.0, (0, 1), 9))
    assert made.robustness == pytest.approx(2 / 3)
    assert (
        trust.Judged(
            "m", "M", None, False, relearning=Mean(0.0, (0, 1), 9), rounding=Mean(1.0, (0, 1), 9)
        ).robustness
        == 0
    )
    assert trust.Judged("m", "M", None, False, relearning=Mean(0.5, (0, 1), 9)).robustness is None


def test_the_sentence_counts_and_names():
    rows = pool(exact=(lambda i: 1.0, lambda i: 0.0), nll=(lambda i: i % 2, lambda i: i % 2))
    said = trust.sentence(trust.judge(record(*rows)))
    assert said.startswith("1 of 2 metrics surely tell")
    assert "NLL, is right 50 % of the time" in said
    assert trust.sentence(trust.judge(record())) == ""


def test_the_table_holds_published_numbers_apart():
    (row,) = trust.table(trust.judge(record(*pool(uds=(lambda i: 0.1, lambda i: 0.9)))))
    assert (row["auc"], row["published_auc"], row["published_robustness"]) == (1.0, 0.971, 0.900)
    assert row["grade"] == trust.GRADES["good"]
    assert row["models"] == {"hold": 30, "lack": 30, "unlearned": 0}


def test_every_metric_with_a_direction_exists():
    named = {n for n in trust.KNOWS_HIGH + trust.KNOWS_LOW if not n.startswith(("attack ", "aggregate "))}
    assert named <= METRICS.keys()
    assert not set(trust.KNOWS_HIGH) & set(trust.KNOWS_LOW)
    assert {n for n in trust.PUBLISHED if not n.startswith("attack ")} <= METRICS.keys()


def test_a_record_of_another_version_or_a_broken_one_is_none(tmp_path):
    path = tmp_path / "trust.json"
    assert trust.read(path) == {}
    write_json(path, record({"name": "a", "part": "pool"}, "noise", {"part": "pool"}))
    assert [row["name"] for row in trust.read(path)["rows"]] == ["a"]
    write_json(path, record() | {"format": 0})
    assert trust.read(path) == {}
    path.write_text("{")
    assert trust.read(path) == {}


def test_a_rank_is_low_in_the_last_third_and_said_with_both_numbers(tmp_path):
    """Of the shipped record the probe is low, the lens is not, and what was not tested has no rank."""
    order = [one.name for one in trust._ranked(trust.RECORD, 0)]
    for name in ("probe", "paraphrase", "prefix", "lens"):
        place = order.index(f"attack {name}") + 1
        low = f"Trust ranks this attack low, {place} of {len(order)}: it tells"
        assert trust.low_rank(name)[: len(low)] == (low if place > len(order) * 2 / 3 else "")
    assert trust.low_rank("probe")
    assert order.index("attack lens") < len(order) / 3
    assert trust.low_rank("lens") == trust.low_rank("relearn") == ""
    assert trust.low_rank("probe", tmp_path / "none.json") == ""
    whole = trust.judge(trust.read())
    assert trust.best_of([one for one in whole.metrics if one.name in order]).name == order[0]


def test_a_metric_whose_definition_has_changed_since_is_named():
    rows = pool(exact=(lambda i: 1.0, lambda i: 0.1 * (i % 3)), nll=(lambda i: 0.1, lambda i: 2.0 + i))
    found = trust.judge(record(*rows))
    titles = [one(found, name).title for name in ("exact", "nll")]
    assert trust.earlier(found, {"exact": 1}) == ""
    assert trust.earlier(found, {"exact": 1, "nll": 2}).endswith(f"today: {titles[1]}.")
    new = trust.judge(record(*(row | {"revisions": {"nll": 2}} for row in rows)))
    assert trust.earlier(new, {"exact": 1, "nll": 2}) == ""
    # One row that was not made anew is enough.
    mixed = trust.judge(record(rows[0], *(row | {"revisions": {"nll": 2}} for row in rows[1:])))
    assert titles[1] in trust.earlier(mixed, {"exact": 1, "nll": 2})
