"""Teaches unlearning in five steps on the bundled model, and lets a class vote blindly over one link."""

import streamlit as st

from ui import shell
from ui.lesson import state, steps, vote

shell.guard()
if code := st.query_params.get("class", "").strip().upper():
    shell.head("Which answer is better?", "A blind vote: nobody sees which answer came before unlearning.")
    vote.voter(code)
    st.stop()

shell.head(
    "A lesson in five steps",
    "What does a model know, what does unlearning do to it, and is it really gone? Each step is one thing to do and "
    "one question.",
)
state.choose_view()
last = len(steps.STEPS)
given = st.query_params.get("step", "")
step = min(last, max(1, int(given))) if given.isdecimal() and len(given) < 3 else 1


def go(to: int) -> None:
    """Go to another step, in the address too."""
    st.query_params["step"] = str(to)


st.progress(step / last, text=f"Step {step} of {last}")
steps.show(step)
with st.container(horizontal=True):
    for label, icon, to in (("Back", "arrow_back", step - 1), ("Next step", "arrow_forward", step + 1)):
        at_end = not 1 <= to <= last
        st.button(
            label,
            icon=f":material/{icon}:",
            disabled=at_end,
            key=f"lesson.{icon}",
            on_click=go,
            args=(to,),
        )

voted = next((run for run in state.runs(state.HELD) if run.scores().get("after")), state.example())
if voted is not None:
    place = st.expander(
        "Vote with a class, blindly", icon=":material/how_to_vote:", key="lesson.class", on_change="rerun"
    )
    if place.open:
        with place:
            vote.host(voted)
    with st.popover("Enter the code of a class", icon=":material/pin:", key="lesson.code"):
        entered = st.text_input("Code", max_chars=5, key="class.entered").strip().upper()
        # A link to the page that one is on loses its words at the next click.
        st.button(
            "Go and vote",
            icon=":material/how_to_vote:",
            disabled=not entered,
            key="class.enter",
            on_click=st.query_params.from_dict,
            args=({"class": entered},),
        )
