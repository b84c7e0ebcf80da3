"""Draws figures that change while a run trains: rebuilt only when there is something new, and shared by all viewers.

A rebuilt figure loses its zoom, so a viewer may pause them while the numbers go on. A class that watches shares one
figure, since drawing six of the same would cost the training that they watch.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from ui import shell, verdict
from ui.figure import CONFIG, untitled

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Seconds between redraws.
EVERY = 2.0
# The points of a curve. A panel is a few hundred pixels wide, and they are sent every two seconds.
LIVE_POINTS = 300
# The number of drawings that are kept for the next viewer.
SHARED = 16

# What is drawn and at which step, and its figures with their titles.
At = tuple[int, ...]
Drawing = tuple[At, list[tuple["go.Figure", str]]]

# Each (what, runs, dark), with the time when it was drawn.
_drawn: dict[tuple[object, ...], tuple[float, Drawing]] = {}
_drawing = threading.Lock()


def shared(
    what: tuple[object, ...], at: At, active: bool, make: Callable[[], Sequence["go.Figure"]]
) -> Drawing:
    """Return (step, [(figure, its title)]) of this drawing, which all viewers share between two redraws."""
    with _drawing:
        made, kept = _drawn.get(what, (-math.inf, None))
        fresh = active and time.monotonic() - made < EVERY * 0.9
        if kept is None or (kept[0] != at and not fresh):
            kept = (at, [(figure, untitled(figure)) for figure in make()])
            _drawn.pop(what, None)
            _drawn[what] = (time.monotonic(), kept)
            for old in list(_drawn)[:-SHARED]:
                del _drawn[old]
    return kept


def show(
    name: str,
    runs: Sequence[str],
    at: At,
    active: bool,
    make: Callable[[bool], Sequence["go.Figure"]],
) -> None:
    """Draw the figures side by side, on a narrow screen below each other, unless this viewer paused them.

    make(dark) draws them anew. at: the steps of the runs, with which they change.
    """
    dark = shell.dark()
    what = (name, *runs, dark)
    key, kept = f"drawing.{name}", st.session_state.get(f"drawing.{name}")
    paused = active and st.session_state.get(f"pause.{runs[0]}", False)
    if kept is None or kept[0] != what or (kept[1][0] != at and not paused):
        kept = st.session_state[key] = (what, shared(what, at, active, lambda: make(dark)))
    figures = kept[1][1]
    for place, ((figure, title), cell) in enumerate(zip(figures, st.columns(len(figures)), strict=True)):
        with cell:
            st.markdown(f"**{verdict.kept_together(title)}**")
            # With a height of its own the place stays as it is while the figure in it is exchanged.
            st.plotly_chart(
                figure,
                key=f"{name}.{place}.{runs[0]}",
                height=int(figure.layout.height),
                config=CONFIG,
                alt=title,
            )
