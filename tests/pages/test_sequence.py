"""The Sequence page: what a sequence came to stands first, in a sentence; several have theirs one below the other."""

import json

import pytest
import streamlit as st
from seed import seed_run
from streamlit.testing.v1 import AppTest

from tests.pages.test_compare import opened
from tests.work.test_sequence import seed_sequence
from ui.sequence import form
from unlearn.store.runs import RunStore
from unlearn.work import sequence

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    return RunStore(tmp_path)


def bold(app) -> list[str]:
    said = [one.value.replace("\\", "").replace("\u00a0", " ") for one in app.main.markdown]
    return [words.strip("*") for words in said if words.startswith("**")]


def test_the_first_sentence_says_what_is_left_and_what_it_cost(store):
    record = seed_sequence(store)
    said = "3 of 3 requests were honoured: 22 % of their answers are left; of the rest it answers 80 %, before 95 %."
    names, sentence, *figures = bold(opened("sequence", sequence=record.id))[1:]
    assert names.startswith("NPO · chain · 3, 1, 2")
    assert sentence == said
    assert figures[0].startswith("NPO chain: after 3 requests 22 % of the answers are left")


def test_of_several_each_has_its_own_sentence(store):
    chain, fuse = seed_sequence(store), seed_sequence(store, mode="fuse")
    told = [
        words for words in bold(opened("sequence", sequence=f"{chain.id},{fuse.id}")) if "honoured" in words
    ]
    assert len(told) == 2
    assert [" chain ·" in told[0], " fuse ·" in told[1]] == [True, True]


@pytest.mark.parametrize(("metric", "unit"), [("exact", ", %"), ("ppl", "")])
def test_all_numbers_say_shares_in_per_cent_and_leave_perplexities(store, metric, unit):
    record = seed_sequence(store)
    tables = opened("sequence", {"sequence.metric": metric}, sequence=record.id).dataframe
    shown = next(one for one in tables if "to come" in one.value)
    plain = sequence.summary(record, metric)
    for name in ("done", "to come", "retain", "utility"):
        assert json.loads(shown.proto.columns)[name]["label"] == f"{name}{unit}"
        values = [row[name] for row in plain if row[name] is not None]
        assert values
        assert list(shown.value[name].dropna()) == pytest.approx([(100 if unit else 1) * v for v in values])
    assert list(shown.value["after"]) == [row["after"] for row in plain]


def _actions(folder):
    from pathlib import Path

    from ui import studies
    from ui.sequence.form import PANEL
    from unlearn.work.sequence import SequenceRecord

    record = SequenceRecord(Path(folder))
    studies.actions(PANEL, record, record.state)


def test_a_sequence_of_another_process_names_the_command_that_stops_it(store):
    record = seed_sequence(store, state="running")
    with record.lock():
        app = AppTest.from_function(_actions, args=(str(record.path),), default_timeout=60).run()
    assert not app.exception
    (said,) = [one.value for one in app.caption]
    assert (
        said
        == f"It runs in another process. Stop it in the app that began it, or with: unlearn stop {record.id}"
    )
    assert not app.button


def test_what_a_sequence_will_take_is_estimated_anew_only_where_something_changed(store, monkeypatch):
    asked = []
    whole = form.preflight
    monkeypatch.setattr(form, "preflight", lambda *given: asked.append(given) or whole(*given))
    st.cache_data.clear()
    app = opened("sequence")
    assert len(asked) == 5
    app.run()
    assert len(asked) == 5
    rate = next(one for one in app.number_input if one.label == "Learning rate")
    rate.set_value(3e-4).run()
    assert len(asked) == 10
    assert any("5 runs, " in one.value for one in app.caption)
    # The speed of a run that has ended counts.
    seed_run(store)
    app.run()
    assert len(asked) == 15


def test_undo_after_each_request_is_a_switch_with_its_share(store):
    def asked(app):
        return " ".join(str(code.value) for code in app.code if "unlearn sequence" in str(code.value))

    app = opened("sequence")
    assert asked(app)
    assert "--undo" not in asked(app)
    app.toggle(key="sequence.undo").set_value(True).run()
    assert "--undo 0.25" in asked(app)
    app.slider(key="sequence.undo.share").set_value(0.4).run()
    assert "--undo 0.4" in asked(app)
