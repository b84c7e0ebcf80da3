"""The Claims page tests claims: what it takes, at work, stopped, failed, done, and after a restart."""

import threading
import time
from pathlib import Path

import pytest
import streamlit as st
from planted_claims import PLANTED

from tests.pages.test_compare import opened
from ui import shell
from ui.claims import form
from ui.demo import visitor
from unlearn.__main__ import main
from unlearn.claims import CLAIMS, record, study
from unlearn.engines.place import Place
from unlearn.engines.thread import Runner
from unlearn.store.caps import VISITOR
from unlearn.store.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
WAIT = 60.0
pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of its own, with a runner that ends with the test."""
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    st.cache_data.clear()
    made = RunStore(tmp_path)
    runner = Runner(made)
    monkeypatch.setattr(shell, "runner", lambda: runner)
    yield made
    runner.close()


def planted(monkeypatch, measure):
    monkeypatch.setattr(type(CLAIMS["A4"]), "measure", measure)


def found(self, lab, full):
    return PLANTED["A4"]["refuted"]


def until(true) -> None:
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def asked(mode="quick", keys=("A4",)):
    app = opened("claims")
    app.session_state["claim.keys"] = list(keys)
    app.session_state["claim.mode"] = mode
    return app.run()


def pressed(app, key="go"):
    next(button for button in app.button if button.key == key).click().run()
    assert not app.exception, app.exception
    return app


def said(app) -> str:
    kinds = (app.markdown, app.caption, app.info, app.error, app.warning, app.code)
    return "\n".join(str(one.value) for kind in kinds for one in kind).replace("\\", "")


def only(store):
    (one,) = study.ClaimRecord.every(store.root)
    return one


def test_nothing_can_be_begun_before_a_claim_is_chosen(store):
    app = opened("claims")
    go = next(button for button in app.button if button.key == "go")
    assert go.disabled
    assert "Choose one or several claims." in said(app)
    assert study.ClaimRecord.every(store.root) == []


@pytest.mark.parametrize(
    ("mode", "words"), [("quick", "all 17 together some 15"), ("full", "about 10 CPU minutes")]
)
def test_what_it_takes_is_said_before(store, mode, words):
    app = asked(mode, ("A2", "A4", "B1"))
    assert words in said(app)
    assert ("B1 not timed alone" in said(app)) == (mode == "full")
    assert f"python -m unlearn claims A2 A4 B1 --{mode}" in said(app)


def test_a_test_runs_to_its_verdict_and_stays(store, monkeypatch):
    planted(monkeypatch, found)
    app = pressed(asked())
    until(lambda: only(store).state == "done")
    words = said(app.run())
    assert "A4 Membership inference falls to chance · quick" in words
    assert f"**Refuted.**] {CLAIMS['A4'].judge(PLANTED['A4']['refuted']).sentence}" in words
    # Another visit, and another server, read the same.
    assert form.label(only(store)) in said(opened("claims"))
    # The command's own records are no part of the page, and it takes none of these away.
    study.begun(CLAIMS["A4"], "quick", "tiny-authors", store.root)
    assert [one.id for one in form.records()] == [only_done(store).id]
    next(b for b in app.button if b.key == f"claim.{only_done(store).id}.yes").click().run()
    assert form.records() == []


def only_done(store):
    (one,) = [one for one in study.ClaimRecord.every(store.root) if one.state == "done"]
    return one


def test_one_at_work_tells_what_it_does_is_stopped_and_goes_on(store, monkeypatch):
    go, begun = threading.Event(), threading.Event()

    def measure(self, lab, full):
        lab.say("gd, lr 1e-4")
        begun.set()
        assert go.wait(WAIT)
        lab.say("gd, lr 3e-4")
        return PLANTED["A4"]["refuted"]

    planted(monkeypatch, measure)
    app = pressed(asked("full"))
    assert begun.wait(WAIT)
    record_ = only(store)
    fraction, words = form.how_far(record_)
    assert 0 <= fraction < 1
    assert words.startswith("A4: gd, lr 1e-4 · ")
    assert words.endswith("of about 2 CPU minutes")
    pressed(asked("full"))
    assert len(study.ClaimRecord.every(store.root)) == 1, "the same is not begun twice"
    pressed(app.run(), f"claim.{record_.id}.stop")
    go.set()
    until(lambda: record_.state == "stopped")
    pressed(app.run(), f"claim.{record_.id}.resume")
    until(lambda: record_.state == "done")
    assert record_.entry["finding"]["verdict"] == "refuted"


def test_each_goes_where_this_browser_wants_it(store, monkeypatch):
    sent, runner = [], shell.runner()
    monkeypatch.setattr(form.where, "choose", lambda: None)
    monkeypatch.setattr(form.where, "chosen", lambda: Place(on="ray:head:6379"))
    monkeypatch.setattr(runner, "submit", lambda *records, **more: sent.append((records[0].config, more)))

    def away(place):
        raise ValueError("--on ray: nobody listens")

    monkeypatch.setattr(runner, "reach", away)
    assert "nobody listens" in said(pressed(asked()))
    assert study.ClaimRecord.every(store.root) == [], "what cannot be reached leaves nothing"
    monkeypatch.setattr(runner, "reach", lambda place: None)
    pressed(asked("full", ("A4", "B1")))
    assert [(config["claim"], config["mode"]) for config, _ in sent] == [("A4", "full"), ("B1", "full")]
    assert all(more["place"].on == "ray:head:6379" for _, more in sent)
    assert all(more["perform"] is study.perform for _, more in sent)


def test_one_that_failed_says_why(store, monkeypatch):
    def measure(self, lab, full):
        raise ValueError("no such number")

    planted(monkeypatch, measure)
    app = pressed(asked())
    until(lambda: only(store).state == "failed")
    assert "It failed: no such number" in said(app.run())


def test_what_a_server_left_at_its_end_is_resumed_by_the_next(store, monkeypatch):
    planted(monkeypatch, found)
    left = study.create(CLAIMS["A4"], "quick", store.root)
    left.append("state", state="running")
    app = opened("claims")
    assert "The program that ran it ended first." in said(app)
    pressed(app, f"claim.{left.id}.resume")
    until(lambda: left.state == "done")


def test_an_outcome_that_cannot_be_read_is_said(store):
    left = study.create(CLAIMS["A4"], "quick", store.root)
    left.append("state", state="done")
    assert "Its outcome cannot be read any more" in said(opened("claims"))


@pytest.mark.parametrize("mode", ["UNLEARN_DEMO"])
def test_a_visitor_reads_and_begins_nothing(store, monkeypatch, mode):
    monkeypatch.setenv(mode, "1")
    monkeypatch.setattr(visitor, "_token", lambda: "me")
    app = opened("claims")
    assert [button.key for button in app.button if button.key == "go"] == []
    assert "Visitors read what was found" in said(app)
    mine = study.ClaimRecord.create(store.root, "a4", {"claim": "A4", "mode": "full"}, owner=f"{VISITOR}me")
    with pytest.raises(ValueError, match="demo: visitors begin no experiments of this kind"):
        shell.runner().submit(mine, perform=study.perform)
    with pytest.raises(ValueError, match="visitors begin no experiments"):
        form.rules.allow_kind(study.ClaimRecord, f"{VISITOR}me")


def test_the_budget_is_that_of_the_text():
    """Each row of the table in docs/claims.md: a claim or several, and its last cell."""
    text = (ROOT / "docs" / "claims.md").read_text().partition("budget, CPU min |")[2].partition("\n\n")[0]
    lines = [line for line in text.splitlines() if line[:1] == "|" and "--" not in line]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    told = {tuple(sorted(cells[0].split(", "))): float(cells[-1].split(" to ")[-1]) for cells in rows}
    assert told == {tuple(sorted(keys)): spent for keys, spent in study.MINUTES.items()}
    assert all(key in CLAIMS for keys in study.MINUTES for key in keys)


def test_the_command_still_takes_its_own_record_away(store, monkeypatch, capsys):
    planted(monkeypatch, found)
    study.create(CLAIMS["A4"], "quick", store.root)
    words = ["claims", "A4", "--quick", "--out", str(store.root / "out.json"), "--runs", str(store.root)]
    assert main(words) == 0
    assert record.entries(store.root / "out.json")["A4"]["finding"]["verdict"] == "refuted"
    assert len(study.ClaimRecord.every(store.root)) == 1
