"""What the lesson launches, without the page: its runs are what a person would launch at the tuned defaults."""

from ui.lesson import state, steps
from unlearn.methods import METHODS


def test_the_lessons_runs_are_the_methods_at_their_tuned_defaults():
    for name in (*state.RUINING, *state.HOLDING):
        tuned = METHODS[name].settings("tiny", "full", state.MODEL)
        asked = state.config(name)
        assert (asked.lr, asked.epochs, asked.knobs) == (tuned["lr"], tuned["epochs"], tuned["knobs"])


def test_each_step_has_one_question_with_one_right_answer():
    assert len(steps.STEPS) == 5
    assert all(0 <= step.right < len(step.answers) for step in steps.STEPS)
    # Who always takes the same place does not get through.
    assert len({step.right for step in steps.STEPS}) > 1
