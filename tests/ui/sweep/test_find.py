"""Find settings for me: one button with minutes to spend, and what it ends with."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from ui.sweep import find
from unlearn.engines.place import Place
from unlearn.results.search.record import SearchConfig, create, searches
from unlearn.results.search.space import axes
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work.search import journal

ROOT = Path(__file__).resolve().parents[3]
RUN = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo", lr=1e-3)
MODELS = {
    half: {
        "before": {"forget": 1.0, "utility": 0.8},
        "retrained": {"forget": 0.1, "utility": 0.8},
        "target": 0.1,
        "n": 45,
        "same": False,
    }
    for half in ("chosen", "reported")
} | {"whose": "the retrained model"}


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    import streamlit as st

    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    monkeypatch.setenv("UNLEARN_ROOTS", "")
    monkeypatch.setattr("ui.shell.guard", lambda: None)  # under AppTest it starts again and so eats the click
    st.cache_data.clear()
    return RunStore(tmp_path)


def opened(**query) -> AppTest:
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60).run()
    for key, value in query.items():
        app.query_params[key] = value
    app.switch_page("../pages/sweep.py").run()
    assert not app.exception, app.exception
    return app


def texts(app) -> str:
    kinds = (app.markdown, app.caption, app.info, app.error, app.warning)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def planted(store, state="done"):
    """A search of three trials: shipped settings, better ones, and one that was given up."""
    found = create(SearchConfig(runs=(RUN,), axes=(axes(RUN, ["lr"]),), minutes=3), store)
    found.append("state", state="running")
    found.append("models", **MODELS)
    run = store.create(RUN)
    run.set_meta(sweep=found.id, trial=1)
    for number, (forget, utility, how) in enumerate(
        ((0.5, 0.8, "done"), (0.12, 0.78, "done"), (0, 0, "pruned"))
    ):
        scores = {"forget": forget, "utility": utility} if how == "done" else {}
        found.append(
            "trial",
            number=number,
            method="npo",
            settings={"lr": 1e-3 * (number + 1)},
            shipped=number == 0,
            runs=[run.id],
            state=how,
            reason="",
            seconds=30.0,
            chosen=scores,
            reported=scores,
            curve=[],
        )
    found.append("state", state=state)
    return found, run


def test_the_form_begins_with_one_button_and_three_minutes(store):
    app = opened()
    assert app.button(key="go").label == "Find settings for me"
    assert not app.button(key="go").disabled
    assert app.number_input(key="find.minutes").value == 3.0
    assert "Varied: NPO: learning rate 1.5e-05 to 0.0015, epochs 1 to 15" in texts(app)
    app.session_state["find.methods"] = []
    app.run()
    assert app.button(key="go").disabled


def test_without_optuna_the_form_says_how_to_get_it(store, monkeypatch):
    def missing():
        raise ValueError("tune: it needs Optuna; install it")

    monkeypatch.setattr(journal, "check", missing)
    app = opened()
    assert "it needs Optuna" in texts(app)
    assert app.button(key="go").disabled


def test_a_finished_search_ends_with_a_sentence_a_link_and_the_figure(store):
    found, run = planted(store)
    app = opened(sweep=found.id)
    said = texts(app)
    assert (
        "3 settings tried in 90 s (1 given up early)" in said
        or "3 settings tried in 2 min (1 given up early)" in said
    )
    assert "NPO with learning rate 0.002" in said
    assert "On the 45 forget rows that took no part in the choice" in said
    said = said.replace("\u00a0", " ")
    assert "Of 2 settings the one taken leaves the forget answers at 12 % (target 10 %)" in said
    links = [str(link.proto) for link in app.get("page_link")]
    assert any("Open the best run" in link and run.id in link for link in links)
    (table,) = [frame.value for frame in app.dataframe if "ended" in frame.value]
    assert list(table["ended"]) == ["done", "done", "pruned"]
    assert "3 min" in app.selectbox(key="sweep.chosen").options[0]


def test_a_best_run_that_was_deleted_still_has_its_command(store):
    found, run = planted(store)
    store.delete(run)
    assert "The best run was deleted" in texts(opened(sweep=found.id))


def test_a_search_that_was_stopped_can_go_on(store):
    found, _ = planted(store, "stopped")
    assert [button for button in opened(sweep=found.id).button if button.label == "Resume"]


def test_how_far_a_search_is_says_settings_minutes_and_what_it_does_now(store, monkeypatch):
    found, _ = planted(store, "running")
    here = SimpleNamespace(position=lambda record: 0, progress=lambda record: ("Trial 4: training", 0.6, 1.0))
    monkeypatch.setattr("ui.shell.runner", lambda: here)
    with found.held():
        fraction, words = find.how_far(found)
    assert fraction == 0.6
    assert words == "3 settings tried · 2 min of 3 min · Trial 4: training"


@pytest.mark.slow
def test_the_button_queues_a_search_with_its_minutes(store, monkeypatch):
    asked = []
    monkeypatch.setattr("ui.known.ask_first", lambda configs: True)
    monkeypatch.setattr("ui.actions.do", lambda name, record, *given: asked.append((name, record, given)))
    app = opened()
    app.number_input(key="find.minutes").set_value(2.0).run()
    app.button(key="go").click().run()
    assert not app.exception
    ((name, record, given),) = asked
    assert given[1].here
    assert (name, record.config.minutes, record.config.methods) == ("begin", 2.0, ("npo",))
    assert [found.id for found in searches(store)] == [record.id]


def test_a_search_is_carried_out_where_this_browser_wants_it(store, monkeypatch):
    """As `unlearn tune --on ray` does."""
    asked = []
    runner = SimpleNamespace(
        roots=None, admit=lambda owner: None, reach=lambda place: asked.append(place),
        submit=lambda record, perform, place: asked.append((perform, place)),
    )  # fmt: skip
    monkeypatch.setattr("ui.shell.runner", lambda: runner)
    monkeypatch.setattr("ui.launch.where.chosen", lambda: Place(on="ray"))
    monkeypatch.setattr(find.studies.known, "ask_first", lambda runs: True)
    monkeypatch.setattr(find.studies.st, "rerun", lambda: None)
    find.launch(SearchConfig(runs=(RUN,), axes=(axes(RUN, ["lr"]),), minutes=3))
    assert asked == [Place(on="ray"), (find.search.perform, Place(on="ray"))]
    assert len(searches(store)) == 1
