"""Computes what the gradient explorer shows, and keeps it while the choices stay the same."""

import json
from typing import TYPE_CHECKING

import streamlit as st

from unlearn.data import catalogue
from unlearn.data.prompts import asked_in
from unlearn.methods import METHODS
from unlearn.models.catalogue import default_prompt
from unlearn.models.load import CATALOGUE, load

if TYPE_CHECKING:
    from unlearn.measure.gradient import Explorer, Stage

# The longest curve, in nats.
MOST_REACH = 125.0
POINTS = 61


@st.cache_resource(max_entries=1, show_spinner="Reading the texts with the model")
def stage(model: str) -> "Stage":
    """Return the unlearn.measure.gradient.Stage of a known model and the data that belongs to it."""
    from unlearn.measure import gradient

    rows = asked_in(catalogue.load(CATALOGUE[model].data), default_prompt(model))
    return gradient.stage(load(model), rows)


def _explorer(model: str, text: int, name: str, knobs: str) -> "Explorer":
    from unlearn.measure.gradient import Explorer

    return Explorer(METHODS[name].from_knobs(json.loads(knobs)), stage(model), text)


@st.cache_data(max_entries=128, show_spinner=False)
def explore(model: str, text: int, place: int, whole: bool, name: str, knobs: str, reach: float) -> dict:
    """Return {"curve": …, "rest": …, "target": [V] | None} or {"reason": sentence}.

    reach is where the curve ends.

    It ends later where the method comes to rest only there.
    """
    from unlearn.measure.gradient import Unfit, rest

    try:
        explorer = _explorer(model, text, name, knobs)
        target = explorer.target(place)
        still = rest(explorer.scene, place, target)
        reach = min(max(reach, 1.25 * still[0] if still else 0.0), MOST_REACH)
        curve = explorer.curve(place, [reach * i / (POINTS - 1) for i in range(POINTS)], whole)
    except Unfit as reason:
        return {"reason": str(reason)}
    return {"curve": curve, "rest": still, "target": None if target is None else target.tolist()}


@st.cache_data(max_entries=128, show_spinner=False)
def push(model: str, text: int, place: int, whole: bool, name: str, knobs: str, shift: float) -> list[float]:
    """Return [V], the push on every logit at this token."""
    return _explorer(model, text, name, knobs).push(shift, None if whole else place)[place].tolist()


@st.cache_data(max_entries=8, show_spinner=False)
def reasons(model: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return {method: why it cannot be shown} of the methods that cannot."""
    from unlearn.measure.gradient import Unfit

    found = {}
    for name in names:
        try:
            _explorer(model, 0, name, "{}")
        except Unfit as reason:
            found[name] = str(reason)
    return found
