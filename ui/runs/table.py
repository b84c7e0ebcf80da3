"""Makes the table of runs, with scores as differences to a baseline that a person chooses."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import streamlit as st

from ui import shell
from unlearn.models.catalogue import CATALOGUE
from unlearn.results.compare import FAR, number
from unlearn.store.index import Summary
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject, JsonView

# The most rows that the table draws, and the most runs that its baseline is chosen from.
MOST = 1000
BEFORE, ABSOLUTE = "before", "absolute"
BASELINES = {BEFORE: "the same model before the run", ABSOLUTE: "nothing (absolute values)"}
# Plain texts have no question. For them the share that is reproduced whole counts.
EXACT = ("exact", "memorised")
# Each column: role, metrics of which the first that exists counts, factor, unit, and what it is.
SCORES = {
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
_came: WeakKeyDictionary[Summary, Any] = WeakKeyDictionary()
_names: WeakKeyDictionary[Summary, JsonObject] = WeakKeyDictionary()
OUTCOMES = {
    "over-forgotten": f"forget rows are over {FAR:g} nats a token less likely than after retraining without them",
    "damaged": "perplexity on general text has more than doubled, or is no number",
}


def outcomes(scores: JsonView) -> tuple[str, ...]:
    """Return which of OUTCOMES a run's scores show. What cannot be decided without a score is left out."""
    found = []
    after, truth = (_score(scores.get(when), "forget", ("nll",)) for when in ("after", "retrained"))
    if after is not None and truth is not None and not after - truth <= FAR:
        found.append("over-forgotten")
    was, now = (_score(scores.get(when), "general", ("ppl",)) for when in ("before", "after"))
    if was is not None and now is not None and not now <= 2 * was:
        found.append("damaged")
    return tuple(found)


def came(run: Summary) -> tuple[tuple[str, ...], dict[tuple[str, str], float | None]]:
    """Return (its outcomes, {(when, column): score}), computed once for each summary."""
    if (known := _came.get(run)) is None:
        scores = {
            (when, column): _score(run.scores.get(when), role, metrics)
            for when in ("before", "after")
            for column, (role, metrics, *_) in SCORES.items()
        }
        known = _came[run] = (outcomes(run.scores), scores)
    return known


def state_of(run: Summary) -> str:
    """Return the state as it is shown."""
    return "recorded" if shell.is_recorded(run) else run.state


def rows(runs: Sequence[Summary], baseline: str) -> list[JsonObject]:
    """Return one dictionary for each run, for st.dataframe. A score that does not exist is None, never 0."""
    fixed = None if baseline in BASELINES else came(shell.find_run(baseline).summary())[1]
    states = [state_of(run) for run in runs]
    active = any(state in ACTIVE for state in states)
    table: list[JsonObject] = []
    for run, state in zip(runs, states, strict=True):
        scores = came(run)[1]
        row: JsonObject = {"status": state} | _named(run)
        for column, (_, _, factor, *_) in SCORES.items():
            now = scores["after", column]
            if fixed is not None:
                was = fixed["after", column]
            else:
                was = 0.0 if baseline == ABSOLUTE else scores["before", column]
            row[column] = None if now is None or was is None else factor * (now - was)
        if active:
            row["queue"] = (shell.runner().position(Run(run.path)) or None) if state in ACTIVE else None
        table.append(row | {"seconds": run.seconds, "id": run.id})
    if active and not any(row["queue"] for row in table):
        for row in table:
            del row["queue"]
    return table


def _named(run: Summary) -> JsonObject:
    """What a row calls the run and what it was made of, put together once for each summary."""
    if run not in _names:
        _names[run] = {
            "run": shell.short_label(run),
            "model": model_title(run),
            "forget set": run.data_title or shell.named_data(run.data),
            "method": run.method_title or shell.method_title(run.method),
        }
    return _names[run]


def columns(baseline: str) -> JsonObject:
    """Return titles, units and tooltips of the table's columns."""
    sign, word = ("", "") if baseline == ABSOLUTE else ("+", "Δ ")
    shown: JsonObject = {
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


def model_title(known: Summary) -> str:
    """Return the model's name as a person calls it."""
    entry = CATALOGUE.get(known.model)
    return entry.title.partition(" (")[0] if entry else known.model


def _score(scores: JsonView | None, role: str, metrics: Sequence[str]) -> float | None:
    """Return the first of these metrics that was computed on the role. It is None where none was."""
    found = (scores or {}).get(role) or {}
    return next((number(found[metric]) for metric in metrics if found.get(metric) is not None), None)
