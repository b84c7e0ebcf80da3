"""Draws the curves of a run: how likely the right answers are, in large, and the losses, folded."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from ui import shell
from ui.launch import drawing
from unlearn.data.base import TITLES
from unlearn.results import likelihood
from unlearn.results.compare import Written
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    import plotly.graph_objects as go

# The roles of the probes, in the order of the figures.
ROLES = ("forget", "retain")


def likelihoods(runs: Mapping[str, Run], active: bool, large: bool = False) -> None:
    """Draw how likely the right answers are over the steps: one figure for each role, all runs in it.

    runs: {name on the screen: run}. Nothing is drawn before the first of them was asked. large: for a room.
    """
    asked = {name: run for name, run in runs.items() if run.probes()}
    if not asked:
        return
    found = list(asked.values())
    at = tuple(run.probes()[-1]["step"] for run in found)
    # A run that has scored the retrained model gives the line to those that have not yet.
    scored = [run for run in runs.values() if "retrained" in run.scores()]

    def make(dark: bool) -> "list[go.Figure]":
        from unlearn.figures import likelihood as figures
        from unlearn.figures.gradient import hue

        curves = {name: likelihood.over_steps(run) for name, run in asked.items()}
        truth = likelihood.of_retrained(found[0], [*scored, *shell.recorded()])
        roles = [role for role in ROLES if any(role in one for one in curves.values())]
        return [
            figures.likelihood(
                role,
                {name: one[role] for name, one in curves.items() if role in one},
                truth.get(role),
                dark,
                drawing.LIVE_POINTS,
                large,
                n=_asked(asked.values(), role),
                # A racer has its colour from the start, also while the others still wait.
                colors=[hue(place, dark) for place, name in enumerate(runs) if role in curves.get(name, {})]
                if len(runs) > 1
                else (),
            )
            for role in roles
        ]

    # With the first retrained scores the line appears without a new step.
    name = "likelihood, large" if large else "likelihood"
    drawing.show(name, [run.id for run in runs.values()], (*at, len(scored)), active, make)
    if len(runs) > 1:
        st.caption(followed({role: _asked(found, role) for role in ROLES}))
    elif scored:
        st.caption(likelihood.REACHED)


def followed(counts: Mapping[str, int]) -> str:
    """Say how many questions the curves are of, since the verdicts beside them are of all rows."""
    told = " and ".join(f"{n} {TITLES[role].lower()}" for role, n in counts.items() if n)
    return (
        f"The curves are of the questions that are asked at each look, {told}; the verdicts are of all rows. "
        f"{likelihood.REACHED}"
    )


def _asked(runs: Iterable[Run], role: str) -> int:
    """The number of questions of this role that are followed, the most where runs differ in it."""
    return max(sum(item["role"] == role for item in run.probes()[0]["items"]) for run in runs)


def losses(run: Run, steps: Sequence[JsonObject], active: bool) -> None:
    """Draw the training terms in an expander, one figure for each. A closed one draws nothing."""
    place = st.expander(
        "Losses of the training", icon=":material/show_chart:", key=f"losses.{run.id}", on_change="rerun"
    )
    if not place.open:
        return
    with place:

        def make(dark: bool) -> "list[go.Figure]":
            return terms(steps, dark)

        drawing.show("losses", [run.id], (steps[-1]["step"],), active, make)
        last = steps[-1]
        raw = " · ".join(f"{name} {_number(value)}" for name, value in last["terms"].items())
        st.caption(
            f"Bold and in the titles: smoothed over the steps. At step {last['step']} itself: {raw} · gradient norm "
            f"{_number(last.get('grad_norm'))}"
        )


def terms(steps: Sequence[JsonObject], dark: bool) -> "list[go.Figure]":
    """Return one figure for each term of the loss, so that a narrow screen can put them below each other."""
    from unlearn.figures import losses as figures

    names = dict.fromkeys(name for step in steps for name in step["terms"])
    return [
        figures.losses(
            [{**step, "terms": {name: step["terms"][name]}} for step in steps if name in step["terms"]],
            dark=dark,
            points=drawing.LIVE_POINTS,
        )
        for name in names
    ]


def _number(value: Written) -> str:
    return "–" if value is None else f"{float(value):.3g}".replace("-", "−")
