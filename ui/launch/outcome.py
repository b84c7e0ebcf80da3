"""Draws how a run ended: its verdict, its large numbers with the retrained model's beside, and where to go next."""

from dataclasses import replace
from typing import Literal

import streamlit as st

from ui import actions, shell, verdict
from ui.launch import undoing
from ui.launch.launching import FIRST_METHOD
from unlearn.results import conclusion, outcome
from unlearn.store.runs import Run
from unlearn.work.preflight import tuned_lr

Color = Literal["off", "green", "red"]


def ended(run: Run, state: str) -> None:
    """Draw why the run did not end well, if so, and Resume, and then what it came to."""
    said = conclusion.of_run(run)
    if not said or state != "done":
        # What was scored has its name and its verdict below; a green "done" says nothing of a ruin.
        name(run)
    if state == "failed":
        why = f"It failed: {run.reason}" if run.reason else "It failed without a reason."
        st.error(shell.plain(why if run.reason else f"{why} Its last events: {run.path / 'events.jsonl'}"))
    elif state == "interrupted":
        st.warning("The program that ran it ended first. Everything up to its last step is here.")
    elif run.reason:
        st.caption(shell.plain(run.reason))
    shell.unread(run)
    if shell.may_begin_again(run):
        key, help = f"resume.{run.id}", shell.resume_help(run)
        if st.button("Resume", key, help, icon=":material/play_arrow:"):
            actions.pressed("resume", run)
            st.rerun()
    if said:
        verdict.show([run])
        alarm(run, said["word"])
        tiles(run)
    onward(run)


def name(run: Run) -> None:
    """Draw the run's name and its state."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{shell.plain(shell.run_label(run))}**", width="content")
        shell.state_badge(run)


def alarm(run: Run, word: str) -> None:
    """Draw the sentence on a run that is no success at all, with the button that mends a ruin."""
    words = outcome.alarm(run)
    if not words:
        return
    draw = st.error if word == "collapsed" else st.warning
    draw(shell.plain(words), icon=verdict.BADGES[word][1])
    if word == "collapsed":
        _again_with_care(run)


def _again_with_care(run: Run) -> None:
    """Draw the button that fills the form with the tuned learning rate; where that ruined it, with another method."""
    try:
        tuned = tuned_lr(run.config)
    except (ValueError, OSError, KeyError):
        # The model or the method is not here any more, so no tuned rate is known.
        return
    if run.config.lr > 1.001 * tuned:
        label, filled = f"Again with the tuned rate, {tuned:g}", replace(run.config, lr=tuned, title="")
        if st.button(label, type="primary", icon=":material/tune:", key=f"tuned.{run.id}"):
            st.session_state["config.fill"] = filled
            st.rerun()
    elif run.config.method != FIRST_METHOD and "name" in run.config.data:
        label = f"Try {shell.method_title(FIRST_METHOD)} instead"
        if st.button(label, type="primary", icon=":material/swap_horiz:", key=f"instead.{run.id}"):
            chosen = {"model": run.config.model, "data": run.config.data["name"], "method": FIRST_METHOD}
            st.switch_page(shell.page("launch"), query_params=chosen)


def tiles(run: Run) -> None:
    """Draw the large numbers of a run, each with the retrained model's."""
    shown = outcome.tiles(run)
    for tile, cell in zip(shown, st.columns(len(shown)) if shown else (), strict=True):
        color: Color = "off" if tile.good is None else "green" if tile.good else "red"
        cell.metric(
            tile.title,
            tile.value,
            f"from {tile.before}" if tile.before else None,
            delta_color=color,
            delta_arrow="off",
            help=tile.help,
        )


def onward(run: Run) -> None:
    """Draw where to go from a run that has ended: first to the attacks, then to answers and tokens."""
    found = conclusion.of_run(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        if found:
            attacked = found["gone"]["value"] is not None
            label = "Look at the attacks" if attacked else "Is it really gone? Attack it"
            is_ruined = found["word"] in ("collapsed", "nothing to forget")
            how: Literal["primary", "secondary"] = "secondary" if is_ruined else "primary"
            if st.button(label, type=how, icon=":material/bolt:", key=f"attack.{run.id}"):
                st.switch_page(shell.page("stress"), query_params={"run": run.id})
            shell.link("compare", "Compare the answers", ":material/compare:", runs=run.id)
            shell.link("tokens", "Look at the tokens", ":material/token:", run=run.id)
        words, icon = "Again with changes", ":material/content_copy:"
        if st.button(words, icon=icon, key=f"clone.{run.id}", type="tertiary"):
            st.switch_page(shell.page("launch"), query_params={"clone": run.id})
        undoing.button(run)
