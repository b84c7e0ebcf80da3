"""The defaults on rows that no setting was chosen on: which rows these are, and what the table says of them."""

import pytest

from bench import others
from unlearn.data.base import Dataset, Row
from unlearn.data.catalogue import from_config
from unlearn.methods import METHODS


def test_the_forget_set_changes_places_with_the_last_people_to_keep():
    data = from_config({"name": "authors"})
    made = others.swapped(data)
    old, new = ({row.subject for row in one.rows("forget")} for one in (data, made))
    assert (len(new), len(made.rows("forget")), len(made.rows("retain"))) == (10, 90, 288)
    kept = list(dict.fromkeys(row.subject for row in data.rows("retain")))
    assert new == set(kept[-10:])
    assert not old & new
    assert old < {row.subject for row in made.rows("retain")}
    assert not new & {row.subject for row in made.rows("retain")}
    assert set(made.roles) == {"forget", "retain", "general", "approximate"}


def test_a_set_with_too_few_to_keep_is_refused():
    row = Row(question="Who?", answer="Ann", subject="Ann")
    data = Dataset(name="small", title="Small", roles={"forget": (row,), "retain": (row,)})
    with pytest.raises(ValueError, match="must have more subjects to keep than to forget, got 1 and 1"):
        others.swapped(data)


def row(method, forget, retain, general=1.0, **more):
    def score(value, before):
        return {"before": before, "after": {"mean": value, "sd": 0.0, "values": [value]}, "retrained": None}

    scores = {
        "forget": {"n": 9, "exact": score(forget, 1.0)},
        "retain": {"n": 9, "exact": score(retain, 1.0)},
        "general": {"n": 9, "exact": score(0.9, 0.9), "ppl": score(general, 1.0)},
    }
    machine = {"processor": "x", "cores": 2, "load": 0.0}
    top = {
        "command": "c",
        "seeds": [0],
        "machine": machine,
        "commit": "0" * 12,
        "dirty": False,
        "date": "2026-11-30",
    }
    top["versions"] = {"torch": "2.13.0"}
    found = {
        "model": "tiny-authors",
        "method": method,
        "tuning": "full",
        "lr": 1e-3,
        "epochs": 1,
        "batch_size": 4,
    }
    found |= {"knobs": {}, "scores": scores, "collapsed": 0, "origin": top, "cpu_seconds": {"values": [1.0]}}
    return found | more


def test_the_sentence_takes_the_usual_rows_away_and_names_the_farthest():
    usual = {("tiny-authors", name): row(name, 0.10, 0.90) for name in ("npo", "gd", "kl")}
    rows = [row("npo", 0.04, 0.96), row("gd", 0.30, 0.90), row("kl", 0.5, 0.5, lr=2e-3)]
    said = others._apart(rows, usual)
    # (−6 + 20) / 2 and (6 + 0) / 2; the third has other settings than its usual row.
    assert "mean over 2 methods and range: right forget answers +7 points (−6 to +20, farthest Ascent" in said
    assert "right retain answers +3 points (0 to +6, farthest NPO)" in said
    assert "is reached here by: NPO. It is missed by: " in said
    assert f"{METHODS['gd'].title} (30 % left, 90 % kept)" in said
    lines = others._lines(rows, usual)
    assert lines[3].endswith("| 4 | 96 | 90 | 1.00 | 10 | 90 | 1.00 | 1 |")
    assert lines[5].endswith("| 50 | 50 | 90 | 1.00 | – | – | – | 1 |")
    assert others._apart(rows[2:], usual).startswith("No method has the settings")
