"""The bench of prompt formats: its halves share no country, and its table says what was not tried."""

import json

from bench import chat


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
    lines = chat.table({"rows": [row("npo"), row("gd", half="tune")]}).splitlines()
    npo = next(line for line in lines if line.startswith("| NPO"))
    assert npo == "| NPO † | 10 | 10 | 10 | 75 | 75 | 75 | 100 | 30 | 0.001, 5 × 4 |"
    assert sum("not tried yet" in line for line in lines) == len(chat.fitting()) - 1
    assert lines[2] == "| before | 100 | 100 | 100 | 80 | 80 | 80 | 40 |  |  |"


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
    assert chat.settings_of(chat.shlex.split(told)[-1], 0) == config


def test_the_table_says_who_reached_the_aim_in_every_format():
    def run(plain, ppl=40.0):
        """A run that keeps all of the others, but this share in the format plain."""
        one = row("whp")
        for name in chat.FORMATS:
            one["after"]["retain"][name] = {"n": 10, "right": plain if name == "plain" else 0.8}
        one["after"]["general_ppl"] = ppl
        return one

    def said(*rows):
        return chat.table({"rows": list(rows)}).split("in every format: reached by ")[1].split(".\n")[0]

    assert said(run(0.8)) == "Who's Harry Potter (one seed)"
    assert said(run(0.8), run(0.7)) == "Who's Harry Potter (2 of 2 seeds alone)"
    assert said(run(0.8), run(0.6)) == "Who's Harry Potter (1 of 2 seeds alone)"
    # Below the line on the mean of the seeds, in one format alone.
    assert said(run(0.8), run(0.5)) == said(run(0.6)) == "no method"
    assert said(run(0.8, ppl=90.0)) == said(row("npo", right=0.3)) == "no method"


def test_one_method_reaches_the_aim_with_every_seed_at_its_present_defaults():
    rows = json.loads((chat.RESULTS / "chat.json").read_text(encoding="utf-8"))["rows"]
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
