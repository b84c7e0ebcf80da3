"""Draws how far a run is: its stages ticked off, the bar of the training, and the questions that it will ask."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import streamlit as st

from ui import shell
from unlearn.data.catalogue import from_config
from unlearn.measure.evaluate import rows_to_score
from unlearn.measure.probes import probed
from unlearn.models.catalogue import exact_retrain
from unlearn.results.pace import duration, seconds_to_go
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

PHASES = {
    "loading model": "Loading the model",
    "scoring before": "Asking the questions before",
    "reference": "Computing the reference",
    "training": "Unlearning",
    "saving": "Saving",
    "scoring after": "Asking the same questions after",
    "scoring retrained": "Asking the model that never saw it",
}
# The stages that every run has. The others are shown once they have begun.
ALWAYS = ("loading model", "scoring before", "training", "saving", "scoring after")


def progress(run: Run, steps: Sequence[JsonObject]) -> tuple[float, str]:
    """Return (fraction of the training done, what is done now and how long it will take, in words)."""
    place = shell.runner().position(run)
    if run.state == "queued":
        ahead = f"{place} ahead of it" if place else "it is next"
        return 0.0, f"Waiting for the machine, {ahead}"
    notes = [event["phase"] for event in run.events("note") if event.get("phase")]
    phase = PHASES.get(notes[-1], notes[-1].capitalize()) if notes else "Starting"
    if not steps:
        return 0.0, phase
    last = steps[-1]
    step, of = last["step"], max(last["of"], 1)
    if step >= of:
        return 1.0, phase if phase != PHASES["training"] else PHASES["scoring after"]
    left = seconds_to_go(steps)
    return step / of, f"{PHASES['training']}: step {step} of {of}" + (
        f", about {duration(left)} left" if left else ""
    )


def stages(run: Run) -> None:
    """Draw the stages of a run in order: those behind it ticked off with their time, the present one, the rest."""
    took: dict[str, float | None] = {}
    for event in run.events("note"):
        if (phase := event.get("phase")) in PHASES:
            took[phase] = event.get("seconds")
    try:
        truth = exact_retrain(run.config) is not None
    except ValueError:
        truth = False
    shown = [
        name for name in PHASES if name in took or name in ALWAYS or (truth and name == "scoring retrained")
    ]
    words = []
    for name in shown:
        if name not in took:
            words.append(f":gray[:material/circle: {PHASES[name]}]")
        elif (seconds := took[name]) is None:
            words.append(f":material/pending: **{PHASES[name]}**")
        else:
            words.append(f":green[:material/check_circle:] {PHASES[name]} :gray[{duration(seconds)}]")
    # Each is an element of its own, so that a line breaks between two stages and never within one.
    with st.container(horizontal=True, gap="small", key=f"stages.{run.id}"):
        for one in words:
            st.markdown(one, width="content")


def rows_to_come(run: Run) -> list[JsonObject]:
    """Return what the run will ask, for the time before the model has answered: role, question and right answer.

    It is empty where the rows cannot be read.
    """
    try:
        return _rows_to_come(run.path)
    except (ValueError, OSError):
        return []


@lru_cache(maxsize=16)
def _rows_to_come(path: Path) -> list[JsonObject]:
    data = from_config(dict(Run(path).config.data), shell.runner().roots)
    return [
        {"role": role, "index": place, "question": row.question or row.prompt, "answer": row.answer}
        for role, place, row in probed(rows_to_score(data))
    ]
