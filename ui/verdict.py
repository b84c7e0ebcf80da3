"""Draws the verdict of a run: one word, and three sentences on whether it forgot, kept the rest, and is really gone."""

from collections.abc import Sequence

import streamlit as st

from ui import shell
from unlearn.results import conclusion
from unlearn.store.runs import Run

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


def show(runs: Sequence[Run]) -> None:
    """Draw the verdict of each run that has scores after unlearning. Several have letters, as on Compare."""
    for letter, run in zip("AB", runs, strict=False):
        found = conclusion.of_run(run)
        if not found:
            continue
        color, icon = BADGES[found["word"]]
        with st.container(border=True, gap="small"):
            with st.container(horizontal=True, vertical_alignment="center"):
                name = f"{letter}: " if len(runs) > 1 else ""
                st.markdown(f"**{name}{shell.plain(shell.run_label(run))}**", width="content")
                st.badge(found["word"], icon=icon, color=color, help=conclusion.MEANS[found["word"]])
            said = "  \n".join(shell.plain(found[part]["sentence"]) for part in conclusion.PARTS)
            # On a narrow screen a number stays beside its sign.
            st.markdown(said.replace(" %", "\u00a0%"))
