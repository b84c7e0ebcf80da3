"""The record of `unlearn trust` made by an engine: world by world, the same rows as here, and gone on with."""

import json

import pytest
from engine_here import EngineHere

from unlearn.__main__ import main
from unlearn.commands import trust as command
from unlearn.engines.luggage import packed
from unlearn.store.runs import RunStore
from unlearn.trust import record, robust, study
from unlearn.trust.record import missing, rows_of

HEADER = {"commit": "abc"}


@pytest.fixture
def planted(monkeypatch):
    """Models that are a number of their name, and worlds that are one of their seed. Counts what is made."""
    made = []

    class World:
        def __init__(self, seed):
            self.seed = self.full = self.retrained = seed

    def one(world, task, folder):
        made.append(task.name)
        value = {"exact": len(task.name) / 100, "ppl": 1.0 + world.seed}
        if isinstance(task, robust.Trial):
            return {"method": task.method, "kept": 1.0, "before": value, "relearnt": value, "rounded": value}
        return {"kind": task.kind, "holds": task.holds, "learnt": 1.0, "scores": value}

    monkeypatch.setattr(record, "World", World)
    monkeypatch.setattr(record, "one", one)
    monkeypatch.setattr(study, "LOOK", 0.001)
    monkeypatch.setattr(command, "header_for", lambda out, words: HEADER)
    return made


def at(monkeypatch, engine):
    class Opened:
        def __init__(self, place, runs):
            self.engine = None if place.here else engine

        def __enter__(self):
            return self.engine

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(command.where, "engine_at", Opened)


def bare(path):
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(path)]
    return sorted(rows, key=lambda row: row["name"])


def test_an_engine_makes_the_rows_that_are_made_here(planted, tmp_path, monkeypatch, capsys):
    engine = EngineHere()
    at(monkeypatch, engine)
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    words = ["trust", "--models", "13", "--runs", str(tmp_path / "runs"), "--json", "--out"]
    assert main([*words, str(here)]) == 0
    assert not engine.submitted
    assert main([*words, str(there), "--on", "ray"]) == 0
    assert bare(there) == bare(here)
    assert len(bare(there)) == 13
    assert json.loads(there.read_text())["header"] == HEADER
    # The models of one world stay together, and nothing of the studies is left.
    assert len(engine.submitted) == len({row["world"] for row in rows_of(there)}) > 1
    assert not any((tmp_path / "runs" / "trust").iterdir())
    # What has a row is not made again, and the next are.
    before = len(planted)
    assert main([*words, str(there), "--on", "ray"]) == 0
    assert len(planted) - before == 13
    assert len(bare(there)) == 26
    assert "there.json" in capsys.readouterr().out


def test_the_rows_of_a_world_that_breaks_are_kept_and_it_is_told(planted, tmp_path, monkeypatch, capsys):
    real = record.one

    def breaks(world, task, folder):
        if task.world == 1 and task.name.startswith("wrong"):
            raise OSError("no space left")
        return real(world, task, folder)

    monkeypatch.setattr(record, "one", breaks)
    at(monkeypatch, EngineHere())
    out = tmp_path / "t.json"
    words = ["trust", "--models", "16", "--on", "ray", "--runs", str(tmp_path), "--out", str(out)]
    assert main(words) == 1
    assert "error: world 1: failed (no space left)" in capsys.readouterr().err
    kept = {row["world"] for row in rows_of(out)}
    assert {0, 1, 2} <= kept
    assert len(rows_of(out)) < 16
    assert not any((tmp_path / "trust").iterdir())


def test_what_a_killed_command_left_is_taken_and_gone_on_with(planted, tmp_path):
    """Two models are made, then whoever submitted it is gone; another process has a second world still."""
    names = [task.name for task in missing([]) if task.world == 0][:4]
    cut = study.TrustRecord.create(tmp_path, "w", {"world": 0, "names": names, "header": HEADER})

    def stop_after_two():
        return len(cut.rows) == 2

    study.perform(cut, should_stop=stop_after_two)
    assert cut.state == "stopped"
    assert len(cut.rows) == 2
    other = study.TrustRecord.create(tmp_path, "w", {"world": 1, "names": names, "header": HEADER})
    held = other.hold()
    out = tmp_path / "t.json"
    assert list(study.carried_out(EngineHere(), out, HEADER, tmp_path, most=3)) == []
    assert [row["name"] for row in rows_of(out)[:2]] == names[:2]
    assert len(rows_of(out)) == 5
    assert len(planted) == len(set(planted)) == 5
    assert not cut.path.exists()
    assert other.path.exists()
    held.release()


def test_its_folder_alone_travels_and_it_is_no_run(planted, tmp_path):
    one = study.TrustRecord.create(tmp_path, "w", {"world": 0, "names": [], "header": HEADER})
    names = {name.rpartition("/")[2] for name, _ in packed(one, None)}
    assert names == {"trust.json", "meta.json", "events.jsonl"}
    assert RunStore(tmp_path).list() == []


def test_it_keeps_no_weights(tmp_path, capsys):
    assert (
        main(["trust", "--on", "ray", "--store", str(tmp_path / "w"), "--out", str(tmp_path / "t.json")]) == 2
    )
    assert "--store: trust keeps no weights" in capsys.readouterr().err
