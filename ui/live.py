"""Draws a run as it happens, in a fragment that redraws itself every two seconds.

It reads the run's folder and nothing else, so a refresh, another tab or a run started on the command line
all show the same. What it says stands first, the curves below, the losses folded.
"""

import time

import streamlit as st

from ui import actions, shell
from ui import stopping as stopping_rule
from ui.launch import answers, curves
from ui.launch.drawing import EVERY
from ui.launch.outcome import ended, name
from ui.launch.stages import progress, stages
from unlearn.store.runs import ACTIVE, Run

# Where the other answers of AltPO come from.
SOURCES = {"rows": "the data's wrong answers", "model": "the model itself", "another text": "another text"}
# The session's {run id: when this browser discarded it}. A run ends its step first, and its folder goes after that.
DISCARDED = "discarded"
# Seconds after which a folder that is still there is shown again: it could not be deleted.
PATIENCE = 60.0


def live(run: Run) -> None:
    """Show the run, and keep showing it while it is queued or running."""
    active = run.state in ACTIVE or is_going(run)
    st.fragment(_panel, run_every=EVERY if active else None)(run, active)


def _panel(run: Run, was_active: bool) -> None:
    if not run.path.is_dir():
        if was_active or is_going(run):
            # The page takes it out of the address and says what became of it.
            st.rerun()
        st.info("This run was deleted.", icon=":material/delete:")
        return
    if is_going(run):
        st.info("Discarding it: the step in hand is the last one.", icon=":material/delete:")
        return
    state, steps = run.state, run.events("step")
    if was_active and state not in ACTIVE:
        # This happens once: the page now has something else to offer, and this fragment stops.
        st.rerun()
    if state in ACTIVE:
        name(run)
        fraction, words = progress(run, steps)
        st.progress(fraction, text=words)
        stages(run)
        controls(run)
    else:
        ended(run, state)
    answers.now(run)
    curves.likelihoods({"the run": run}, state in ACTIVE)
    if steps:
        curves.losses(run, steps, state in ACTIVE)
    stopping_rule.watched(run)
    alternates(run)
    for event in run.events("note"):
        if event.get("text"):
            st.caption(shell.plain(event["text"]))


def alternates(run: Run) -> None:
    """Draw the other answers that the model is taught to prefer, where the method has some (AltPO)."""
    rows = [row for event in run.events("note") for row in event.get("alternates", ())]
    if not rows:
        return
    with st.expander("Other answers that it is taught", icon=":material/alt_route:"):
        st.dataframe(
            [
                {"answer": row["answer"], "taught instead": " · ".join(row["alternates"])}
                | {"from": SOURCES.get(row["source"], row["source"])}
                for row in rows
            ],
            hide_index=True,
            placeholder="–",
            alt="True answers with the other answers that are taught instead, and where these come from",
        )


def controls(run: Run) -> None:
    """Draw Stop and keep, and Discard, only in the browser that started the run and only where it runs.

    Pause is there for all.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        st.toggle("Pause redraw", key=f"pause.{run.id}", help="Freezes the figures, not the run.")
        stop_or_discard(run)


def stop_or_discard(run: Run) -> None:
    """Draw the two ways to end a run early, or say why this browser cannot."""
    if sequence := run.meta.get("sequence"):
        shell.link("sequence", "Part of a sequence; stop that", ":material/stop:", sequence=sequence)
    elif shell.runner().position(run) is None:
        does = "waits" if run.state == "queued" else "runs"
        st.caption(shell.elsewhere(run.id, does))
    elif not shell.may_manage(run):
        st.caption("Started in another browser; only that one can stop it.")
    elif stopping(run):
        st.caption("Stopping after this step.")
    else:
        help = "Ends after this step, keeps the weights, and can be compared."
        press, key = actions.pressed, f"stop.{run.id}"
        st.button("Stop and keep", key, help, press, ("stop", run), icon=":material/stop:")
        with st.popover("Discard", icon=":material/delete:", key=f"discard.{run.id}"):
            st.write("Stop it and delete everything it wrote?")
            key = f"discard.{run.id}.yes"
            st.button("Delete this run", key, None, discard, (run,), type="primary")


def discard(run: Run) -> None:
    """Discard a run, and remember that it was wanted. A refusal is shown at the page's edge."""
    try:
        actions.do("discard", run)
    except (ValueError, OSError) as error:
        st.toast(shell.plain(str(error)), icon=":material/error:")
        return
    st.session_state.setdefault(DISCARDED, {})[run.id] = time.time()


def is_going(run: Run) -> bool:
    """Return whether this browser has discarded the run and its folder is about to go."""
    return time.time() - st.session_state.get(DISCARDED, {}).get(run.id, 0.0) < PATIENCE


def say_discarded() -> None:
    """Say once of a discarded run that nothing of it is left, and take it out of the address. Call it first."""
    known = st.session_state.get(DISCARDED, {})
    root = shell.runs_root()
    if gone := [run_id for run_id in known if not (root / run_id).exists()]:
        for run_id in gone:
            del known[run_id]
        left = [one for one in st.query_params.get("run", "").split(",") if one and one not in gone]
        st.query_params["run"] = ",".join(left)
        if not left:
            del st.query_params["run"]
        st.session_state["settings.open"] = True
        st.info("Discarded; nothing of it was kept.", icon=":material/delete:")


def stopping(run: Run) -> bool:
    """Return whether somebody asked the run to stop and it has not stopped yet."""
    asked = [event["time"] for event in run.events("note") if event.get("asked") == "stop"]
    return bool(asked) and asked[-1] >= run.events("state")[-1]["time"]
