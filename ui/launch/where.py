"""Lets a person choose who carries runs out: this server, a Ray cluster, or SLURM, where these can be had.

It is one choice for all forms. The server remembers it for each browser, so that it also outlives a refresh.
"""

import importlib.util
import os
import shutil

import streamlit as st

from ui.demo import visitor
from unlearn.engines.place import Place

TITLES = {"thread": "This machine, one after the other", "ray": "Ray", "slurm": "SLURM"}
SHORT = {"thread": "Where", "ray": "On Ray", "slurm": "On SLURM"}


def engines() -> list[str]:
    """Return the engines that this browser can use: a visitor has the server's thread alone.

    Their addresses are the server's, never a visitor's.
    """
    there = ["thread"]
    if visitor.here():
        return there
    if importlib.util.find_spec("ray"):
        there.append("ray")
    if importlib.util.find_spec("submitit") and shutil.which("sbatch"):
        there.append("slurm")
    return there


@st.cache_resource(show_spinner=False)
def _memory() -> dict[str, Place]:
    """What each browser chose last."""
    return {}


def choose() -> None:
    """Draw the choice in a form, last and small. Nothing is drawn where only this server can carry runs out."""
    if len(found := engines()) == 1:
        return
    before = chosen()
    with st.popover(SHORT[before.engine], icon=":material/lan:", key="where"):
        on = st.selectbox(
            "Carried out by",
            found,
            found.index(before.engine),
            format_func=lambda name: TITLES[name],
            key="where.on",
        )
        if on == "ray":
            st.caption(os.environ.get("RAY_ADDRESS") or "Ray is started on this machine.")
        now = Place() if on == "thread" else _sized(on, before)
    _memory()[visitor.owner()] = now
    if now.engine != before.engine:
        # The button that opens it tells the choice.
        st.rerun()


def _sized(on: str, before: Place) -> Place:
    """Draw how many go on at once and what each may take, and return the place that they mean."""
    help = "0 means as many as there is room for."
    at_once = st.number_input("At once", 0, 1000, before.at_once, key="where.at_once", help=help)
    cpus = st.number_input("CPU cores each", 1, 256, max(1, before.cpus), key="where.cpus")
    gpus: float
    if on == "ray":
        help = "A part such as 0.25 lets runs share one."
        gpus = st.number_input(
            "GPUs each", 0.0, 64.0, before.gpus_per_run, 0.25, format="%g", key="where.parts", help=help
        )
    else:
        gpus = st.number_input("GPUs each", 0, 64, int(before.gpus_per_run), key="where.gpus")
    return Place(on=on, at_once=at_once, cpus=cpus, gpus_per_run=gpus)


def chosen() -> Place:
    """Return what this browser chose, or this server where it chose nothing that can be had."""
    place = _memory().get(visitor.owner(), Place())
    return place if place.engine in engines() else Place()


def told() -> str:
    """Return a sentence on the choice for a place that cannot draw it, or "" where this server is it."""
    place = chosen()
    return "" if place.here else f"It is carried out on {TITLES[place.engine]}, as chosen on Unlearn."
