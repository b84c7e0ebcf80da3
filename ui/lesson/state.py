"""Keeps where a lesson is in the address: step, runs and how it is shown, so that one link is the whole view."""

from collections.abc import Sequence

import streamlit as st

from ui import shell
from ui.start import waking
from unlearn.methods import METHODS
from unlearn.models.catalogue import default_prompt
from unlearn.store.runs import Run, RunConfig

MODEL, DATA = "tiny-authors", "authors"
# The parts of the address: the run that is ruined, and those that hold.
RUINED, HELD = "ruined", "held"
RUINING: tuple[str, ...] = ("ga",)
HOLDING: tuple[str, ...] = ("npo", "undial")


def config(method: str) -> RunConfig:
    """Return the settings of a lesson's run: the bundled model and rows, and the method at its tuned defaults."""
    chosen = METHODS[method]
    tuning = chosen.tuning_for("full")
    tuned = chosen.settings("tiny", tuning, MODEL)
    return RunConfig(
        model=MODEL,
        data={"name": DATA},
        method=method,
        tuning=tuning,
        prompt=default_prompt(MODEL),
        **tuned,
    )


def runs(part: str) -> list[Run]:
    """Return the runs that the address names for this part of the lesson. Those that are gone are left out."""
    found = []
    for run_id in filter(None, st.query_params.get(part, "").split(",")):
        try:
            found.append(shell.find_run(run_id))
        except ValueError:
            continue
    return found


def launch(part: str, methods: Sequence[str]) -> None:
    """Launch a run of each method and put them into the address. What keeps them from running is shown."""
    waking.wait_for_torch()
    made = []
    try:
        made = [shell.runner().launch(config(name), owner=shell.owner()).id for name in methods]
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
    if made:
        st.query_params[part] = ",".join(made)
        st.rerun()


def example() -> Run | None:
    """Return the recorded run of the lesson's model, which needs nothing to be loaded."""
    return next((run for run in shell.recorded() if run.config.model == MODEL), None)


def is_large() -> bool:
    """Return whether the lesson is shown to a room: large type and two figures."""
    return st.query_params.get("view") == "large"


def choose_view() -> None:
    """Draw the switch between a person's view and a room's."""
    st.session_state["lesson.large"] = is_large()

    def remember() -> None:
        if st.session_state["lesson.large"]:
            st.query_params["view"] = "large"
        else:
            st.query_params.pop("view", None)

    st.toggle(
        "Presenter view",
        key="lesson.large",
        on_change=remember,
        help="Large type and two figures, to be read from the last row.",
    )
    if is_large():
        st.html("<style>html {font-size: 21px !important} .stSidebar {display: none}</style>")
