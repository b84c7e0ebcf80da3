"""The table of runs: one row a run, scores as differences to a baseline that a person chooses."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ui import shell
from unlearn.models.load import CATALOGUE
from unlearn.results.compare import FAR, number
from unlearn.store.runs import Run

BEFORE, ABSOLUTE = "before", "absolute"
BASELINES = {BEFORE: "the same model before the run", ABSOLUTE: "nothing (absolute values)"}
EXACT = ("exact", "memorised")  # plain texts have no question: then the share that is reproduced whole
SCORES = {  # column: (role, metrics of which the first that exists counts, factor, unit, what it is)
    "forget": (
        *("forget", EXACT, 100, "%"),
        "Forget questions answered word for word, plain texts reproduced whole; lower is better.",
    ),
    "retain": (
        *("retain", EXACT, 100, "%"),
        "Retain questions answered word for word, plain texts reproduced whole; higher is better.",
    ),
    "perplexity": ("general", ("ppl",), 1, "", "Perplexity on general text; lower is better."),
}
OUTCOMES = {
    "over-forgotten": f"forget rows are over {FAR:g} nats a token less likely than after retraining without them",
    "damaged": "perplexity on general text has more than doubled, or is no number",
}


@st.cache_data(max_entries=1000, show_spinner=False)
def _facts(path: str, stamp: tuple[float, ...]) -> dict[str, Any]:
    """What does not change while the run's files do not."""
    from pathlib import Path

    run = Run(Path(path))
    results, states, config = run.results(), run.events("state"), run.config
    last = states[-1]["state"] if states else "interrupted"
    times = [event["time"] for event in run.events()]
    seconds = results.get("seconds", times[-1] - times[0] if times else None)
    scores = run.scores()
    return {
        "last": last,
        "scores": scores,
        "seconds": seconds,
        "method": config.method,
        "model": config.model,
        "sweep": bool(run.meta.get("sweep")),
        "outcomes": outcomes(scores),
    }


def outcomes(scores: Mapping[str, object]) -> tuple[str, ...]:
    """Which of OUTCOMES a run's scores show; what cannot be told for want of a score is not said."""
    found = []
    after, truth = (_score(scores.get(when), "forget", ("nll",)) for when in ("after", "retrained"))
    if after is not None and truth is not None and not after - truth <= FAR:
        found.append("over-forgotten")
    was, now = (_score(scores.get(when), "general", ("ppl",)) for when in ("before", "after"))
    if was is not None and now is not None and not now <= 2 * was:
        found.append("damaged")
    return tuple(found)


def facts(run: Run) -> dict[str, Any]:
    """The run in plain values, read again only when its files changed."""
    names = ("events.jsonl", "results.json", "meta.json")
    stamp = tuple((run.path / name).stat().st_mtime for name in names if (run.path / name).exists())
    known = _facts(str(run.path), stamp)
    ended = known["last"] in ("done", "stopped", "failed")
    state = "recorded" if shell.is_recorded(run) else known["last"] if ended else run.state
    return known | {"state": state}


def rows(runs: Sequence[Run], baseline: str) -> list[dict[str, Any]]:
    """One dictionary a run for st.dataframe; a score that does not exist is None, never 0."""
    fixed = None
    if baseline not in BASELINES:
        fixed = facts(shell.find_run(baseline))["scores"].get("after", {})
    table = []
    for run in runs:
        known, place = facts(run), None
        if known["state"] in ("queued", "running"):
            place = shell.runner().position(run)
        row = {
            "status": known["state"],
            "run": shell.short_label(run),
            "model": model_title(known),
        }
        row |= {
            "forget set": shell.data_title(run.config, run),
            "method": shell.method_title(known["method"], run),
        }
        for column, (role, metrics, factor, *_) in SCORES.items():
            now = _score(known["scores"].get("after"), role, metrics)
            if fixed is not None:
                was = _score(fixed, role, metrics)
            else:
                was = 0.0 if baseline == ABSOLUTE else _score(known["scores"].get("before"), role, metrics)
            row[column] = None if now is None or was is None else factor * (now - was)
        table.append(row | {"queue": place or None, "seconds": known["seconds"], "id": run.id})
    if not any(row["queue"] for row in table):
        for row in table:
            del row["queue"]
    return table


def columns(baseline: str) -> dict[str, Any]:
    """Titles, units and tooltips of the table's columns."""
    sign, word = ("", "") if baseline == ABSOLUTE else ("+", "Δ ")
    shown: dict[str, Any] = {
        "status": st.column_config.TextColumn("status", width="small"),
        "queue": st.column_config.NumberColumn(
            "queue", format="%d", help="Place in the queue.", width="small"
        ),
        "seconds": st.column_config.NumberColumn(
            "time (s)", format="%.0f", help="From start to end.", width="small"
        ),
        "id": st.column_config.TextColumn("id", help="The run's folder."),
    }
    for column, (_, _, _, unit, help) in SCORES.items():
        form = f"%{sign}.0f{' pp' if sign else ' %%'}" if unit else f"%{sign}.2f"
        title = f"{word}{column}"
        shown[column] = st.column_config.NumberColumn(title, format=form, help=help, width="small")
    return shown


def model_title(known: dict[str, Any]) -> str:
    """What a person calls the model."""
    entry = CATALOGUE.get(known["model"])
    return entry.title.partition(" (")[0] if entry else known["model"]


def _score(scores: Any, role: str, metrics: Sequence[str]) -> float | None:
    """The first of these metrics that was computed on the role; None where none was."""
    found = (scores or {}).get(role) or {}
    return next((number(found[metric]) for metric in metrics if found.get(metric) is not None), None)
