"""Lists the five steps of the lesson and draws one of them: an action, and a question with its answer."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from ui import shell
from ui.lesson import scenes


@dataclass(frozen=True)
class Step:
    """One step: its title, what it is about, how its action is drawn, and the question with its answers.

    draw() returns whether the question can be answered now. right: the place of the right answer. why() says why,
    from the numbers of the runs where there are some.
    """

    title: str
    about: str
    draw: Callable[[], bool]
    question: str
    answers: tuple[str, ...]
    right: int
    why: Callable[[], str]


def show(number: int) -> None:
    """Draw one step, counted from 1."""
    step = STEPS[number - 1]
    st.subheader(f"{number} · {step.title}", anchor=False)
    st.markdown(step.about)
    ready = step.draw()
    with st.container(border=True):
        st.markdown(f"**Question.** {step.question}")
        if not ready:
            st.caption("Do the step above first; the question is about what you will see.")
            return
        chosen = st.radio(
            "Your answer",
            range(len(step.answers)),
            format_func=step.answers.__getitem__,
            index=None,
            key=f"lesson.answer.{number}",
            label_visibility="collapsed",
        )
        if chosen is None:
            return
        good = chosen == step.right
        draw = st.success if good else st.warning
        draw(
            f"{'Yes.' if good else 'Not quite.'} {shell.plain(step.why())}",
            icon=":material/check:" if good else ":material/lightbulb:",
        )


STEPS = (
    Step(
        "What it knows",
        "A small model was taught facts about invented authors. Ask it one.",
        scenes.knows,
        "Where does it know this from?",
        ("From the internet", "From its own training on these texts", "It reasons it out from the name"),
        1,
        scenes.why_knows,
    ),
    Step(
        "Gradient ascent ruins",
        "The oldest idea: take the training step backwards on what is to be forgotten. Watch both figures.",
        scenes.ruins,
        "The answers to forget are gone. Is that a success?",
        ("Yes: it forgot what it was to forget", "No: most of what it was to keep went too"),
        1,
        scenes.why_ruins,
    ),
    Step(
        "NPO and UnDIAL hold",
        "Two methods that know when to stop, on the same model and the same rows, in one figure.",
        scenes.holds,
        "What do they do that ascent did not?",
        ("They forget, and keep most of the rest", "They forget more", "They train for longer"),
        0,
        scenes.why_holds,
    ),
    Step(
        "Is it gone?",
        "A model that does not say it may still know it. Attack it: ask otherwise, round its weights, let it practise.",
        scenes.gone,
        "When may one call something erased?",
        (
            "When the model does not say it any more",
            "When one attack has failed",
            "When attacks find no more than in a model that never knew it",
        ),
        2,
        scenes.why_gone,
    ),
    Step(
        "Against the retrain",
        "The truth of this small world: the same model, trained again without the rows to forget.",
        scenes.retrain,
        "The retrained model still gets a few right. What is the aim of unlearning, then?",
        ("0 % right answers", "The share of the retrained model", "As little as possible"),
        1,
        scenes.why_retrain,
    ),
)
