"""The lesson: each step is one action and one question; a class votes over one link."""

import pytest
from seed import seed_run

from tests.pages.test_compare import opened, store, words  # noqa: F401  (a fixture)
from tests.results.test_conclusion import attacked, planted
from ui.lesson import steps
from unlearn.results import classroom
from unlearn.store.runs import Run

# Each opens the whole page, several of them more than once.
pytestmark = pytest.mark.slow


def labels(app):
    return [one.label for one in app.button]


def answer(app, number, place):
    app.radio(key=f"lesson.answer.{number}").set_value(place).run()
    assert not app.exception, app.exception
    return "\n".join(str(one.value) for kind in (app.success, app.warning) for one in kind).replace("\\", "")


@pytest.mark.parametrize("number", range(1, len(steps.STEPS) + 1))
def test_each_step_has_one_action_and_one_question(store, number):  # noqa: F811
    app = opened("lesson", step=str(number))
    shown = words(app)
    step = steps.STEPS[number - 1]
    assert step.title in shown
    assert step.question in shown
    assert not app.radio  # it is answered after the action


def test_the_first_step_asks_a_model_without_any_run(store):  # noqa: F811
    assert "Ask the model" in labels(opened("lesson"))


@pytest.mark.parametrize("given", ["0", "99", "x", "-1", "²"])
def test_a_step_that_is_none_is_another(store, given):  # noqa: F811
    assert opened("lesson", step=given).title


def test_what_ascent_took_along_is_said_from_its_numbers(store):  # noqa: F811
    run = planted(store, forget=(48, 0, 1), retain=(49, 0, 49), ppl=(5.0, 900.0, 5.0), method="ga")
    app = opened("lesson", step="2", ruined=run.id)
    said = answer(app, 2, 1)
    assert said.startswith("Yes.")
    assert "It answers nothing any more" in said
    assert "Of 50 questions that it was to keep it answers 0" in said
    assert answer(app, 2, 0).startswith("Not quite.")


def test_those_that_hold_are_ranked_with_the_one_that_does_not(store):  # noqa: F811
    ruined = planted(store, retain=(49, 0, 49), ppl=(5.0, 900.0, 5.0), method="ga")
    held = [planted(store, method="npo"), planted(store, method="undial", retain=(49, 49, 49))]
    app = opened("lesson", step="3", ruined=ruined.id, held=",".join(run.id for run in held))
    said = answer(app, 3, 0)
    assert said.index("UnDIAL: 4 % left") < said.index("NPO: 4 % left") < said.index("Gradient ascent")


def test_the_attacked_model_has_its_verdict(store):  # noqa: F811
    run = attacked(planted(store, method="npo"), relearn="suppressed")
    app = opened("lesson", step="4", held=run.id)
    assert "suppressed" in words(app)
    assert "relearn" in answer(app, 4, 2)


def test_before_the_race_there_is_nothing_to_attack(store):  # noqa: F811
    assert "let NPO and UnDIAL race" in words(opened("lesson", step="4"))


def test_while_they_race_nobody_is_told_to_let_them_race(store):  # noqa: F811
    run = seed_run(store, "running", method="npo")
    with run.lock():
        shown = words(opened("lesson", step="4", held=run.id))
    assert "There is nothing to attack yet: NPO and UnDIAL still race in step 3." in shown
    assert "let NPO and UnDIAL race" not in shown


def test_the_retrained_model_stands_beside_the_run(store):  # noqa: F811
    run = seed_run(store, method="npo")
    app = opened("lesson", step="5", held=run.id)
    next(one for one in app.button if one.label == "Show the model that never saw it").click().run()
    assert not app.exception
    assert "retrained" in answer(app, 5, 1)


def test_the_presenters_view_is_in_the_address_and_shows_two_figures(store):  # noqa: F811
    run = seed_run(store, method="ga")
    app = opened("lesson", step="2", ruined=run.id, view="large")
    assert app.toggle(key="lesson.large").value
    shown = words(app)
    assert shown.count("likelihood of the right answers") == 2
    assert not app.dataframe
    app.toggle(key="lesson.large").set_value(False).run()
    assert "view" not in app.query_params


def begun(app):
    return next(one for one in app.button if one.label.startswith("Begin a vote"))


def test_a_class_votes_over_one_link_and_adds_up(store, monkeypatch):  # noqa: F811
    from ui import shell

    run = seed_run(store, method="npo")
    teacher = opened("lesson", {"lesson.class": True, "class.role": "forget"}, held=run.id)
    teacher.session_state["lesson.class"] = True  # a test does not send that it is open
    begun(teacher).click().run()
    code = teacher.session_state["class.code"]
    teacher.session_state["lesson.class"] = True
    shown = words(teacher.run())
    assert code in shown
    assert "Nobody has voted yet." in shown

    monkeypatch.setattr(shell, "owner", lambda: "a pupil")
    pupil = opened("lesson", **{"class": code.lower()})
    for _ in range(3):
        assert "Which answer reads better?" in words(pupil)
        next(one for one in pupil.button if one.label == "The left one").click().run()
        assert not pupil.exception
    assert "1 person gave 3 votes" in words(pupil)
    # The same browser, opened anew, has voted already; another one has not.
    assert "1 person gave 3 votes" in words(opened("lesson", **{"class": code}))
    monkeypatch.setattr(shell, "owner", lambda: "another")
    assert "Which answer reads better?" in words(opened("lesson", **{"class": code}))
    teacher.session_state["lesson.class"] = True
    assert "1 person gave 3 votes" in words(teacher.run())
    assert not (Run(run.path).path / "votes.jsonl").exists()


def test_a_class_that_has_not_begun_waits_and_a_wrong_code_is_said(store):  # noqa: F811
    assert "No vote with the code ABC23 has begun here" in words(opened("lesson", **{"class": "ABC23"}))
    wrong = opened("lesson", **{"class": "../x"})
    assert "no code of a class" in words(wrong)
    wrong.button(key="class.other").click().run()
    assert not wrong.exception
    assert wrong.button_group or wrong.text_input(key="class.entered").label == "Code"
    assert classroom.read(store.root, "ABC23") is None


def test_the_class_of_a_run_that_was_deleted_says_so(store):  # noqa: F811
    run = seed_run(store)
    classroom.begin(store.root, "ABC23", run.id, "forget")
    store.delete(run)
    assert "not here any more" in words(opened("lesson", **{"class": "ABC23"}))
