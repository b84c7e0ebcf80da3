"""Draws on any page what the layers of a run's model still hold: the depth score's profile, and the drift picture."""

import streamlit as st

from ui import figure, shell
from unlearn.figures import depth as drawn
from unlearn.measure.judge import read_metrics
from unlearn.store.runs import Run


def depth(run: Run, key: str = "depth") -> bool:
    """Draw the layer profile of the Unlearning Depth Score and return whether the run has one.

    Without one the reason, or the command that computes it, stands in its place.
    """
    entry = read_metrics(run).get("metrics", {}).get("uds")
    found = drawn.profile(entry, shell.dark()) if entry else None
    if found is not None:
        figure.show(found, key=f"{key}.profile.{run.id}")
        st.caption(
            "Each layer's states of the unlearned model are put into the original, which then reads the right answer. "
            "Where it loses as much as with the retrained model's states, that layer holds nothing more. Lee et al. "
            "2026, arXiv 2605.24614; over texts at which the retrained model lacks something."
        )
        return True
    if entry and entry["reason"]:
        st.caption(f"Depth was not measured: {shell.plain(entry['reason'])}.")
    else:
        st.caption("How deep the answers are gone was not measured yet. It needs no training; as a command:")
        st.code(f"python -m unlearn evaluate {run.id} --metrics uds,drift", language="bash", wrap_lines=True)
    return False


def drift(run: Run, key: str = "drift") -> bool:
    """Draw how far the states of each layer moved, named as a picture, and return whether the run has one."""
    entry = read_metrics(run).get("metrics", {}).get("drift")
    found = drawn.drift(entry, dark=shell.dark()) if entry else None
    if found is None:
        return False
    figure.show(found, key=f"{key}.picture.{run.id}", top=30)
    st.caption(
        "A picture, not a score: states may move without anything being forgotten, and stay while an answer goes. "
        "The retrained model shows how far leaving the texts out would have moved them."
    )
    return True
