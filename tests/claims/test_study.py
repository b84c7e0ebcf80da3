"""Claims that an engine carries out: what they found is recorded as here, and nothing of them is left behind."""

import json
import threading

import pytest
from engine_here import EngineHere

from unlearn import claims
from unlearn.__main__ import main
from unlearn.claims import record, study
from unlearn.claims.base import Finding
from unlearn.claims.training import MODEL
from unlearn.commands import claims as command
from unlearn.engines.luggage import packed, place_of
from unlearn.store.runs import RunStore


class Planted:
    """A claim whose experiment is two numbers."""

    elsewhere = ""

    def __init__(self, key, breaks=False):
        self.key, self.title, self.breaks, self.measured = key, f"Claim {key}", breaks, 0
        self.wait = None

    def measure(self, lab, full):
        self.measured += 1
        first = lab.once({"what": "one", "of": self.key}, lambda: {"value": 1})
        if self.wait:
            self.wait()
        second = lab.once({"what": "two", "of": self.key}, lambda: {"value": 2 + full})
        if self.breaks:
            raise RuntimeError("no such number")
        return {"values": [first["value"], second["value"]]}

    def judge(self, data):
        return Finding("confirmed", f"It is {data['values']}.", ())


@pytest.fixture
def planted(monkeypatch):
    found = {key: Planted(key, breaks=key == "B1") for key in ("A1", "A2", "B1")}
    for module in (claims, study):
        monkeypatch.setattr(module, "CLAIMS", found)
    monkeypatch.setattr(study, "LOOK", 0.001)
    monkeypatch.setattr(command, "header_for", lambda out, words: {"commit": "abc"})
    return found


def at(monkeypatch, engine):
    class Opened:
        def __init__(self, place, runs):
            assert place.on == "ray"

        def __enter__(self):
            return engine

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(command.where, "engine_at", Opened)


def test_claims_elsewhere_give_the_entries_of_claims_here(planted, tmp_path, monkeypatch, capsys):
    here = [
        "claims",
        "A1",
        "A2",
        "--full",
        "--runs",
        str(tmp_path / "here"),
        "--out",
        str(tmp_path / "a.json"),
    ]
    assert main(here) == 0
    at(monkeypatch, EngineHere())
    there = ["claims", "A1", "A2", "--full", "--on", "ray", "--runs", str(tmp_path / "there")]
    assert main([*there, "--out", str(tmp_path / "b.json"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["claims"]
    ours, theirs = (record.entries(tmp_path / name) for name in ("a.json", "b.json"))
    assert set(theirs) == set(told) == {"A1", "A2"}
    for key in ours:
        assert {k: v for k, v in theirs[key].items() if k != "seconds"} == {
            k: v for k, v in ours[key].items() if k != "seconds"
        }
    # The outcomes stay for the next claim, and the claims' own folders do not.
    names = {path.name for path in (tmp_path / "there" / "claims").iterdir()}
    assert names == {path.name for path in (tmp_path / "here" / "claims").iterdir()}
    assert len(names) == 4


def test_a_claim_that_fails_is_told_and_the_others_are_kept(planted, tmp_path, monkeypatch, capsys):
    at(monkeypatch, EngineHere())
    out = tmp_path / "b.json"
    assert main(["claims", "A1", "B1", "--on", "ray", "--runs", str(tmp_path), "--out", str(out)]) == 1
    assert "error: B1: failed (no such number)" in capsys.readouterr().err
    assert set(record.entries(out)) == {"A1"}
    assert not [path for path in (tmp_path / "claims").iterdir() if path.is_dir()]


def test_weights_cannot_go_elsewhere_where_there_are_none(planted, tmp_path, capsys):
    assert main(["claims", "A1", "--store", str(tmp_path / "w"), "--out", str(tmp_path / "b.json")]) == 2
    assert "--store: claims keep no weights" in capsys.readouterr().err


def test_the_outcomes_travel_along_but_no_other_claim(planted, tmp_path):
    first, second = (study.begun(planted[key], "quick", MODEL, tmp_path) for key in ("A1", "A2"))
    study.perform(first)
    (tmp_path / "claims" / "0123.json").write_text("{}")
    names = {name for name, _ in packed(second, None)}
    mine = {f"{place_of(second)}/{name}" for name in ("claim.json", "meta.json", "events.jsonl")}
    outcomes = {f"claims/{path.name}" for path in (tmp_path / "claims").glob("*.json")}
    assert len(outcomes) == 3
    assert names == mine | outcomes


def test_a_claim_that_was_cut_short_goes_on_in_its_folder(planted, tmp_path):
    """Whoever submitted it was killed: the next command takes the same folder, and computes what is missing."""
    stop = threading.Event()
    planted["A1"].wait = stop.set
    cut = study.begun(planted["A1"], "quick", MODEL, tmp_path)
    study.perform(cut, should_stop=stop.is_set)
    assert cut.state == "stopped"
    planted["A1"].wait = None
    engine = EngineHere()
    silent = lambda phase, part: None  # noqa: E731
    told = list(study.carried_out(engine, [planted["A1"]], "quick", MODEL, tmp_path, silent))
    assert [entry.path for entry in engine.submitted] == [cut.path]
    ((_, entry, why_not),) = told
    assert (entry["computed"], entry["reused"], why_not) == (1, 1, "")
    assert RunStore(tmp_path).list() == []
    assert study.begun(planted["A1"], "full", MODEL, tmp_path).path != cut.path
