"""The bench of prompt formats: its halves share no country, and its table says what was not tried."""

import json
import shlex

import pytest

from bench.chat import lines, search
from bench.chat import rows as chat
from bench.record import RESULTS
from unlearn.methods import METHODS


def test_the_halves_share_no_country_and_nothing_asked_is_trained_on():
    tune, report = map(chat.half_of, chat.HALVES)
    european = [{row.subject for row in half.rows("forget")} for half in (tune, report)]
    asked = [{row.subject for row in half.asked} for half in (tune, report)]
    trained = [{row.subject for row in half.fit_rows("retain")} for half in (tune, report)]
    assert len(european[0]) == len(european[1]) == 11
    assert not european[0] & european[1]
    assert not asked[1] & (asked[0] | trained[0] | trained[1])
    assert not asked[0] & trained[0]
    assert len(asked[1]) == 27


def row(method, half="report", right=0.1):
    def asked(forget, retain, ppl):
        cells = {
            role: {name: {"n": 10, "right": share} for name in chat.FORMATS}
            for role, share in (("forget", forget), ("retain", retain))
        }
        return cells | {"general_ppl": ppl}

    config = chat.settings_of(f"{method} --lr 1e-3", 0).to_json()
    origin = {
        "command": "c",
        "commit": "abc",
        "date": "today",
        "dirty": False,
        "versions": {"torch": "2"},
        "machine": {"cpu": "CPU", "cores": 2, "load": 1},
    }
    found = {"half": half, "before": asked(1.0, 0.8, 40.0), "after": asked(right, 0.6, 100.0)}
    return config | found | {"failed": "", "cpu_seconds": 30.0, "steps": 9, "origin": origin}


def test_the_table_says_what_was_reported_and_what_was_not_tried():
    told = lines.table({"rows": [row("npo"), row("gd", half="tune")]}).splitlines()
    npo = next(line for line in told if line.startswith("| NPO"))
    assert npo == "| NPO † | 10 | 10 | 10 | 75 | 75 | 75 | 100 | 30 | 0.001, 5 × 4 |"
    assert sum("not tried yet" in line for line in told) == len(chat.fitting()) - 1
    assert told[2] == "| before | 100 | 100 | 100 | 80 | 80 | 80 | 40 |  |  |"


def test_a_trial_is_known_again_by_its_settings():
    config = chat.settings_of("npo --lr 1e-3", 0).to_json()
    assert chat.same(row("npo")) == chat.same({"half": "report", **config})
    assert chat.same(row("npo")) != chat.same({"half": "tune", **config})
    assert chat.same(row("npo")) != chat.same(
        {"half": "report", **chat.settings_of("npo --lr 1e-3 --set beta=.2", 0).to_json()}
    )


def test_the_command_under_the_table_makes_the_row_again():
    config = chat.settings_of("npo --lr 1e-3 --set beta=.2", 0)
    told = chat.command({"half": "report", **config.to_json()})
    assert told.startswith("python -m bench.chat --half report --trial ")
    assert chat.settings_of(shlex.split(told)[-1], 0) == config


def test_the_table_says_who_reached_the_aim_in_every_format():
    def run(plain, ppl=40.0):
        """A run that keeps all of the others, but this share in the format plain."""
        one = row("whp")
        for name in chat.FORMATS:
            one["after"]["retain"][name] = {"n": 10, "right": plain if name == "plain" else 0.8}
        one["after"]["general_ppl"] = ppl
        return one

    def said(*rows):
        return lines.table({"rows": list(rows)}).split("in every format: reached by ")[1].split(".\n")[0]

    assert said(run(0.8)) == "Who's Harry Potter (one seed)"
    assert said(run(0.8), run(0.7)) == "Who's Harry Potter (2 of 2 seeds alone)"
    assert said(run(0.8), run(0.6)) == "Who's Harry Potter (1 of 2 seeds alone)"
    # Below the line on the mean of the seeds, in one format alone.
    assert said(run(0.8), run(0.5)) == said(run(0.6)) == "no method"
    assert said(run(0.8, ppl=90.0)) == said(row("npo", right=0.3)) == "no method"


def test_one_method_reaches_the_aim_with_every_seed_at_its_present_defaults():
    rows = json.loads((RESULTS / "chat.json").read_text(encoding="utf-8"))["rows"]
    reported = [row for row in rows if row["half"] == "report"]
    assert {row["method"] for row in reported} == set(chat.fitting())
    assert {
        name for name in chat.fitting() if chat.reached([r for r in reported if r["method"] == name])
    } == {"whp"}
    held = [row for row in reported if row["method"] == "whp"]
    assert [row["seed"] for row in held] == [0, 1, 2]
    assert all(chat.reached([row]) for row in held)
    present = {seed: chat.settings_of("whp", seed).to_json() for seed in range(3)}
    assert all(chat.same(row) == chat.same({"half": "report", **present[row["seed"]]}) for row in held)


@pytest.mark.parametrize(
    ("answers", "places", "taken"),
    [
        # Half the rate helps and a quarter does not; twice the weight does not either.
        ({(0.5, 1.0): 0.1}, [(1, 1), (0.5, 1), (0.25, 1), (0.5, 2), (0.5, 0.5)], (0.5, 1)),
        # Nothing helps.
        ({}, [(1, 1), (0.5, 1), (2, 1), (1, 2), (1, 0.5)], (1, 1)),
        # Twice the rate and twice the weight help, so half the weight is not tried.
        ({(2.0, 1.0): 0.2, (2.0, 2.0): 0.1}, [(1, 1), (0.5, 1), (2, 1), (2, 2)], (2, 2)),
        # A quarter of the rate is the best, and half the weight.
        (
            {(0.5, 1.0): 0.3, (0.25, 1.0): 0.2, (0.25, 0.5): 0.0},
            [(1, 1), (0.5, 1), (0.25, 1), (0.25, 2), (0.25, 0.5)],
            (0.25, 0.5),
        ),
    ],
)
def test_a_walk_goes_where_it_gets_better_and_goes_on_where_it_was_cut(answers, places, taken):
    rows = []
    for factor, weight in places:
        config = search.following("npo", rows)
        assert config == search.trial("npo", factor, weight)
        made = row("npo", half="tune", right=answers.get((factor, weight), 0.5)) | config.to_json()
        made["after"]["retain"] = made["before"]["retain"]
        rows.append(made)
        # A run of another half or seed changes nothing.
        rows.append(made | {"half": "report", "lr": 1.0})
    assert search.following("npo", rows) is None
    assert chat.same(search.best("npo", rows)) == chat.same(
        {"half": "tune", **search.trial("npo", *taken).to_json()}
    )


def test_the_best_run_is_the_one_that_lacks_least_of_the_aim_in_its_worst_format():
    whole = row("npo", half="tune", right=0.3)
    assert search.score(whole)[0], "general perplexity is 2.5 times"
    whole["after"]["general_ppl"] = 40.0
    assert search.score(whole) == (False, pytest.approx(0.2), pytest.approx(0.55))
    worse = json.loads(json.dumps(whole))
    worse["after"]["forget"]["completion"]["right"] = 0.4
    assert search.score(worse) == (False, pytest.approx(0.3), pytest.approx(0.65))


@pytest.mark.parametrize("method", search.ORDER)
def test_every_walk_begins_with_the_settings_for_one_format(method):
    begun = search.following(method, [])
    usual = METHODS[method].settings("small", "lora", chat.MODEL)
    assert (begun.lr, begun.epochs, begun.batch_size) == (usual["lr"], usual["epochs"], usual["batch_size"])
    assert begun.knobs == usual["knobs"]


def test_the_table_says_how_each_method_was_tuned_and_which_were_not():
    rows = []
    for factor, weight, right in ((1, 1, 0.3), (0.5, 1, 0.1), (0.25, 1, 0.2)):
        one = row("npo", half="tune", right=right) | search.trial("npo", factor, weight).to_json()
        rows.append(one | {"after": one["after"] | {"general_ppl": 40.0}})
    told = lines.table({"rows": rows})
    assert "| NPO | 3 | 30 | 75 | 10 | 75 | rate × 0.5, retain_weight × 1; cut short |" in told
    assert "UnDIAL" in told.split("Not tuned in these formats")[1]
    assert "NPO" not in told.split("Not tuned in these formats")[1].replace("SimNPO", "")
    rows[1]["after"]["forget"]["chat"]["right"] = 0.9
    assert "| NPO | 3 | 30 | 75 | 20 | 75 | rate × 0.25," in lines.table({"rows": rows})
    assert "No method's settings were tuned" in lines.table({"rows": [row("npo")]})


def test_the_table_shows_runs_at_the_present_defaults_where_there_are_some():
    older = row("npo", right=0.9) | {"lr": 9e-4}
    assert chat.present([older]) == [older]
    now = row("npo") | chat.settings_of("npo", 0).to_json()
    assert chat.present([older, now]) == [now]
    assert chat.present([older, now, row("gd"), row("gd", half="tune")]) == [now, row("gd")]


def test_the_defaults_in_several_formats_are_what_the_walks_found():
    rows = json.loads((RESULTS / "chat.json").read_text(encoding="utf-8"))["rows"]
    walked = [name for name in chat.fitting() if search.tried(name, rows)]
    assert walked
    for name in walked:
        now, found = chat.settings_of(name, search.SEED), search.best(name, rows)
        assert chat.same(found) == chat.same({"half": "tune", **now.to_json()}), name
    assert {name for name in METHODS if METHODS[name].several} <= set(walked)
