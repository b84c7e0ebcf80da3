"""The page Unlearn below its form: a run that waits, that has ended, that was ruined or discarded."""

import time

import pytest
from seed import seed_run

from tests.pages.test_compare import opened, store, words  # noqa: F401  (a fixture)
from tests.results.test_conclusion import attacked, planted
from ui import live
from ui.launch import answers, stages
from unlearn.methods import METHODS

ATTACK = "Is it really gone? Attack it"


def button(app, label):
    return next(one for one in app.button if one.label == label)


@pytest.mark.slow
def test_a_finished_run_says_its_numbers_beside_the_retrained_ones(store):  # noqa: F811
    run = planted(store, forget=(48, 2, 1))
    app = opened("launch", run=run.id)
    told = {metric.label: metric.value for metric in app.metric}
    assert told["To forget, still answered"] == "4 % (retrained 2 %)"
    assert told["Is it really gone?"] == "not attacked yet"
    assert button(app, ATTACK)
    assert "not attacked" in words(app)


@pytest.mark.slow
def test_what_was_attacked_says_what_came_back(store):  # noqa: F811
    run = attacked(planted(store), relearn="suppressed")
    app = opened("launch", run=run.id)
    assert {metric.label: metric.value for metric in app.metric}["Came back under attack"].startswith(
        "80 % ("
    )
    assert button(app, "Look at the attacks")


@pytest.mark.slow
def test_a_ruined_run_is_no_success_and_leads_to_the_tuned_rate(store):  # noqa: F811
    run = planted(store, forget=(48, 0, 1), retain=(49, 0, 49), ppl=(5.0, "inf", 5.0), lr=1.0)
    app = opened("launch", run=run.id)
    assert "It answers nothing any more; this is not unlearning." in words(app).replace("\\", "")
    tuned = METHODS["gd"].settings("tiny", "full", "tiny-authors")["lr"]
    button(app, f"Again with the tuned rate, {tuned:g}").click().run()
    assert not app.exception
    fields = {field.key: field.value for field in app.number_input}
    assert fields["form.gd.bundled.full.lr"] == pytest.approx(tuned)


@pytest.mark.slow
def test_where_the_tuned_rate_itself_ruins_another_method_is_offered(store):  # noqa: F811
    tuned = METHODS["ga"].settings("tiny", "full", "tiny-authors")["lr"]
    run = planted(store, retain=(49, 5, 49), ppl=(5.0, 90.0, 5.0), method="ga", lr=tuned)
    labels = [one.label for one in opened("launch", run=run.id).button]
    assert "Try NPO instead" in labels
    assert not any("tuned rate" in label for label in labels)


@pytest.mark.slow
def test_a_run_that_had_nothing_to_forget_says_so_in_its_headline(store):  # noqa: F811
    run = planted(store, forget=(0, 0, 0))
    assert "nothing was deleted" in words(opened("launch", run=run.id))


@pytest.mark.slow
def test_a_discarded_run_is_said_to_be_gone_and_the_form_is_back(store):  # noqa: F811
    seed_run(store)
    gone = "20261129-120000-npo-abcd"
    app = opened("launch", {live.DISCARDED: {gone: time.time()}, "settings.open": False}, run=gone)
    shown = words(app)
    assert "Discarded; nothing of it was kept." in shown
    assert "ended first" not in shown
    assert app.session_state["settings.open"]
    assert "run" not in app.query_params
    assert "Discarded" not in words(app.run())


@pytest.mark.slow
def test_while_a_discarded_run_ends_its_step_nothing_of_it_is_offered(store):  # noqa: F811
    run = seed_run(store, "stopped")
    app = opened("launch", {live.DISCARDED: {run.id: time.time()}}, run=run.id)
    shown = words(app)
    assert "Discarding it" in shown
    assert "You stopped it" not in shown
    # A folder that could not be deleted is shown again.
    late = {live.DISCARDED: {run.id: time.time() - 2 * live.PATIENCE}}
    assert "You stopped it" in words(opened("launch", late, run=run.id))


def test_the_questions_stand_there_before_the_model_was_asked(store):  # noqa: F811
    run = seed_run(store, "queued")
    rows = answers.lines(run)
    assert [row["set"] for row in rows] == ["forget"] * 5 + ["retain"] * 5
    assert all(row["question"] and row["answer"] and "now" not in row for row in rows)
    (run.path / "config.json").unlink()
    assert stages.rows_to_come(run)  # read once


def test_rows_that_cannot_be_read_are_none(store):  # noqa: F811
    run = seed_run(store, "queued", data={"forget": "/nowhere/rows.csv"})
    assert answers.lines(run) == []


@pytest.mark.slow
def test_the_stages_are_ticked_off(store):  # noqa: F811
    run = seed_run(store, "running")
    run.append("note", phase="training")
    with run.lock():
        shown = words(opened("launch", run=run.id))
    assert "check_circle:] Loading the model :gray[1 s]" in shown
    assert "pending: **Unlearning**" in shown
    assert "gray[:material/circle: Saving]" in shown


def test_the_answers_stand_beside_the_retrained_ones(store):  # noqa: F811
    row = answers.lines(seed_run(store))[0]
    assert (row["before"], row["now"], row["retrained"]) == ("Lisbon", "Porto", "Porto")
    assert row["p"] == pytest.approx(0.64, abs=0.01)


@pytest.mark.slow
def test_closed_losses_are_not_drawn_and_each_term_is_a_figure_of_its_own(store):  # noqa: F811
    from ui.launch import curves

    run = seed_run(store)
    drawn = curves.terms(run.events("step"), False)
    assert len(drawn) == 2
    assert [figure.layout.title.text.split()[0] for figure in drawn] == ["Forget", "Retain"]
    assert not any("xaxis2" in figure.layout.to_plotly_json() for figure in drawn)
    assert "Forget term" not in words(opened("launch", run=run.id))
    assert "Forget term" in words(opened("launch", {f"losses.{run.id}": True}, run=run.id))


@pytest.mark.slow
def test_a_run_of_another_process_names_the_command_that_stops_it(store):  # noqa: F811
    run = seed_run(store, "running")
    with run.lock():
        shown = words(opened("launch", run=run.id)).replace("\\", "")
    assert f"unlearn stop {run.id}" in shown
    assert "Ctrl-C" not in shown


@pytest.mark.slow
def test_the_other_answers_of_a_run_are_a_table_with_their_source(store):  # noqa: F811
    run = planted(store, method="altpo")
    row = {"text": 0, "answer": "Lisbon", "alternates": ["Porto", "Faro"], "source": "model"}
    run.append("note", alternates=[row, row | {"answer": "Oslo", "source": "rows"}])
    app = opened("launch", run=run.id)
    assert "Other answers that it is taught" in [one.label for one in app.expander]
    (table,) = [frame.value for frame in app.dataframe if "taught instead" in frame.value]
    assert table.to_dict("records") == [
        {"answer": "Lisbon", "taught instead": "Porto · Faro", "from": "the model itself"},
        {"answer": "Oslo", "taught instead": "Porto · Faro", "from": "the data's wrong answers"},
    ]
