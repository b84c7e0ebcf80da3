"""Lets a person choose who carries runs out: this server, a Ray cluster, or SLURM, where these can be had."""

import importlib.util
import os
import shutil

import streamlit as st

from ui import forms
from ui.demo import visitor
from unlearn.engines.place import Place

TITLES = {"thread": "This machine, one after the other", "ray": "Ray", "slurm": "SLURM"}


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


def choose(form: str) -> None:
    """Draw the choice for a form, last and small. Nothing is drawn where only this server can carry runs out."""
    if len(found := engines()) == 1:
        return
    with st.popover("Where", icon=":material/lan:", key=f"where.{form}"):
        on = st.selectbox(
            "Carried out by",
            found,
            format_func=lambda name: TITLES[name],
            key=f"where.{form}.on",
            **forms.KEEP,
        )
        if on == "ray":
            st.caption(os.environ.get("RAY_ADDRESS") or "Ray is started on this machine.")
        if on != "thread":
            help = "0 means as many as there is room for."
            st.number_input("At once", 0, 1000, key=f"where.{form}.at_once", help=help, **forms.KEEP)
            st.number_input("CPU cores each", 1, 256, key=f"where.{form}.cpus", **forms.KEEP)


def chosen(form: str) -> Place:
    """Return what was chosen in this form, or this server where nothing was."""
    on = st.session_state.get(f"where.{form}.on", "thread")
    if on == "thread":
        return Place()
    at_once, cpus = (int(st.session_state.get(f"where.{form}.{name}", 0)) for name in ("at_once", "cpus"))
    return Place(on=on, at_once=at_once, cpus=cpus)
