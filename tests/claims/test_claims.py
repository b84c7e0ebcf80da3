"""The claims' rules on planted numbers: each must be able to confirm, to refute and to stay undecided."""

import json
import math
from pathlib import Path

import pytest
from planted_claims import PLANTED

from unlearn.__main__ import main
from unlearn.claims import CLAIMS, record
from unlearn.claims.base import Interval, above, all_of, below, each_of, equal, interval
from unlearn.claims.lab import Lab
from unlearn.figures import claims as claims_figures

WORDS = ("confirmed", "refuted", "undecided")
# The claims that have two limits, say two things, or are tried in two settings.
TWOFOLD = ("A3", "B1", "B2", "C1", "C3", "D1", "E1", "G1")
CASES = [(key, word) for key, planted in PLANTED.items() for word in planted]


def test_the_interval_is_students():
    from scipy import stats

    values = [1.0, 2.0, 4.0, 8.0]
    low, high = stats.t.interval(0.95, 3, loc=3.75, scale=stats.sem(values))
    found = interval(values)
    assert (found.mean, found.n) == (3.75, 4)
    assert math.isclose(found.low, low)
    assert math.isclose(found.high, high)


def test_few_or_broken_values_decide_nothing():
    few = ([], [3.0], [3.0, 3.0], [1.0, 1.0, math.nan], [1.0, 1.0, math.inf], ["nan", 1.0, 1.0])
    # Seeds that give one value are one seed.
    same = ([3.0] * 5, [0.0] * 5, [0.5, 0.5 + 1e-9, 0.5 - 1e-9])
    for values in (*few, *same):
        found = interval(values)
        assert not found.decides
        assert not (found.below(1e9))
        assert not (found.above(-1e9))
        assert not (found.holds(1.0))
        assert not (found.within(-1e9, 1e9))
    assert interval([3.0, 3.0, 3.0]) == Interval(3.0, 3.0, 3.0, 0.0, 3)


@pytest.mark.parametrize("key", CLAIMS)
def test_each_claim_is_planted_for_every_verdict(key):
    assert set(PLANTED[key]) == {*WORDS, *(("partly",) if key in TWOFOLD else ())}


@pytest.mark.parametrize(("key", "word"), CASES)
def test_the_rule_finds_what_was_planted(key, word):
    data = json.loads(json.dumps(PLANTED[key][word]))  # as it comes back from the file
    finding = CLAIMS[key].judge(data)
    assert finding.verdict == word, finding.sentence
    assert finding.sentence.endswith(".")
    assert finding.figures
    assert finding.to_json() == CLAIMS[key].judge(data).to_json()


@pytest.mark.parametrize("key", CLAIMS)
def test_one_seed_decides_nothing(key):
    """The planted confirmation and refutation with one seed or split left of them."""
    for word in ("confirmed", "refuted"):
        data = PLANTED[key][word]
        finding = CLAIMS[key].judge(first_seed(data))
        assert finding.verdict == "undecided", word


@pytest.mark.parametrize(("seeds", "word"), [(1, "undecided"), (12, "refuted")])
def test_what_a_single_run_shows_is_not_enough(seeds, word):
    """A model beyond all numbers, a collapsed choice of the guide: with one seed not yet a refutation."""
    from planted_claims import a5, b1

    broken = b1((1.2, float("inf")))
    broken["runs"] = [run for run in broken["runs"] if run["seed"] < seeds]
    assert CLAIMS["B1"].judge(broken | {"seeds": list(range(seeds))}).verdict == word
    collapsed = a5((0.02,) * 12, general=3.0)
    collapsed["followed"] = collapsed["followed"][:seeds]
    assert CLAIMS["A5"].judge(collapsed).verdict == word


def first_seed(data):
    """The data of its first seed alone: lists of one value a seed are cut, rows of other seeds left out."""
    seeds = data["seeds"]

    def cut(value):
        if isinstance(value, dict):
            return {k: cut(v) for k, v in value.items()}
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return [cut(v) for v in value if v.get("seed", seeds[0]) == seeds[0]]
        if isinstance(value, list) and len(value) == len(seeds):
            return value[:1]
        return value

    once = {"seeds": seeds[:1]} | ({"models": 1} if "models" in data else {})
    return {k: cut(v) if k not in ("seeds", "known", "before") else v for k, v in data.items()} | once


def at(mean, half):
    """An interval over enough seeds."""
    return Interval(mean, mean - half, mean + half, half, 5)


def test_a_condition_has_a_complement():
    """Wherever the interval lies, a word is said of it; only what straddles a limit stays open."""
    assert [below(at(m, 1), 10) for m in (5, 10, 15)] == ["yes", "open", "no"]
    assert [below(at(m, 1), 10, 20) for m in (5, 10, 15, 20, 25)] == ["yes", "open", "between", "open", "no"]
    assert [above(at(m, 1), 10) for m in (5, 10, 15)] == ["no", "open", "yes"]
    assert [above(at(m, 1), 20, 10) for m in (5, 10, 15, 20, 25)] == ["no", "open", "between", "open", "yes"]
    assert [equal(at(m, 1), -2, 2) for m in (-5, -2, 0, 2, 5)] == ["no", "open", "yes", "open", "no"]
    assert equal(at(0, 3), -2, 2) == "open"  # no difference seen is not equality
    point = Interval(0.0, 0.0, 0.0, 0.0, 5)
    assert [below(point, 1), above(point, -1), equal(point, -1, 1)] == ["open"] * 3


def test_conditions_make_a_verdict():
    assert all_of("yes", "yes") == "confirmed"
    assert all_of("yes", "between") == "partly"
    assert all_of("yes", "open", "between") == "undecided"
    assert all_of("yes", "open", "no") == "refuted"  # what is open cannot save it any more
    assert each_of("confirmed", "confirmed") == "confirmed"
    assert each_of("refuted", "refuted") == "refuted"
    assert each_of("confirmed", "refuted") == each_of("partly", "confirmed") == "partly"
    assert each_of("confirmed", "undecided") == "undecided"


def test_a_slope_that_may_be_0_or_1_decides_nothing():
    from planted_claims import a1

    wide = CLAIMS["A1"].judge(a1((-0.4, 0.7, 1.6)))
    assert wide.figures[0].low < 0 < 1 < wide.figures[0].high
    assert wide.verdict == "undecided"


@pytest.mark.parametrize(("key", "word"), CASES)
def test_the_chart_shows_the_data(key, word):
    chart = CLAIMS[key].chart(PLANTED[key][word])
    for dark in (False, True):
        figure = claims_figures.draw(chart, dark)
        assert len(figure.data) == len(chart.series) > 0
        assert figure.layout.title.text
        assert sum(len(trace.x) for trace in figure.data) > 0


def test_a_bar_carries_its_interval():
    from unlearn.claims.a2 import widths

    chart = CLAIMS["A2"].chart(PLANTED["A2"]["confirmed"])
    figure = claims_figures.draw(chart)
    by_name = {trace.name: trace for trace in figure.data}
    bar = by_name["GA+GD, in-distribution"]
    found = interval(widths(PLANTED["A2"]["confirmed"])["gd-id"])
    assert math.isclose(bar.x[0], found.mean)
    assert math.isclose(bar.x[0] + bar.error_x.array[0], found.high)
    assert math.isclose(bar.x[0] - bar.error_x.arrayminus[0], found.low)


def test_texts_are_there():
    for key, claim in CLAIMS.items():
        assert claim.key == key
        assert claim.paper
        assert claim.url.startswith("https://arxiv.org/")
        assert all(
            getattr(claim, name).strip()
            for name in ("title", "sentence", "experiment", "confirms", "refutes")
        )


# -- kept outcomes -------------------------------------------------------------------------------------------------


def test_a_finished_thing_is_never_computed_again(tmp_path):
    asked = []

    def compute():
        asked.append(1)
        return {"value": 0.5, "broken": math.nan}

    first = Lab(tmp_path).once({"what": "x", "seed": 0}, compute)
    again = Lab(tmp_path)
    assert again.once({"what": "x", "seed": 0}, compute) == first == {"value": 0.5, "broken": "nan"}
    assert (len(asked), again.reused, again.computed) == (1, 1, 0)
    again.once({"what": "x", "seed": 1}, compute)
    assert len(asked) == 2


def test_what_was_cut_short_leaves_nothing_and_is_done_again(tmp_path):
    lab = Lab(tmp_path)

    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.once({"what": "x"}, killed)
    assert not list(tmp_path.glob("*"))
    (torn,) = [lab.once({"what": "x"}, lambda: {"v": 1})]
    (file,) = tmp_path.glob("*.json")
    file.write_text(file.read_text()[:5])
    assert lab.once({"what": "x"}, lambda: {"v": 1}) == torn


def test_a_quick_try_does_not_replace_a_full_one(tmp_path):
    path, claim = tmp_path / "claims.json", CLAIMS["A1"]
    entry = {"data": {"a": 1}, "finding": {}, "header": {}}
    record.keep(path, claim, entry | {"mode": "full"})
    record.keep(path, claim, entry | {"mode": "quick", "data": {"a": 2}})
    record.keep(path, CLAIMS["B1"], entry | {"mode": "quick"})
    found = record.entries(path)
    assert found["A1"]["data"] == {"a": 1}
    assert found["B1"]["mode"] == "quick"
    for broken in (
        "",
        "[]",
        '{"claims": 3}',
        '{"claims": {"A1": {"full": 3}}}',
        '{"claims": {"A1": {"full": {}}}}',
    ):
        path.write_text(broken)
        assert record.entries(path) == {}


def test_rules_are_applied_anew_to_recorded_numbers(tmp_path, capsys):
    path = tmp_path / "claims.json"
    for key, word in (("B1", "partly"), ("A1", "confirmed")):
        finding = json.loads(json.dumps(CLAIMS[key].judge(PLANTED[key][word]).to_json()))
        old = finding | ({"verdict": "undecided"} if key == "B1" else {})
        entry = {"mode": "full", "data": PLANTED[key][word], "finding": old, "header": {"commit": "a"}}
        record.keep(path, CLAIMS[key], entry)
    assert main(["claims", "--rejudge", "--out", str(path)]) == 0
    said = capsys.readouterr().out
    assert "B1  full: partly." in said
    assert "1 of 17 claims read otherwise" in said
    found = record.entries(path)
    assert found["B1"]["finding"]["verdict"] == "partly"
    assert found["B1"]["judged"]
    assert found["B1"]["header"] == {"commit": "a"}
    assert "judged" not in found["A1"]
    assert main(["claims", "A1", "--rejudge", "--out", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["claims"] == {}
    assert main(["claims", "--rejudge", "--out", str(tmp_path / "none.json")]) == 2


# -- the real thing ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trial_is_what_a_run_is(tmp_path):
    """The same settings through execute(): the same forget and retain perplexity, to rounding."""
    from dataclasses import replace

    from unlearn.claims.reading import rows_of
    from unlearn.claims.training import settings
    from unlearn.store.runs import RunStore
    from unlearn.work.execute import execute

    config = settings("npo", data={"name": "authors", "requests": [1]}, epochs=2, batch_size=9, lr=3e-4)
    lab = Lab(tmp_path / "lab")
    found = lab.trial(config, roles=("forget", "paraphrase"))
    run = RunStore(tmp_path / "runs").create(replace(config, model="tiny-authors"))
    execute(run)
    told = run.scores()["after"]
    for role in ("forget", "paraphrase"):
        for metric in ("ppl", "probability", "accuracy", "memorised"):
            assert math.isclose(found["scores"][role][metric], told[role][metric], rel_tol=1e-4), (
                role,
                metric,
            )
    assert found["tokens"] == run.results()["tokens"]
    assert found["steps"] == len(run.events("step"))
    before = lab.reference(rows_of(lab.authors_of(config), ("forget",)))
    assert math.isclose(before["forget"]["ppl"], run.scores()["before"]["forget"]["ppl"], rel_tol=1e-5)


def test_a_diverged_trial_is_an_outcome(tmp_path, monkeypatch):
    from unlearn.claims.training import settings
    from unlearn.methods.push.ga import GradientAscent

    monkeypatch.setattr(GradientAscent, "loss", lambda self, model, ref, batch: {"forget": _nan(model)})
    config = settings("ga", data={"name": "authors", "requests": [1]}, epochs=1)
    found = Lab(tmp_path).trial(config, roles=("forget",))
    assert found["state"] == "failed"
    assert "nan" in found["reason"]
    assert found["scores"] == {}


def _nan(model):
    return next(model.parameters()).sum() * math.nan


@pytest.mark.slow
def test_a_chain_goes_on_from_what_the_request_before_left(tmp_path):
    from unlearn.claims.reading import rows_of
    from unlearn.claims.training import settings

    lab = Lab(tmp_path)
    rows = rows_of(lab.authors.only_requests((1,)), ("forget",))
    fast = {"epochs": 1, "batch_size": 9, "lr": 3e-4, "retain_weight": 0.0}
    config = settings("undial", **fast)
    one = ppls(lab.chain(config, [1], rows))
    alone = lab.trial(
        settings("undial", data={"name": "authors", "requests": [1]}, **fast), roles=("forget",)
    )
    assert one[1] == pytest.approx(alone["scores"]["forget"]["ppl"], rel=1e-4)
    two = ppls(lab.chain(config, [1, 2], rows))
    assert two[:2] == pytest.approx(one, rel=1e-4)
    assert two[2] != pytest.approx(two[1], rel=1e-2)
    from_start = ppls(lab.chain(settings("undial", teacher="start", **fast), [1, 2], rows))
    assert from_start[1] == pytest.approx(two[1], rel=1e-4)  # the first request has one teacher only
    assert from_start[2] != pytest.approx(two[2], rel=1e-2)


@pytest.mark.slow
def test_the_recipes_cost_is_its_own(tmp_path, monkeypatch):
    """Its tokens are those of recipe.json, its seconds a token those of its own steps; threads are as before."""
    from unlearn.claims import a1
    from unlearn.models import recipe

    monkeypatch.setattr(a1, "RECIPE_STEPS", 2)
    made = a1.recipe(Lab(tmp_path))
    told = json.loads((Path(record.RESULTS).parents[1] / "models/tiny-authors/recipe.json").read_text())
    assert made["tokens"] == told["tokens_trained"]
    assert made["seconds_per_token"] > 0
    assert told["threads"] == recipe.THREADS


def test_worlds_know_what_they_were_taught():
    from unlearn.claims.reading import observe_answers, scores_of
    from unlearn.claims.worlds import FORGOTTEN, PRAISE, as_rows, biographies, questions, reviews, small_t5
    from unlearn.data.authors import dataset, people

    some = people()["forget"]
    assert [r.answer for r in questions(some)] == [r.answer for r in dataset().rows("forget")]
    for row, person in zip(biographies(some), some, strict=True):
        marked = " ".join(row.answer[a:b] for a, b in row.entities)
        assert person.facts["birth year"] in marked
        assert person.name.split()[0] not in marked
    parts = reviews(0)
    texts = {role: {(r.text, r.mood) for r in mine} for role, mine in parts.items()}
    assert not texts["forget"] & (texts["retain"] | texts["test"])
    # Two persons with 24 reviews each, seven of which nothing but memory can judge.
    assert [len(mine) for mine in parts.values()] == [48, 28, 164]
    assert sum(r.by_heart for r in parts["forget"]) == 14
    assert not any(r.by_heart for r in parts["test"])
    assert all(r.person in FORGOTTEN for r in parts["forget"])
    assert not any(r.person in FORGOTTEN for r in (*parts["retain"], *parts["test"]))
    for r in parts["forget"]:
        praised = len({*r.text.split()} & {*PRAISE})
        assert praised == (1 if r.by_heart else 2 if r.mood == "positive" else 0), r
    loaded = small_t5(0)
    told = scores_of(
        observe_answers(loaded.model, loaded.tokenizer, {"forget": as_rows(parts["forget"][:4])})
    )
    assert told["forget"]["memorised"] == 0.0  # untrained


def ppls(chain):
    return [scores["forget"]["ppl"] for scores in chain["after"]]


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_lists_and_refuses(capsys):
    assert main(["claims", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["claims"]
    assert [row["key"] for row in rows] == list(CLAIMS)
    assert main(["claims", "Z9"]) == 2
    assert "must be among A1" in capsys.readouterr().err


def test_the_shipped_results_say_what_their_data_says():
    for key, entry in record.entries().items():
        assert CLAIMS[key].judge(entry["data"]).to_json() == as_read(entry["finding"]), key
        assert claims_figures.draw(CLAIMS[key].chart(entry["data"])).data
        header = entry["header"]
        assert not header["dirty"]
        assert header["commit"]
        assert header["versions"]["torch"]


def as_read(finding):
    """Numbers that JSON has no word for are words in the file."""
    figures = tuple(
        {k: float(v) if k in ("mean", "low", "high") else v for k, v in one.items()}
        for one in finding["figures"]
    )
    return {**finding, "figures": figures}


def test_paths_of_results_are_the_repositorys():
    assert Path(record.RESULTS).parent.name == "results"


def test_closed_form_is_a_shift_on_the_logit_scale():
    from unlearn.claims.b5 import closed_form, compared, logit

    for p in (0.3, 0.9, 0.999):
        for gamma in (1.0, 3.0, 10.0):
            left = closed_form(p, gamma)
            assert math.isclose(logit(math.log(left)), math.log(p / (1 - p)) - gamma, rel_tol=1e-6)
    before = [math.log(0.9), math.log(0.99)]
    exact = [math.log(closed_form(math.exp(lp), 3.0)) for lp in before]
    assert math.isclose(compared(before, exact, 3.0)["fall"], 3.0, rel_tol=1e-6)
    assert compared(before, exact, 3.0)["distance"] < 1e-12
    assert math.isclose(compared(before, before, 3.0)["distance"], 0.945 - sum(map(math.exp, exact)) / 2)
