"""Watches the runs for a tab that shows them, so that the page is drawn again only when something on it has changed.

While a run is at work, a fragment without any element looks every few seconds. It draws nothing: where what the page
shows is no longer so, it has the whole page drawn anew. An ended run is known by its summary, which stays the same
object as long as the run's files do; of a run at work only what the table shows is compared, since each of its steps
changes its files.
"""

import time
from collections.abc import Sequence

import streamlit as st

from ui import shell
from unlearn.store.index import Summary
from unlearn.store.runs import ACTIVE

# What the page shows, whether it was drawn just now, when it was last drawn, and what a look cost.
SEEN, FRESH, DRAWN, LOOK = "runs.seen", "runs.fresh", "runs.drawn", "runs.look"
# The least seconds from one look to the next, and from one drawing to the next.
EVERY, APART = "runs.every", "runs.apart"
# Seconds between two looks, as long as one costs little.
SECONDS = 2.0
# Of a core, for looking and for drawing anew; what streamlit does to send it comes on top.
LOOKING, DRAWING = 0.005, 0.01


def glance(runs: Sequence[Summary]) -> list[object]:
    """Return what the page shows of the runs, to be compared with what it will show later."""
    active = [known for known in runs if known.last in ACTIVE]
    queue = [record.id for record in shell.runner().active()] if active else []
    return [queue, *(_at_work(known) if known.last in ACTIVE else known for known in runs)]


def _at_work(known: Summary) -> tuple[object, ...]:
    told = (known.id, known.state, known.title, known.scores, known.method_title, known.data_title)
    return (*told, known.intervals, known.by_format, known.attacked)


def drawing(runs: Sequence[Summary]) -> None:
    """Say that the page is being drawn with these runs."""
    st.session_state[SEEN] = glance(runs)


def watch(spent: float) -> None:
    """Look again and again, and have the page drawn anew when it shows something else. spent: CPU seconds of drawing
    it.
    """
    state = st.session_state
    state[FRESH], state[DRAWN], state[APART] = True, time.monotonic(), max(SECONDS, spent / DRAWING)
    state[EVERY] = max(SECONDS, state.get(LOOK, 0.0) / LOOKING)
    st.fragment(_look, run_every=state[EVERY])()


def _look() -> None:
    # The page has been drawn in the same moment.
    if st.session_state.pop(FRESH, False):
        return
    began = time.thread_time()
    changed = glance(shell.summaries()) != st.session_state.get(SEEN)
    st.session_state[LOOK] = time.thread_time() - began
    if changed and time.monotonic() - st.session_state[DRAWN] >= st.session_state[APART]:
        st.rerun()
