"""The claims' helpers against arithmetic done by hand, and the figures and words that a finding's sentence holds."""

import math
from types import SimpleNamespace

import pytest
from planted_claims import SEEDS, a1, a2, a3, a4, a5, b1, b3, b5, c1, c2, c3, of_seven

from unlearn.claims import CLAIMS
from unlearn.metrics.base import Observation

LN2 = math.log(2)


def judged(key, data):
    return CLAIMS[key].judge(data)


def observation(*lps):
    return Observation("forget", 0, "", "", "", "", tuple({"lp": lp} for lp in lps))


def clock(*times):
    """A stand-in for the module time: what process_time says, one value a call."""
    told = iter(times)
    return SimpleNamespace(process_time=lambda: next(told))


class Asked:
    """A lab that has nothing: what it was asked for, and computes it."""

    def __init__(self):
        self.what = {}
        self.hashes = {"before": "x"}

    def once(self, what, compute):
        self.what = what
        return compute()


# -- A -------------------------------------------------------------------------------------------------------------


def a1_runs():
    """1,000 tokens of training at 2 ms each: 2 s. The run that failed must not count."""
    runs = [
        {"method": "ga", "seed": 0, "state": "done", "tokens": 100, "seconds": 0.5},
        {"method": "gd", "seed": 0, "state": "done", "tokens": 200, "seconds": 0.25},
        {"method": "ga", "seed": 0, "state": "failed", "tokens": 1, "seconds": 1.0},
    ]
    return {"seeds": [0], "runs": runs, "recipe": {"tokens": 1000, "seconds_per_token": 0.002}}


def test_a1_ratios_are_of_runs_that_ended():
    from unlearn.claims.a1 import points

    assert points(a1_runs()) == [(10.0, 4.0), (5.0, 8.0)]
    assert points(a1_runs(), "ga") == [(10.0, 4.0)]


def test_a1_slope_by_hand():
    """Token ratios 10, 100, 1000, ratios of seconds 10, 1000, 100: on log axes ((-1)(-1) + 0 + (1)(0)) / 2."""
    from unlearn.claims.a1 import slopes_of

    place = {"method": "ga", "seed": 0, "state": "done"}
    runs = [place | {"tokens": 10**t, "seconds": s} for t, s in ((5, 100.0), (4, 1.0), (3, 10.0))]
    runs.append(place | {"state": "failed", "tokens": 10, "seconds": 1e9})
    alike = [{"method": "gd", "seed": 0, "state": "done", "tokens": 10, "seconds": s} for s in (1.0, 2.0)]
    broken = [{"method": "npo", "seed": 0, "state": "failed", "tokens": 10, "seconds": 1.0}]
    data = {"recipe": {"tokens": 1e6, "seconds_per_token": 1e-3}, "runs": [*broken, *alike, *runs]}
    assert slopes_of(data) == [pytest.approx(0.5)]  # none from runs of one size, none where every run failed


def test_a1_method_that_never_ended_leaves_the_verdict():
    data = a1((1.0, 1.02, 0.98))
    data["runs"] += [run | {"method": "npo", "state": "failed"} for run in data["runs"][:3]]
    assert judged("A1", data).verdict == "confirmed"


def test_a1_seconds_of_the_recipe_are_those_of_its_steps(monkeypatch):
    """Step 1 pays for what is done once: the clock starts at its end (5 s) and stops at the third (11 s); 40 tokens."""
    from unlearn.claims import a1
    from unlearn.models import recipe

    pulled = []

    def steps(model, texts, loss):
        for step in range(1, 9):
            pulled.append(step)
            yield SimpleNamespace(step=step, tokens=10 * step if step < 3 else 20)

    tokenizer = SimpleNamespace(pad_token_id=0)
    loaded = SimpleNamespace(model=None, tokenizer=tokenizer, base="tiny-authors")
    monkeypatch.setattr(a1, "bundled", lambda: loaded)
    monkeypatch.setattr(recipe, "encode", lambda rows, tokenizer: [])
    monkeypatch.setattr(recipe, "restart", lambda model: None)
    monkeypatch.setattr(recipe, "loss_of", lambda model, pad: None)
    monkeypatch.setattr(recipe, "steps", steps)
    monkeypatch.setattr(a1, "RECIPE_STEPS", 2)
    monkeypatch.setattr(a1, "time", clock(5.0, 11.0))
    made = a1.recipe(Asked())
    assert made["seconds_per_token"] == pytest.approx(6 / 40)
    assert pulled == [1, 2, 3]
    assert made["tokens"] > 1000


def test_a2_cell_is_kept_with_its_ratios():
    from unlearn.claims.a2 import stored
    from unlearn.results.grid import Cell

    before = {"approximate": {"ppl": 12.0}, "retain": {"ppl": 2.0}, "general": {"ppl": 4.0}}
    after = {"forget": {"ppl": 30.0}, "retain": {"ppl": 2.1}, "general": {"ppl": 5.0}}
    place = {"method": "gd", "lr": 1e-3, "epochs": 3, "batch_size": 9, "seed": 0}
    kept = stored("gd-id", Cell(**place, scores={"before": before, "after": after}))
    assert (kept["method"], kept["lr"], kept["seed"]) == ("gd-id", 1e-3, 0)
    assert kept["forget"] == 30 / 12
    assert kept["rise"] == {"retain": 1.05, "general": 1.25}
    assert (kept["reached"], kept["good"]) == (True, False)  # general rose by a quarter
    # General texts that the model never says are not read.
    before["general"] = {"ppl": 1001.0}
    kept = stored("gd-id", Cell(**place, scores={"before": before, "after": after}))
    assert (kept["rise"], kept["good"]) == ({"retain": 1.05}, True)


def test_a2_width_is_read_between_the_rates():
    """Forgetting passes 1 half-way from 10⁻⁴ to 10⁻³ (0.1 → 10), the rest is lost half-way from 10⁻³ to 10⁻²."""
    from unlearn.claims.a2 import crossing, width

    def cell(lr, forget, retain):
        return {"lr": lr, "forget": forget, "rise": {"retain": retain, "general": 1.0}}

    cells = [cell(1e-2, 90.0, 4.0), cell(1e-4, 0.1, 1.0), cell(1e-3, 10.0, 1.0)]
    assert width(cells, 1.0, 2.0) == pytest.approx(1.0)
    assert width(cells, 1.0, 5.0) == pytest.approx(1.5)  # it ends with the grid
    assert width(cells, 100.0, 2.0) == 0.0  # never forgotten
    assert width([cell(1e-4, 0.1, 9.0), cell(1e-3, 10.0, 10.0)], 1.0, 2.0) == 0.0  # lost before it forgets
    diverged = [cell(1e-4, 2.0, 1.0), cell(1e-3, "inf", "inf")]
    assert width(diverged, 1.0, 2.0) == pytest.approx(1.0)
    assert crossing([0.0, 1.0], [5.0, 6.0], 1.0) == 0.0
    assert crossing([0.0, 1.0], [0.0, 0.5], 1.0) is None


def test_a2_is_refuted_by_a_rival_that_is_as_wide_and_confirmed_by_all_six_alone():
    ours = (0.5, 0.55, 0.51)
    same = a2(of_seven(ours, kl_id=(0.505, 0.55, 0.507)))
    found = judged("A2", same)
    assert found.verdict == "refuted"
    assert "GA+KL, in-distribution is as wide" in found.sentence
    few = a2({k: v for k, v in of_seven(ours).items() if k in ("gd-id", "ga", "kl-id", "kl-general")})
    assert judged("A2", few).verdict == "undecided"
    assert judged("A2", a2(of_seven(ours))).verdict == "confirmed"


def test_a3_gaps_and_orders_by_hand():
    """Distances of 1, 6, 14 to a target of 6 rank 5, 12, 20 the same; to a truth of 19 they rank 14, 7, 1."""
    from unlearn.claims.a3 import pooled, singles, taus, untouched

    methods = {"a": 5.0, "b": 12.0, "c": 20.0}
    turns = [{"target": 6.0, "truth": 19.0, "before": 1.9}, {"target": 12.0, "truth": 8.0, "before": 0.8}]
    worlds = [
        {"first": turns[0], "second": turns[1], "methods": methods},
        {"first": turns[1], "second": turns[0], "methods": methods},  # 7, 0, 8 and 3, 4, 12
    ]
    data = {"worlds": worlds}
    low, high = math.log(6 / 19), math.log(12 / 8)
    assert pooled(data) == pytest.approx([(low + high) / 2] * 2)
    assert singles(data) == pytest.approx([(high - low) / 2] * 2)
    assert untouched(data) == pytest.approx([math.log(0.1)] * 2)
    assert taus(data) == pytest.approx([-1.0, 1 / 3])


def test_a3_says_the_sign_and_the_bundled_models_gap():
    """8 stands for 10: a fifth too low. On the bundled model 10.7 for 11.3: 0.6 / 11.3."""
    said = judged("A3", a3((7.9, 8.0, 8.1))).sentence
    assert "off by -20 %" in said
    assert "On the bundled model the gap is -5.3 %" in said


def test_a3_one_order_in_every_world_counts_as_a_share():
    """Tau is 1 in each of ten worlds: no spread, and yet ten of ten. Three of three are too few."""
    data = a3((9.8, 9.9, 10.1), (1.0, 3.0, 6.0, 40.0, 90.0))
    assert judged("A3", data).verdict == "undecided"
    more = [one | {"seed": 3 * i + one["seed"]} for i in range(4) for one in data["worlds"]]
    assert judged("A3", data | {"worlds": more, "seeds": list(range(12))}).verdict == "confirmed"


def test_a4_auc_is_read_where_forgetting_is_matched():
    """From perplexity 2 to 8 the target 4 is half-way on a logarithmic scale."""
    from unlearn.claims.a4 import matched

    path = [
        {"ppl": 1.0, "auc": 1.0},
        {"ppl": 2.0, "auc": 0.8},
        {"ppl": 8.0, "auc": 0.4},
        {"ppl": 4.5, "auc": 0.1},
    ]
    assert matched(path, 4.0) == pytest.approx(0.6)
    assert math.isnan(matched(path, 9.0))
    assert matched([path[1], {"ppl": "inf", "auc": 0.3}], 4.0) == pytest.approx(0.3)
    assert judged("A4", a4((0.5, 0.52, 0.48), ga=(0.6, 0.62, 0.61))).verdict == "refuted"


def test_a4_says_on_how_many_draws_forgetting_is_not_matched():
    """What no draw's curve reaches is said as such, and not as a number that there is none of."""
    data = a4((0.5, 0.52, 0.48))
    (run,) = [one for one in data["runs"] if (one["method"], one["seed"]) == ("gd", 1)]
    runs = [one | {"target": 1e9} if one is run else one for one in data["runs"]]
    found = judged("A4", data | {"runs": runs})
    assert found.verdict == "undecided"
    assert "never passes the target on 1 of 3 draws" in found.sentence
    assert "not a number" not in found.sentence


def test_a4_members_are_the_forget_texts():
    """The one pair of lowest log-probs that is the wrong way round, of four: AUC 3/4. A nan is no number."""
    from unlearn.claims.a4 import leak

    seen = {
        "forget": [observation(-0.1), observation(-2.0)],
        "approximate": [observation(-1.0), observation(-3.0)],
    }
    assert leak(seen, None, None)["auc"] == 0.75
    assert leak(seen | {"forget": [observation(math.nan)]}, None, None) == {}


def test_a5_counts_the_draws_on_which_the_guide_works():
    from unlearn.claims.a5 import works

    (row, *_) = a5((0.05,) * 12)["followed"]
    assert works(row)
    assert not any(
        works(row | one) for one in ({"taken": False}, {"trials": 5}, {"regret": 0.1}, {"regret": "nan"})
    )
    assert not works(row | {"choice": row["choice"] | {"rise": {"general": 2.5}}})
    assert not works(row | {"choice": row["choice"] | {"rise": {"retain": 2.5}}})
    assert works(row | {"choice": row["choice"] | {"rise": {"retain": 1.5}}})
    # The same outcome on every draw decides: 12 of 12 lies above one half, 3 of 3 does not.
    assert judged("A5", a5((1.0,) * 12)).verdict == "refuted"
    assert "12 it takes nothing (said so)" in judged("A5", a5((1.0,) * 12)).sentence
    assert judged("A5", a5((1.0,) * 3)).verdict == "undecided"
    # A draw on which the grid has no cell at reached forgetting has no regret.
    (first, *rest) = a5((0.05,) * 3)["followed"]
    bare = a5((0.05,) * 3) | {"followed": [first | {"regret": "nan", "regret_once": "nan"}, *rest]}
    said = judged("A5", bare).sentence
    assert "regret is not defined, since no cell of the grid reaches the target on 1 of 3 draws" in said
    assert "not a number" not in said


def test_most_and_there_have_complements():
    from unlearn.claims.base import Interval, most, there

    assert [most(hits, 12) for hits in (0, 2, 6, 10, 12)] == ["no", "no", "open", "yes", "yes"]
    assert most(3, 2 + 1) == "open"

    def at(low, high):
        return there(Interval((low + high) / 2, low, high, 1.0, 5), 0.1)

    assert [at(0.05, 0.3), at(0.02, 0.08), at(-0.05, 0.08), at(-0.05, 0.2)] == [
        "yes",
        "between",
        "no",
        "open",
    ]


# -- B -------------------------------------------------------------------------------------------------------------


def test_b1_rise_is_a_decade_a_factor_of_ten():
    from unlearn.claims.b1 import _logs, rise

    def data(*general):
        runs = [{"method": "ga", "lr": 1.0, "general": g, "forget": g} for g in general]
        return {"before": {"general": 2.0}, "runs": [*runs, {"method": "ga", "lr": 2.0, "general": 1e9}]}

    assert rise(data(20.0, 200.0, 2000.0), "ga", 1.0).mean == pytest.approx(2.0)
    assert _logs(data(10.0, 100.0, 1000.0), "ga", 1.0, "forget").mean == pytest.approx(2.0)
    for broken in (0.0, -1.0, math.inf, "inf", math.nan):
        assert not rise(data(20.0, 20.0, 20.0, broken), "ga", 1.0).decides
        assert not _logs(data(20.0, 20.0, 20.0, broken), "ga", 1.0, "forget").decides


def test_b1_reads_language_where_the_record_says():
    """General texts that the model never said fall by a hundred times while what must stay rises by a hundred."""
    from unlearn.claims.b1 import rise

    run = {"method": "ga", "lr": 1.0, "general": 20.0, "retain": 200.0}
    data = {"before": {"general": 2000.0, "retain": 2.0}, "runs": [run, run, run]}
    assert rise(data, "ga", 1.0).mean == pytest.approx(-2.0)
    assert rise(data | {"language": "retain"}, "ga", 1.0).mean == pytest.approx(2.0)
    turned = b1((1.2, 3.0))
    for one in (turned["before"], *turned["runs"]):
        one["retain"] = one.pop("general")
    said = judged("B1", turned | {"language": "retain"})
    assert said.verdict == "confirmed"
    assert "the original's perplexity on what must stay" in said.sentence
    assert "general" not in said.sentence
    chart = CLAIMS["B1"].chart(turned | {"language": "retain"})
    assert "General" not in chart.title


def test_b1_counts_the_rates_that_hold():
    """NPO at 36 times at both rates, ascent at 4.5 at one or both; UnDIAL at 1.1 and at 273."""
    said = judged("B1", b1((1.2, 300.0), ga=4.0)).sentence
    assert "at 1 of 2 rates (NPO 0, ascent 2)" in said
    assert "at 2 of 2 rates (NPO 0, ascent 1)" in judged("B1", b1((1.2, 3.0))).sentence


def test_b1_run_beyond_numbers_needs_the_seeds():
    for seeds, verdict in (((0, 1, 2), "refuted"), ((0, 1), "undecided")):
        data = b1((1.2, math.inf))
        data |= {"runs": [run for run in data["runs"] if run["seed"] in seeds], "seeds": list(seeds)}
        assert judged("B1", data).verdict == verdict


def test_b2_slope_and_utility_by_hand():
    """0.9, 0.5, 0.7 over three decades: ((-1)(0.2) + (0)(-0.2) + (1)(0)) / 2. Harmonic mean: 2 / (2 + 4)."""
    from unlearn.claims.b2 import slopes, utility

    runs = [
        {"method": "npo", "seed": 0, "share": share, "utility": left}
        for share, left in ((0.01, 0.9), (0.1, 0.5), (1.0, 0.7))
    ]
    other = [{"method": "npo", "seed": 1, "share": 0.1, "utility": 9.0}]
    assert slopes({"seeds": [0], "runs": runs + other}, "npo") == [pytest.approx(-0.1)]
    scores = {"retain": {"probability": 0.5}, "general": {"probability": 0.25}}
    assert utility(scores) == pytest.approx(1 / 3)
    assert utility(scores | {"general": {"probability": 0.0}}) == pytest.approx(2e-12)


def test_b3_summary_of_a_chain_by_hand():
    """Two of three requests done, at 0.2 and 0.4; harmonic mean of 1/2, 1/3, 1/4: 3 / 9."""
    from unlearn.claims.b3 import summary

    each = {"request 1": 0.2, "request 2": 0.9, "request 3": 0.4}
    roles = {"retain": 1 / 2, "general": 1 / 3, "neighbours": 1 / 4}
    scores = {name: {"probability": p, "ppl": 7.0} for name, p in (each | roles).items()}
    found = summary(scores, [3, 1, 2], 2, list(roles), "general")
    assert found["forget"] == pytest.approx(0.3)
    assert found["utility"] == pytest.approx(1 / 3)
    assert (found["general"], found["requests"]) == (7.0, {"3": 0.4, "1": 0.2, "2": 0.9})
    assert summary(scores, [3, 1, 2], 0, list(roles), "general")["forget"] is None


def test_b3_leaves_out_what_the_model_never_said():
    """Harmonic mean of 1/2 and 1/4, 2 / (2 + 4); language is read on what must stay."""
    from unlearn.claims.b3 import measured_on, rises, summary

    before = {"retain": {"ppl": 1.1}, "general": {"ppl": 1001.0}, "neighbours": {"ppl": 3.0}}
    assert measured_on(before) == (["retain", "neighbours"], "retain")
    assert measured_on(before | {"general": {"ppl": 1000.0}})[1] == "general"
    assert measured_on({"neighbours": {"ppl": 3.0}}) == (["neighbours"], "neighbours")
    assert measured_on({"retain": {"ppl": 2000.0}, "general": {"ppl": 3000.0}}) == (
        ["retain", "general"],
        "general",
    )
    scores = {"request 1": {"probability": 0.2}, "retain": {"probability": 0.5, "ppl": 9.0}}
    scores |= {"general": {"probability": 1e-9, "ppl": 7.0}, "neighbours": {"probability": 0.25, "ppl": 8.0}}
    found = summary(scores, [1], 1, ["retain", "neighbours"], "retain")
    assert found["utility"] == pytest.approx(1 / 3)
    assert found["retain"] == 9.0
    assert "general" not in found
    chain = {"method": "ga", "after": [{"general": 4.0, "retain": 2.0}, {"general": 2.0, "retain": 6.0}]}
    assert rises({"chains": [chain], "language": "retain"}, "ga", 1) == [3.0]
    assert rises({"chains": [chain]}, "ga", 1) == [0.5]
    data = b3() | {"language": "retain"}
    for one in data["chains"]:
        for point in one["after"]:
            point["retain"] = point.pop("general")
    said = judged("B3", data)
    assert said.verdict == "confirmed"
    assert "perplexity on what must stay" in said.sentence


def test_b3_chain_that_broke_off():
    """Two whole chains and one that ended after the first request."""
    from unlearn.claims.b3 import came_back, over, ratio, rises

    def point(forget, utility, general, **requests):
        each = {name.strip("_"): p for name, p in requests.items()}
        return {"forget": forget, "utility": utility, "general": general, "requests": each}

    whole = [
        point(None, 0.8, 2.0, _1=1.0, _2=1.0),
        point(0.1, 0.4, 3.0, _1=0.1, _2=1.0),
        point(0.3, 0.2, 8.0, _1=0.4, _2=0.2),
    ]
    chains = [{"method": "ga", "order": [1, 2], "after": after} for after in (whole, whole, whole[:2])]
    data = {"chains": [*chains, {"method": "gd", "order": [1], "after": whole[:1]}]}
    assert rises(data, "ga", 2) == [4.0, 4.0, math.inf]
    assert ratio(data, "ga", 2).mean == pytest.approx((0.25 + 0.25 + 0) / 3)
    assert over({"chains": chains[:2]}, "ga", 2, "forget").mean == pytest.approx(0.3)
    assert math.isnan(over(data, "ga", 2, "forget").mean)
    assert came_back(data, "ga")[:2] == pytest.approx([0.3, 0.3])  # the last request is not asked
    assert math.isnan(came_back(data, "ga")[2])


def test_b3_ascent_beyond_numbers_is_collapse_when_every_chain_is():
    for broken, verdict in ((3, "confirmed"), (2, "undecided")):
        data = b3()
        for chain in [c for c in data["chains"] if c["method"] == "ga"][:broken]:
            chain["after"][3]["general"] = "inf"
        assert judged("B3", data).verdict == verdict
    from unlearn.claims.b3 import _broken

    data["chains"] = [{"method": "ga", "after": [{"general": 1.0}]}] * 2
    assert not _broken(data, "ga", 3)


def test_b4_means_of_the_tokens(monkeypatch):
    """Facts 1, 3; plain 2, 2, 5. Words: others' plain tokens 4, 8 weigh as much as the general texts' 1, 2, 3."""
    from unlearn.claims import b4

    flags = {"forget": [[True, False], [False, True, False]], "retain": [[False, True], [False]]}
    monkeypatch.setattr(b4, "entity_flags", lambda rows, tokenizer: flags)
    seen = {
        "forget": [observation(-1, -2), observation(-2, -3, -5)],
        "retain": [observation(-4, -90), observation(-8)],
        "general": [observation(-1, -2), observation(-3)],
    }
    assert b4.watched(seen, None, None) == {"facts": 2.0, "plain": 3.0, "words": 4.0}


def test_b4_cost_where_the_level_is_passed():
    """From facts 1 to 3 level 1.5 is a quarter of the way: words 0.3 + 0.25 · 0.4, less 0.1 at the start."""
    from unlearn.claims.b4 import cost_at, costs

    points = [
        {"facts": f, "words": w} for f, w in ((0.0, 0.1), (1.0, 0.3), (3.0, 0.7), (0.5, 9.0), (4.0, 9.0))
    ]
    assert cost_at(points, 1.5) == pytest.approx(0.3)
    assert math.isnan(cost_at(points, 5.0))
    paths = [{"focus": "none", "points": points}, {"focus": "none", "points": points[:2]}]
    first, never = costs({"level": 1.5, "paths": paths})["none"]
    assert (first, math.isnan(never)) == (pytest.approx(0.3), True)


def test_b5_logits_by_hand():
    """3/4 is odds of 3, 1/2 of 1. Certainty stops at 1 - 1e-7, impossibility at 1e-12."""
    from unlearn.claims.b5 import logit

    assert logit(math.log(0.75)) == pytest.approx(math.log(3))
    assert logit(math.log(0.5)) == pytest.approx(0.0, abs=1e-12)
    assert logit(0.0) == pytest.approx(math.log(1e7), abs=1e-6)
    assert logit(-math.inf) == pytest.approx(math.log(1e-12))


def test_b5_closed_form_and_means_by_hand():
    """e^-γ = 1/2 halves the odds: 3 → 1.5, p 0.6; 1 → 0.5, p 1/3. After 1/2 and 1/4: odds fall by 3 and by 3."""
    from unlearn.claims.b5 import closed_form, compared

    assert closed_form(0.75, LN2) == pytest.approx(0.6)
    assert closed_form(0.5, LN2) == pytest.approx(1 / 3)
    assert closed_form(1.0, LN2) == 1.0
    found = compared([math.log(0.75), math.log(0.5)], [math.log(0.5), math.log(0.25)], LN2)
    assert found["fall"] == pytest.approx(math.log(3))
    assert found["after"] == pytest.approx(0.375)
    assert found["distance"] == pytest.approx((0.1 + 1 / 12) / 2)


def test_b5_control_is_read_at_equal_probability():
    """Of three steps the one whose mean is nearest to .3; two tokens that fell by 2 and by 4 fit no single γ."""
    from unlearn.claims.b5 import control, logit

    before = [math.log(0.9)] * 2
    start = logit(before[0])

    def at(*falls):
        return {"watched": [-math.log1p(math.exp(fall - start)) for fall in falls]}

    curve = [at(0.0, 0.0), at(2.0, 4.0), at(9.0, 9.0)]
    found = control(before, curve, 0.3)
    mean = sum(map(math.exp, curve[1]["watched"])) / 2
    assert found["after"] == pytest.approx(mean)
    assert 2.0 <= found["gamma"] <= 4.0
    assert found["distance"] > 0.1
    assert control(before, [at(3.0, 3.0)], 0.3)["distance"] == pytest.approx(0.0, abs=1e-9)
    assert (
        judged("B5", b5((0.97, 1.0, 1.02), control=0.001)).verdict == "refuted"
    )  # the control follows it too


# -- C -------------------------------------------------------------------------------------------------------------


def test_c_utility_is_the_mean_of_the_roles():
    from unlearn.claims import c1, c2

    shares = {"forget": 0.25, "test": 0.2, "retain": 0.6, "general": 0.9, "neighbours": 0.3}
    scores = {role: {"memorised": s, "ppl": math.e, "probability": 0.1} for role, s in shares.items()}
    assert c1.summarise_scores(scores, "t5", 3.0) == pytest.approx(
        {"forget": 0.25, "forget_nll": 1.0, "utility": 0.4, "seconds": 3.0}
    )
    assert c1.summarise_scores(scores, "authors", 3.0)["utility"] == pytest.approx(0.6)
    assert c2.summarise_scores(scores) == pytest.approx({"forget": 0.1, "utility": 0.6})
    assert math.isnan(c1.summarise_scores({}, "t5", 3.0)["utility"])
    assert c2.summarise_scores({}) == {"forget": "nan", "utility": "nan"}


def test_c_pairs_are_the_first_less_the_second():
    from unlearn.claims import c1, c2

    def runs(place, name, *values):
        return [{"setting": "t5", "seed": s, place: name, "utility": v} for s, v in enumerate(values)]

    data = {"runs": runs("model", "eul", 1.0, 2.0, 3.0) + runs("model", "gd", 0.5, 1.0, 1.5)}
    assert c1.paired(data, "t5", "utility", "eul", "gd").mean == 1.0
    data = {"runs": runs("mode", "fuse", 1.0, 2.0, 3.0) + runs("mode", "chain", 0.5, 1.0, 1.5)}
    assert c2.paired(data, "utility", "fuse", "chain").mean == 1.0


@pytest.mark.parametrize(("name", "began"), [("retrain", 10.0), ("original", 20.0)])
def test_c1_seconds_of_training_are_the_clocks(monkeypatch, name, began):
    from unlearn.claims import c1

    monkeypatch.setattr(c1, "small_t5", lambda seed: "untrained")
    monkeypatch.setattr(c1, "learned", lambda loaded, rows, **settings: rows)
    monkeypatch.setattr(c1, "_ORIGINALS", {})
    monkeypatch.setattr(c1, "time", clock(began, began + 3))
    rows, seconds = c1.t5_trained({"retain": ["r"], "forget": ["f"]}, 0, name, {})
    assert seconds == 3.0
    assert rows == (["r"] if name == "retrain" else ["r", "f"])


@pytest.mark.parametrize(
    ("eul", "kept", "side", "change"),
    [(0.2, 1.1, "below", "gains 10.1 points"), (0.6, 0.9, "above", "loses 9.95 points")],
)
def test_c1_says_which_way(eul, kept, side, change):
    said = judged("C1", c1(eul, kept)).sentence
    assert said.count(f"{side} the retrained model's 40 %, {change} on the rest") == 2


def test_c1_run_is_named_by_its_knobs(monkeypatch):
    from unlearn.claims import c1

    monkeypatch.setattr(c1, "t5_trained", lambda *given: (SimpleNamespace(model=None, tokenizer=None), 1.0))
    monkeypatch.setattr(c1, "observe_answers", lambda *given: {})
    lab = Asked()
    c1.t5_run(lab, 1, "eul", kl_weight=0.0)
    plain = dict(lab.what)
    assert "kl_weight" in plain["what"]
    c1.t5_run(lab, 1, "eul")
    assert lab.what["knobs"] != plain["knobs"]
    assert lab.what["what"] == "T5, eul , seed 1"  # the outcomes that are kept go by this name


def test_c2_rule_has_three_ways_to_be_refuted():
    """It forgets less than the chain or the average, whatever else; as much as the average decides nothing."""
    assert judged("C2", c2(fuse=0.3, kept=0.9)).verdict == "refuted"
    assert judged("C2", c2(average=0.05)).verdict == "refuted"
    assert judged("C2", c2(kept=0.5)).verdict == "refuted"  # the chain keeps more of the rest
    assert judged("C2", c2(fuse=0.5, chain=0.5)).verdict == "undecided"
    assert judged("C2", c2(fuse=0.11)).verdict == "confirmed"  # within the lead


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kl": -0.3}, "without KL it forgets less (no"),
        ({"task": -0.2}, "without TASK utility falls (no"),
        ({"lm": -1.0}, "without LM the forget answers are less unlikely (no"),
        ({"kl": 0.0}, "without KL it forgets less (no"),
    ],
)
def test_c3_effect_the_other_way_refutes(changes, said):
    finding = judged("C3", c3(**changes))
    assert finding.verdict == "refuted"
    assert finding.sentence.count(said) == 2
    assert finding.sentence.count("(yes") == 4


def test_c3_effect_that_is_there_and_too_small_is_in_between():
    """On its side of 0, and wholly under a tenth of a nat."""
    finding = judged("C3", c3(lm=0.05))
    assert finding.verdict == "partly"
    assert finding.sentence.count("less unlikely (between") == 2


def test_c3_settings_must_agree():
    data, other = c3(), c3(task=-0.2)
    mixed = [run for run in data["runs"] if run["setting"] == "t5"]
    mixed += [run for run in other["runs"] if run["setting"] == "authors"]
    assert judged("C3", {"n": "texts", "seeds": SEEDS, "runs": mixed}).verdict == "partly"
