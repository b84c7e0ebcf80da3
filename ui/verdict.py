"""Draws the verdict of a run: its name, one word, a sentence with the retrained model beside, and three in full."""

import re
from collections.abc import Sequence

import streamlit as st

from ui import shell
from unlearn.results import conclusion
from unlearn.results.compare import SIDES
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonView

# From so many runs on only the verdict of each stands open.
MANY = 3
# The n before a number of rows.
NUMBERED = re.compile(r"\bn (?=\d)")
# The colour and the icon of each word.
BADGES: dict[str, tuple[shell.Colour, str]] = {
    "erased": ("green", ":material/ink_eraser:"),
    "suppressed": ("orange", ":material/visibility_off:"),
    "not forgotten": ("red", ":material/psychology:"),
    "collapsed": ("red", ":material/heart_broken:"),
    "nothing to forget": ("orange", ":material/block:"),
    "not attacked": ("gray", ":material/bolt:"),
    "undecided": ("gray", ":material/help:"),
}


def show(runs: Sequence[Run], full: bool = True) -> None:
    """Draw name and verdict of each run, the name alone where it has no scores after unlearning.

    Several have letters, as on Compare. full: with the three sentences on whether it forgot, kept the rest, and is
    really gone, which of three runs and more are folded.
    """
    for letter, run in zip(SIDES.upper(), runs, strict=False):
        found = conclusion.of_run(run)
        with st.container(gap="small", key=f"verdict.{letter}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                name = f"{letter}: " if len(runs) > 1 else ""
                st.subheader(f"{name}{shell.plain(shell.run_label(run))}", anchor=False, width="content")
                if found:
                    color, icon = BADGES[found["word"]]
                    st.badge(found["word"], icon=icon, color=color, help=conclusion.MEANS[found["word"]])
            if found:
                st.markdown(f"**{kept_together(conclusion.headline(run))}**")
            if found and full and len(runs) < MANY:
                _in_full(found)
    judged = {run: found for run in runs if full and len(runs) >= MANY and (found := conclusion.of_run(run))}
    if judged:
        # So many runs in full would push the figure that shows them side by side off the screen.
        with st.expander("The verdicts in full", icon=":material/gavel:", key="verdict.full"):
            for letter, run in zip(SIDES.upper(), runs, strict=False):
                if run in judged:
                    st.markdown(f"**{letter}: {shell.plain(shell.run_label(run))}**")
                    _in_full(judged[run])


def _in_full(found: JsonView) -> None:
    st.markdown("  \n".join(kept_together(found[part]["sentence"]) for part in conclusion.PARTS))


def kept_together(said: str) -> str:
    """Return a sentence for st.markdown in which, on a narrow screen, a number stays beside its sign or its n."""
    return NUMBERED.sub("n\u00a0", shell.plain(said).replace(" %", "\u00a0%"))
