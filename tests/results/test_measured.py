"""What a page says about a method's defaults is what was recorded, and only while the defaults are the same."""

import json
import os
from dataclasses import replace

import pytest

from unlearn.methods import METHODS
from unlearn.results import measured as record
from unlearn.results.measured import aim, describe, measured, missed, on_others


def row(method="npo", model="tiny-authors", **changes):
    settings = METHODS[method].settings("tiny", "full", model)
    scores = {
        role: {
            "n": n,
            "exact": {"before": 1.0, "after": {"mean": after, "sd": 0.05}, "retrained": 0.1},
            "ppl": {"before": 2.0, "after": {"mean": 3.0, "sd": 0.1}, "retrained": 2.0},
        }
        for role, n, after in (("forget", 90, 0.25), ("retain", 40, 0.8), ("general", 30, 0.9))
    }
    return (
        {"model": model, "method": method, "tuning": "full", **settings, "scores": scores}
        | {"collapsed": 0, "cpu_seconds": {"values": [1.0, 2.0]}, "origin": {"commit": "abc"}}
        | changes
    )


def kept(tmp_path, *rows):
    path = tmp_path / "defaults.json"
    path.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return path


def test_a_row_is_read_as_it_was_recorded(tmp_path):
    (found,) = measured(METHODS["npo"], kept(tmp_path, row(), row("gd")))
    assert (found.model, found.tuning, found.seeds, found.commit) == ("tiny-authors", "full", 2, "abc")
    assert (found.roles["forget"].after, found.roles["forget"].sd, found.roles["forget"].n) == (
        0.25,
        0.05,
        90,
    )
    assert found.perplexity == 1.5
    assert describe(found) == (
        "With them Tiny authors (bundled) on authors still gives 25 % of the forget answers (100 % before) and 80 % "
        "of those to keep (100 % before); 2 seeds, n 90 and 40. The aim (at most 10 % left, 95 % kept, general "
        "perplexity at most × 1.10) is missed: 25 % left, 80 % kept, general perplexity × 1.50."
    )
    assert aim(replace(found, model="smollm2")) == ""


def test_what_it_does_on_rows_that_no_setting_was_chosen_on_is_said_where_it_was_measured(tmp_path):
    path = kept(tmp_path, row())
    assert on_others(METHODS["npo"], "tiny-authors", "full", path) == (
        "On rows about others, which no setting was chosen on, it gives 25 % of the forget answers (100 % before) "
        "and 80 % of those to keep (100 %); 2 seeds."
    )
    assert on_others(METHODS["npo"], "tiny-authors", "lora", path) == ""
    assert on_others(METHODS["gd"], "tiny-authors", "full", path) == ""
    assert on_others(METHODS["npo"], "tiny-authors", "full", tmp_path / "none.json") == ""


def test_an_aim_that_is_reached_says_so_and_each_miss_has_its_figure(tmp_path):
    (found,) = measured(METHODS["npo"], kept(tmp_path, row()))
    forget = replace(found.roles["forget"], after=0.10)
    retain = replace(found.roles["retain"], before=0.9, after=0.9 * 0.95)
    good = replace(found, roles={"forget": forget, "retain": retain}, perplexity=1.10)
    assert missed(good) == []
    assert aim(good).endswith("is reached.")
    assert missed(replace(good, perplexity=float("nan"))) == ["general perplexity × nan"]
    assert missed(replace(good, roles={**good.roles, "forget": replace(forget, after=0.26)})) == ["26% left"]
    assert missed(replace(good, roles={**good.roles, "retain": replace(retain, after=0.8)})) == ["89% kept"]


@pytest.mark.parametrize(
    ("count", "said"), [(1, "ruined with 1 of 2 seeds."), (2, "General text is ruined.")]
)
def test_a_collapse_is_said(tmp_path, count, said):
    (found,) = measured(METHODS["npo"], kept(tmp_path, row(collapsed=count)))
    assert f"{said} The aim" in describe(found)


@pytest.mark.parametrize(
    "changes", [{"lr": 1.0}, {"epochs": 99}, {"knobs": {"beta": 0.5}}, {"model": "a model that is gone"}]
)
def test_figures_of_other_settings_are_not_shown(tmp_path, changes):
    assert measured(METHODS["npo"], kept(tmp_path, row(**changes))) == []


def test_the_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    reads, path = [], kept(tmp_path, row())
    monkeypatch.setattr(record, "read_json", lambda p: reads.append(p) or json.loads(p.read_text()))
    assert len(measured(METHODS["npo"], path)) == len(measured(METHODS["npo"], path)) == 1
    assert len(reads) == 1
    kept(tmp_path)
    os.utime(path, ns=(1, 1))
    assert measured(METHODS["npo"], path) == []
    assert len(reads) == 2


def test_without_a_file_nothing_was_measured(tmp_path):
    assert measured(METHODS["npo"], tmp_path / "none.json") == []


def test_words_continued_stand_where_nothing_is_asked(tmp_path):
    plain = row()
    for role in plain["scores"].values():
        role["memorised"] = role.pop("exact")
    (found,) = measured(METHODS["npo"], kept(tmp_path, plain))
    assert found.roles["retain"].after == 0.8


def models(**changes):
    """The same method on three models, as it was measured; changes are of the last."""
    rows = [row(model=name) for name in ("tiny-authors", "tiny-snippets")]
    settings = METHODS["npo"].settings("small", "lora", "smollm2")
    return [*rows, row(model="smollm2") | {"tuning": "lora", **settings} | changes]


def test_where_to_start_is_what_was_measured_on_three_models_and_ruined_none(tmp_path):
    npo = METHODS["npo"]
    assert record.is_good_start(npo, kept(tmp_path, *models()))
    assert not record.is_good_start(npo, kept(tmp_path, *models()[:2]))
    assert not record.is_good_start(npo, kept(tmp_path, *models(collapsed=1)))
    weak = row(model="smollm2")["scores"]
    weak["retain"]["exact"]["after"]["mean"] = 0.7
    assert not record.is_good_start(npo, kept(tmp_path, *models(scores=weak)))


def test_a_method_ruins_a_model_where_that_was_seen_else_where_it_is_known(tmp_path):
    path = kept(tmp_path, row(collapsed=1), row("ga"))
    assert record.ruins(METHODS["npo"], "tiny-authors", path)
    assert not record.ruins(METHODS["npo"], "smollm2", path)
    # It is known of ascent, but on this model it was measured and held.
    assert not record.ruins(METHODS["ga"], "tiny-authors", path)
    assert record.ruins(METHODS["ga"], "smollm2", path)


def test_of_what_ships_two_or_three_are_to_start_with():
    marked = [name for name, method in METHODS.items() if record.is_good_start(method)]
    assert 2 <= len(marked) <= 3
    assert not any(record.ruins(METHODS[name], "tiny-authors") for name in marked)
