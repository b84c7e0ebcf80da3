"""Draws a race: several runs that were launched together, in one live figure and with their answers side by side."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from ui import actions, live, shell
from ui.launch import curves
from ui.launch.drawing import EVERY
from ui.launch.stages import progress
from ui.race.answers import answers_at_end, answers_now, verdicts_at_end
from unlearn.results import outcome
from unlearn.store.runs import ACTIVE, Run


def race(runs: Sequence[Run]) -> None:
    """Show the runs together, and keep showing them while one of them is queued or running."""
    active = any(run.state in ACTIVE for run in runs)
    st.fragment(_panel, run_every=EVERY if active else None)(runs, active)


def named(runs: Sequence[Run]) -> dict[str, Run]:
    """Return the runs by the names of their methods. Two of one method are told apart by their own names."""
    titles = [shell.method_title(run.config.method) for run in runs]
    return {
        title if titles.count(title) == 1 else f"{title}, {shell.short_label(run)} ({place})": run
        for place, (title, run) in enumerate(zip(titles, runs, strict=True), 1)
    }


def _panel(runs: Sequence[Run], was_active: bool) -> None:
    there = [run for run in runs if run.path.is_dir()]
    active = [run for run in there if run.state in ACTIVE]
    if was_active and not active:
        st.rerun()
    if not there:
        st.info("These runs were deleted.", icon=":material/delete:")
        return
    racers = named(there)
    if active:
        _standing(racers)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.toggle("Pause redraw", key=f"pause.{there[0].id}", help="Freezes the figures, not the runs.")
            _stop_all(active)
        curves.likelihoods(racers, True)
        answers_now(racers)
    else:
        _ended_badly(racers)
        ranked = outcome.ranked(there)
        verdicts_at_end(racers, ranked)
        curves.likelihoods(racers, False)
        answers_at_end(racers, ranked)


def _standing(racers: dict[str, Run]) -> None:
    """Draw how far each run is."""
    for name, run in racers.items():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{shell.plain(name)}**", width="content")
            shell.state_badge(run)
            if run.state in ACTIVE:
                fraction, words = progress(run, run.events("step"))
                st.progress(fraction, text=words, width="stretch")


def _stop_all(active: Sequence[Run]) -> None:
    """Draw the button that ends all of them, where this browser may end them."""
    runner = shell.runner()
    mine = [run for run in active if shell.may_manage(run) and runner.position(run) is not None]
    if not mine:
        return
    if all(live.stopping(run) for run in mine):
        st.caption("Stopping after this step.")
        return
    st.button(
        "Stop all and keep",
        key=f"stop.{mine[0].id}.all",
        icon=":material/stop:",
        help="Those that wait do not begin; the one that trains ends after this step and keeps its weights.",
        # The waiting ones first, so that none of them begins in between.
        on_click=partial(_stop, mine[::-1]),
    )


def _stop(runs: Sequence[Run]) -> None:
    for run in runs:
        actions.pressed("stop", run)


def _ended_badly(racers: dict[str, Run]) -> None:
    for name, run in racers.items():
        if run.state != "done":
            how = "failed" if run.state == "failed" else f"was {run.state}"
            why = f": {shell.plain(run.reason)}" if run.reason else ""
            st.warning(f"{shell.plain(name)} {how}{why}", icon=shell.STATES[run.state][1])
