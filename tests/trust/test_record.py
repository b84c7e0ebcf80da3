"""The record of `unlearn trust`: written row by row, gone on with, a failure kept apart, the models as meant."""

import json
from dataclasses import replace

import pytest

from unlearn.__main__ import main
from unlearn.results import trust
from unlearn.trust import pool, record, robust, world
from unlearn.trust.scoring import known

HEADER = {"commit": "abc"}


@pytest.fixture
def quick(monkeypatch):
    """Worlds that are made in a moment and know next to nothing."""
    monkeypatch.setattr(world, "BASE", replace(world.BASE, epochs=1))
    monkeypatch.setattr(world, "COUNTS", {"base": 2, "forget": 2, "retain": 3, "others": 2})
    monkeypatch.setattr(world, "UNSEEN", 2)
    monkeypatch.setattr(world, "TAUGHT", replace(world.TAUGHT, epochs=1))
    monkeypatch.setattr(pool, "EPOCHS", (1,))


@pytest.mark.slow
def test_rows_are_written_one_by_one_and_never_made_twice(quick, tmp_path):
    path, said = tmp_path / "trust.json", []
    assert record.carry_out(path, HEADER, most=2, say=said.append) == 2
    first = json.loads(path.read_text())["rows"]
    assert [row["name"] for row in first] == [row["name"] for row in said]
    assert [row["holds"] for row in first] == [True, False]
    assert {"uds", "exact", "truth_ratio", "attack lens", "aggregate memory"} <= first[0]["scores"].keys()
    assert record.carry_out(path, HEADER, most=2) == 2
    rows = json.loads(path.read_text())["rows"]
    assert rows[:2] == first
    assert [row["part"] for row in rows] == ["pool"] * 3 + ["robustness"]
    assert rows[3]["method"] == "retrained"
    assert rows[3]["before"]["uds"] == pytest.approx(1.0)
    assert trust.judge(trust.read(path)).metrics == ()


def test_a_failed_row_says_why_and_is_tried_again(quick, tmp_path, monkeypatch):
    path = tmp_path / "trust.json"
    monkeypatch.setattr(record, "World", lambda seed: type("W", (), {"full": 0, "retrained": 0})())

    def fails(*_):
        raise RuntimeError("no room")

    monkeypatch.setattr(record, "make", fails)
    assert record.carry_out(path, HEADER, most=1) == 1
    (row,) = json.loads(path.read_text())["rows"]
    assert row["failed"] == "RuntimeError: no room"
    assert trust.judge(trust.read(path)).left_out == ("1 models failed",)
    monkeypatch.setattr(record, "make", lambda *_: None)
    monkeypatch.setattr(record, "own_rows", lambda *_: ())
    monkeypatch.setattr(record, "scores", lambda *_: {"exact": 1 / 3, "ppl": float("inf")})
    assert record.carry_out(path, HEADER, most=1) == 1
    (row,) = json.loads(path.read_text())["rows"]
    assert "failed" not in row
    assert row["scores"] == {"exact": 0.33333, "ppl": "inf"}


def test_bad_input_is_said_before_anything_is_made(tmp_path, capsys):
    assert main(["trust", "--models", "0"]) == 2
    assert "models: must be 1 or more" in capsys.readouterr().err
    assert main(["trust", "--show", "--out", str(tmp_path / "none.json")]) == 2
    assert "holds no record" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_world_knows_what_it_was_taught_and_its_retrain_does_not(tmp_path):
    from unlearn.trust.scoring import scores

    made = world.World(0)
    forget = made.data.rows("forget")
    assert made.full.parameters < 500_000
    assert known(made.full, forget) > 0.95
    assert known(made.full, made.retain) > 0.95
    assert known(made.retrained, forget) < 0.75
    full, gone = (scores(made, name, getattr(made, name), tmp_path) for name in ("full", "retrained"))
    assert full["exact"] > 0.9
    assert gone["exact"] < 0.4
    assert (full["uds"], gone["uds"]) == (pytest.approx(0.0, abs=0.02), pytest.approx(1.0, abs=0.02))
    assert full["mia_loss"] > 0.9
    assert gone["mia_loss"] == pytest.approx(0.5, abs=0.2)


def test_titles_name_everything_that_is_scored():
    titles = record.titles()
    assert set(trust.KNOWS_HIGH + trust.KNOWS_LOW) <= titles.keys()
    assert len(set(titles.values())) == len(titles)
    assert {trial.method for trial in robust.trials()} == {"retrained", *robust.METHODS}
