"""Holds what the pages of sequences and sweeps share: launch a study, follow, end or delete it.

Everything on the screen is read from the study's folder, so a refresh, another tab or one that was started on the
command line show the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import streamlit as st
from streamlit.elements.lib.mutable_expander_container import ExpanderContainer

from ui import actions as acting
from ui import known, shell
from ui.demo import visitor
from ui.launch import where
from unlearn.store.engine import Perform
from unlearn.store.runs import ACTIVE, Run, RunConfig
from unlearn.store.studies import Study
from unlearn.work.checks import check

EVERY = 2.0
# The number of studies that are shown together at most.
MOST = 6


Kind = TypeVar("Kind", bound=Study)


class Work(Protocol):
    """A module that carries studies of one kind out."""

    @property
    def perform(self) -> Perform:
        """Carry one study out, from its folder."""


@dataclass(frozen=True)
class Panel(Generic[Kind]):
    """One kind of study.

    name stands in the address and in widgets' keys. work is the module whose perform() carries the study out.

    label: what a record is called. done: how many of its parts are, so that the page draws a new one. part: what they
    are. how_far: (fraction, words) while it is active. members: the runs that go with it when it is deleted.
    """

    name: str
    work: Work
    part: str
    label: Callable[[Kind], str]
    done: Callable[[Kind], int]
    how_far: Callable[[Kind], tuple[float, str]]
    members: Callable[[Kind], list[Run]]


def launch(
    panel: Panel[Kind], runs: Sequence[RunConfig], create: Callable[[], Kind], beside: int = 1
) -> None:
    """Check, create and queue a study, and put it into the address, so that a refresh finds it again.

    beside: how many are shown together.
    """
    runner = shell.runner()
    try:
        visitor.allow(runs)
        runner.admit(shell.owner())
        for run in runs:
            check(run, runner.roots, shell.store())
        if not known.ask_first(runs):
            return
        runner.reach(place := where.chosen())
        record = create()
        acting.do("begin", record, panel.work.perform, place)
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    st.query_params[panel.name] = ",".join([record.id, *addressed(panel)][:beside])
    # The form closes itself, so that the running study is in sight.
    st.session_state[f"{panel.name}.launched"] = True
    st.rerun()


def form(panel: Panel, title: str, *, empty: bool) -> ExpanderContainer:
    """Return the expander that holds the form. It is open at first, and closed once something was launched."""
    key = f"{panel.name}.form"
    if st.session_state.pop(f"{panel.name}.launched", False) or key not in st.session_state:
        st.session_state[key] = empty
    return st.expander(title, key=key, on_change="rerun", type="compact")


def addressed(panel: Panel) -> list[str]:
    """Return the ids in the address."""
    return [i for i in st.query_params.get(panel.name, "").split(",") if i]


def warn_of_gone(panel: Panel, found: Sequence[Study]) -> None:
    """Say which studies of the address are not there."""
    if gone := set(addressed(panel)) - {record.id for record in found}:
        names = shell.plain(", ".join(sorted(gone))[:200])
        st.warning(f"There is no {panel.name} {names} here; it may be deleted.")


def waiting(record: Study) -> str:
    """Return the sentence for a queued study."""
    place = shell.runner().position(record)
    return f"Waiting for the machine, {place} ahead of it" if place else "Waiting, it is next"


def progress(panel: Panel[Kind], record: Kind) -> None:
    """Draw the state, what the study does now, and the ways to end or resume it.

    It is redrawn while it is active.
    """
    active = record.state in ACTIVE
    redraw = EVERY if active else None
    st.fragment(_progress, run_every=redraw)(panel, record, active, panel.done(record))


def _progress(panel: Panel[Kind], record: Kind, was_active: bool, seen: int) -> None:
    state = record.state
    if not record.path.is_dir() or (was_active and (state not in ACTIVE or panel.done(record) > seen)):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{shell.plain(panel.label(record))}**", width="content")
        shell.state_badge(record)
        if state == "done":
            actions(panel, record, state)
            return
    if state in ACTIVE:
        fraction, words = panel.how_far(record)
        st.progress(fraction, text=words)
    elif state == "failed":
        st.error(shell.plain(f"It failed: {record.reason}"))
    elif state == "interrupted":
        st.warning(
            f"The program that ran it ended first. {panel.part.capitalize()} stay; it goes on with the others."
        )
    elif record.reason:
        st.caption(shell.plain(record.reason))
    actions(panel, record, state)


def actions(panel: Panel[Kind], record: Kind, state: str) -> None:
    """Draw Stop, Resume and Delete, only in the browser that started the study and only where it runs."""
    runner, key = shell.runner(), f"{panel.name}.{record.id}"
    if not shell.may_manage(record):
        if state != "done":
            st.caption("Started in another browser; only that one can stop, resume or delete it.")
        return
    if state in ACTIVE and runner.position(record) is None:
        does = "waits" if state == "queued" else "runs"
        st.caption(shell.elsewhere(record.id, does))
        return
    with st.container(horizontal=True):
        if state in ACTIVE:
            stopping = st.session_state.get(f"{key}.stopping", False)
            help = f"Ends after this step; {panel.part} stay, and Resume goes on with the others."
            if st.button("Stop", icon=":material/stop:", key=f"{key}.stop", help=help, disabled=stopping):
                st.session_state[f"{key}.stopping"] = True
                attempt(lambda: acting.do("stop", record))
            return
        st.session_state.pop(f"{key}.stopping", None)
        if state != "done" and st.button("Resume", icon=":material/play_arrow:", key=f"{key}.resume"):
            attempt(lambda: acting.do("resume", record, panel.work.perform))
        with st.popover("Delete", icon=":material/delete:", key=f"{key}.delete"):
            runs = panel.members(record)
            # A study may have no runs of its own.
            too = bool(runs) and st.checkbox(
                f"And its {len(runs)} runs, with what they keep", key=f"{key}.runs"
            )
            if st.button("Delete for good", type="primary", key=f"{key}.yes"):
                attempt(lambda: delete(panel, record, runs if too else []))


def delete(panel: Panel, record: Study, runs: Sequence[Run]) -> None:
    """Delete the folder of the study and those of these runs, and remove its name from the address."""
    # Ask for all of them first, so that all or none are deleted.
    acting.refuse_foreign("delete", *runs, record)
    for one in (*runs, record):
        acting.do("discard", one)
    st.query_params[panel.name] = ",".join(i for i in addressed(panel) if i != record.id)


def attempt(action: Callable[[], object]) -> None:
    """Carry out the action and redraw. A refusal is shown in its own words."""
    try:
        action()
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    st.rerun()
