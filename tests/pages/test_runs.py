"""The Runs page: cells of a sweep stay out of the way, and runs are found by what came of them."""

import time

import pytest
from seed import seed_run

from tests.pages.test_compare import opened, store, words  # noqa: F401  (a fixture)
from ui.runs import table


def listed(app) -> int:
    return len(app.dataframe[0].value) if app.dataframe else 0


def test_cells_of_a_sweep_are_hidden_until_asked_for(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    seed_run(store)
    for _ in range(3):
        seed_run(store).set_meta(sweep="20261121-sweep")
    app = opened("runs")
    assert listed(app) == 1
    assert app.toggle(key="runs.swept").label == "Made by a sweep (3)"
    app.toggle(key="runs.swept").set_value(True).run()
    assert listed(app) == 4
    assert "4 of 4 runs" in words(app)


def test_a_store_of_cells_alone_says_where_they_are(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    seed_run(store).set_meta(sweep="20261121-sweep")
    assert "1 runs made by a sweep are hidden" in words(opened("runs"))


def test_without_a_sweep_there_is_no_switch(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    seed_run(store)
    assert not opened("runs").toggle


def test_beside_the_example_alone_stands_where_to_start(store):  # noqa: F811
    hint = "no run of your own exists yet"
    app = opened("runs")
    assert (listed(app), hint in words(app)) == (1, True)
    assert any(link.label == "Start a run" for link in app.get("page_link"))
    seed_run(store)
    assert hint not in words(opened("runs"))


def test_a_list_that_takes_long_to_draw_is_drawn_less_often(store, monkeypatch):  # noqa: F811
    """At 0.1 s of CPU time a drawing, one every two seconds would cost a twentieth of a core."""
    spent = iter(range(1000))
    monkeypatch.setattr(time, "thread_time", lambda: next(spent) / 10)
    run = seed_run(store, state="running")
    with run.held():
        app = opened("runs")
        assert listed(app) == 2
        assert 0.1 / app.session_state["runs.every"] <= 0.02


@pytest.mark.parametrize(
    ("after", "truth", "before_ppl", "after_ppl", "found"),
    [
        (5.0, 2.9, 1.5, 2.9, ("over-forgotten",)),
        (4.8, 2.9, 1.5, 3.1, ("damaged",)),
        (1.0, 2.9, 1.5, 1.5, ()),
        (float("inf"), 2.9, 1.5, float("nan"), ("over-forgotten", "damaged")),
        (9.0, None, None, 9.0, ()),
    ],
)
def test_what_came_of_a_run(after, truth, before_ppl, after_ppl, found):
    scores = {
        "before": {"general": {"ppl": before_ppl}},
        "after": {"forget": {"nll": after}, "general": {"ppl": after_ppl}},
        "retrained": {"forget": {"nll": truth}},
    }
    assert table.outcomes(scores) == found


def test_plain_texts_are_scored_by_what_is_reproduced_whole(store):  # noqa: F811
    run = seed_run(store)
    scores = {
        "before": {"forget": {"memorised": 1.0}},
        "after": {"forget": {"memorised": 0.25, "exact": None}},
    }
    for when, found in scores.items():
        run.append("eval", when=when, scores=found)
    (row,) = table.rows([run.summary()], table.BEFORE)
    assert row["forget"] == pytest.approx(-75)
    assert row["retain"] is None


def test_runs_are_found_by_what_came_of_them(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    seed_run(store)
    broken = seed_run(store)
    broken.append("eval", when="after", scores={"general": {"ppl": 50.0}})
    app = opened("runs")
    assert listed(app) == 2
    pills = app.button_group(key="runs.outcomes")
    assert pills.options == ["damaged (1)"]
    pills.set_value(["damaged"]).run()
    assert listed(app) == 1


def test_of_a_large_store_the_newest_are_drawn_and_older_ones_are_found(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    monkeypatch.setattr("ui.runs.table.MOST", 2)
    for title in ("rose", "tulip", "iris", "lily"):
        seed_run(store).set_meta(title=title)
    app = opened("runs")
    assert listed(app) == 2
    assert "The newest 2 of 4 that fit; filter for older ones. 4 of 4 runs" in words(app)
    oldest = store.list()[-1].title
    app.text_input(key="runs.search").set_value(oldest).run()
    assert list(app.dataframe[0].value["run"]) == [oldest]
    assert "The newest" not in words(app)


def test_a_choice_of_one_run_offers_the_newest_and_the_one_in_the_address(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    monkeypatch.setattr("ui.pick.MOST", 2)
    for _ in range(4):
        seed_run(store)
    oldest = store.list()[-1].id
    app = opened("compare")
    assert len(app.selectbox(key="pick.a").options) == 2
    app = opened("compare", a=oldest)
    assert len(app.selectbox(key="pick.a").options) == 3
    assert app.selectbox(key="pick.a").value == oldest
