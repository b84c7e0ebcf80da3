"""The Runs page: cells of a sweep stay out of the way, and runs are found by what came of them."""

from types import SimpleNamespace

import pytest
from seed import seed_run

from tests.pages.test_compare import opened, store, words  # noqa: F401  (a fixture)
from tests.results.test_conclusion import planted
from ui.runs import folded, table
from unlearn.results import conclusion


def listed(app) -> int:
    return len(app.dataframe[0].value) if app.dataframe else 0


def test_a_sweep_is_one_line_with_its_result_until_its_runs_are_asked_for(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    seed_run(store)
    for _ in range(3):
        seed_run(store).set_meta(sweep="20261121-154000-sweep")
    seed_run(store).set_meta(sequence="20261121-160000-sequence")
    app = opened("runs")
    table = app.dataframe[0].value
    assert listed(app) == 3
    (sweep,) = [row for row in table.to_dict("records") if row["run"].startswith("Sweep")]
    assert sweep["run"] == "Sweep: GA + GD · 3 runs · 21.11. 15:40"
    assert list(sweep["verdict"]) == ["3 of 3 forgot", "3 kept", "3 both"]
    assert any(row.startswith("Sequence: GA + GD · 1 run · ") for row in table["run"])
    assert app.toggle(key="runs.swept").label == "Single runs of sweeps and sequences (4)"
    app.toggle(key="runs.swept").set_value(True).run()
    assert listed(app) == 5
    assert "5 of 5 runs" in words(app)


def test_the_name_stands_first_and_the_verdict_beside_it(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    run = seed_run(store)
    table = opened("runs").dataframe[0].value
    assert list(table.columns)[:2] == ["run", "verdict"]
    assert "GA + GD · Fictional authors" in table["run"][0]
    assert (
        list(table["verdict"][0])
        == list(conclusion.marks(run.summary()))
        == ["forgot", "kept", "not attacked"]
    )


@pytest.mark.parametrize("state", ["failed", "stopped", "interrupted"])
def test_a_run_without_a_verdict_says_its_state_in_its_place(store, monkeypatch, state):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    seed_run(store, state)
    assert list(opened("runs").dataframe[0].value["verdict"][0]) == [state]
    assert state in folded.colors()


def test_without_a_selection_there_are_no_buttons_for_one(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    seed_run(store)
    app = opened("runs")
    assert not [button for button in app.button if button.key and button.key.startswith("runs.")]
    assert "Select a row to see what can be done with it" in words(app)


@pytest.mark.parametrize("owner", ["", "somebody else"])
def test_a_selected_run_offers_what_can_be_done_with_it(store, monkeypatch, owner):  # noqa: F811
    import streamlit as st

    monkeypatch.setattr("ui.shell.recorded", list)
    run = seed_run(store, owner=owner)
    draw, offered = st.dataframe, {}

    def chosen(*given, **how):
        draw(*given, **how)
        return type("Picked", (), {"selection": type("Rows", (), {"rows": [0]})})

    monkeypatch.setattr(st, "dataframe", chosen)
    monkeypatch.setattr(st, "download_button", lambda label, data, **_: offered.setdefault(label, data))
    app = opened("runs")
    buttons = {button.label for button in app.button}
    assert {"Open", "Compare", "Attack", "Repeat"} <= buttons
    assert ("Delete" in buttons) == (not owner)
    assert list(offered) == ["Export", "Receipt", "Model card", "Report"]
    receipt, card = offered["Receipt"]().decode(), offered["Model card"]().decode()
    assert run.id in receipt
    assert conclusion.of_run(run)["kept"]["sentence"] in card


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


def test_a_run_is_damaged_by_the_rule_of_its_verdict():
    """General texts that the model never said tell nothing, and the rows to keep tell in their place."""
    before = {"general": {"ppl": 128_046.0}, "retain": {"ppl": 1.0}}
    for kept, found in ((1.9, ()), (2.1, ("damaged",))):
        after = {"general": {"ppl": 1e9}, "retain": {"ppl": kept}}
        assert table.outcomes({"before": before, "after": after}) == found


@pytest.mark.parametrize(("before", "shown"), [(999.0, 100.0), (1001.0, None)])
def test_a_change_of_what_the_model_never_said_is_no_number(store, before, shown):  # noqa: F811
    run = seed_run(store)
    for when, ppl in (("before", before), ("after", before + 100)):
        run.append("eval", when=when, scores={"general": {"ppl": ppl}})
    (row,) = table.rows([run.summary()], table.BEFORE)
    assert row["perplexity"] == (None if shown is None else pytest.approx(shown))
    (row,) = table.rows([run.summary()], table.ABSOLUTE)
    assert row["perplexity"] == (None if shown is None else pytest.approx(before + 100))


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


def test_what_every_name_says_has_no_column_of_its_own(store):  # noqa: F811
    def columns() -> list[str]:
        return list(opened("runs").dataframe[0].proto.column_order)

    run = seed_run(store)
    scores = ["forget", "retain", "perplexity"]
    assert columns() == ["run", "verdict", *scores, "status"]
    seed_run(store, model="smollm2")
    assert columns() == ["run", "verdict", *scores, "status", "model"]
    # A name of a person's own says nothing of method and data.
    run.set_meta(title="The first one")
    assert columns() == ["run", "verdict", *scores, "status", "method", "forget set", "model"]


@pytest.mark.parametrize(
    ("forget", "shown"),
    [
        ((48, 1, 0), ["forgot", "kept", "not attacked"]),
        ((48, 47, 0), ["not forgotten", "kept"]),
        ((0, 0, 0), ["nothing to forget", "kept"]),
    ],
)
def test_where_nothing_was_forgotten_no_attack_is_missed(store, monkeypatch, forget, shown):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    planted(store, forget=forget, retain=(49, 49, 49))
    assert list(opened("runs").dataframe[0].value["verdict"][0]) == shown


def test_a_run_that_waits_says_its_place_in_the_queue(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    run = seed_run(store, "queued")
    monkeypatch.setattr("ui.shell.runner", lambda: SimpleNamespace(position=lambda _: 2, active=list))
    with run.held():
        table = opened("runs").dataframe[0].value
    assert list(table["status"]) == ["queued (2)"]
