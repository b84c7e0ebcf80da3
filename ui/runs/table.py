"""Makes the table of runs, with scores as differences to a baseline that a person chooses."""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import streamlit as st

from ui import shell
from ui.runs import folded
from ui.runs.folded import Folded, Line
from unlearn.metrics.language.collapse import LEGIBLE
from unlearn.models.catalogue import CATALOGUE
from unlearn.results import conclusion
from unlearn.results.compare import FAR, number, rounded, whole
from unlearn.store.index import Summary
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject, JsonView

# The most rows that the table draws, and the most runs that its baseline is chosen from.
MOST = 1000
# The most whose numbers have a real minus sign. To write a cell takes 10 µs, and a thousand runs have ten thousand.
MOST_SIGNED = 200
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
    "perplexity": (
        "general",
        ("ppl",),
        1,
        "",
        "Perplexity on general text; lower is better. Empty where it was above 1,000 before the run: the model never "
        "said that text, so a change tells nothing.",
    ),
}
# What a name says already, and the model.
NAMED = ("method", "forget set", "model")
# The words of a verdict after which there is nothing to attack.
STILL_THERE = ("nothing to forget", "not forgotten")
_came: WeakKeyDictionary[Summary, Any] = WeakKeyDictionary()
_names: WeakKeyDictionary[Summary, JsonObject] = WeakKeyDictionary()
OUTCOMES = {
    "over-forgotten": f"forget rows are over {FAR:g} nats a token less likely than after retraining without them",
    "damaged": "perplexity on general text has more than doubled, or is no number; read on the rows to keep where the "
    "model never said the general text",
}


def outcomes(scores: JsonView) -> tuple[str, ...]:
    """Return which of OUTCOMES a run's scores show. What cannot be decided without a score is left out."""
    found = []
    after, truth = (_score(scores.get(when), "forget", ("nll",)) for when in ("after", "retrained"))
    if after is not None and truth is not None and not after - truth <= FAR:
        found.append("over-forgotten")
    if conclusion.ruined(scores):
        found.append("damaged")
    return tuple(found)


Came = tuple[tuple[str, ...], dict[tuple[str, str], float | None], tuple[str, str, str] | None]


def came(run: Summary) -> Came:
    """Return (its outcomes, {(when, column): score}, its verdict in three words), computed once for each summary."""
    if (known := _came.get(run)) is None:
        scores = {
            (when, column): _score(run.scores.get(when), role, metrics)
            for when in ("before", "after")
            for column, (role, metrics, *_) in SCORES.items()
        }
        # What the model never said tells nothing of what a run did to it.
        if (scores["before", "perplexity"] or 0.0) > LEGIBLE:
            scores |= {(when, "perplexity"): None for when in ("before", "after")}
        known = _came[run] = (outcomes(run.scores), scores, conclusion.marks(run))
    return known


def state_of(run: Line) -> str:
    """Return the state as it is shown. A study's line has that of its runs, where they have one."""
    if isinstance(run, Folded):
        states = list(dict.fromkeys(map(state_of, run.runs)))
        return next((state for state in states if state in ACTIVE), ", ".join(states))
    return "recorded" if shell.is_recorded(run) else run.state


def rows(lines: Sequence[Line], baseline: str) -> list[JsonObject]:
    """Return one dictionary for each line, for st.dataframe. A score that does not exist is None, never 0."""
    fixed = None if baseline in BASELINES else came(shell.find_run(baseline).summary())[1]
    states = [state_of(line) for line in lines]
    table: list[JsonObject] = []
    for line, state in zip(lines, states, strict=True):
        row: JsonObject = _named(line) | _verdict(line, state)
        for column, (_, _, factor, *_) in SCORES.items():
            row[column] = None if isinstance(line, Folded) else _delta(line, column, factor, baseline, fixed)
        row |= {"status": _status(line, state)} | {name: row.pop(name) for name in NAMED}
        # A number that grows by itself would have to be drawn again and again.
        seconds = None if isinstance(line, Folded) or state in ACTIVE else line.seconds
        table.append(row | {"seconds": seconds, "id": line.id})
    return table


def _status(line: Line, state: str) -> str:
    """The state and, of a run that waits, its place in the queue."""
    waits = state in ACTIVE and not isinstance(line, Folded)
    place = shell.runner().position(Run(line.path)) if waits else None
    return f"{state} ({place})" if place else state


def _delta(
    run: Summary,
    column: str,
    factor: float,
    baseline: str,
    fixed: Mapping[tuple[str, str], float | None] | None,
) -> float | None:
    scores = came(run)[1]
    now = scores["after", column]
    was = 0.0 if baseline == ABSOLUTE else scores["before", column]
    if fixed is not None:
        was = fixed["after", column]
    if now is None or was is None:
        return None
    value = factor * (now - was)
    # What the column's digits do not show has no sign either.
    return 0.0 if abs(value) < (0.5 if factor == 100 else 0.005) else value


def _verdict(line: Line, state: str) -> JsonObject:
    """The words of the verdict; of a run that has none it is the state that says why."""
    if isinstance(line, Folded):
        return {"verdict": folded.outcome([came(run)[2] for run in line.runs])}
    words: Sequence[str] = came(line)[2] or (() if state == "done" else (state,))
    if words and words[0] in STILL_THERE:
        # An attack would find what was forgotten, so it is not missed here.
        words = [word for word in words if word != "not attacked"]
    return {"verdict": list(words)}


def order(lines: Sequence[Line], table: Sequence[JsonView]) -> list[str]:
    """Return the columns that stand open, so that they fit beside the menu on a screen of 1280 pixels.

    What every name says already, and a model that all have in common, is left to the table's own list of columns.
    """
    said = {"id", "seconds"}
    if not any(isinstance(line, Summary) and line.title and not shell.is_recorded(line) for line in lines):
        said |= set(NAMED[:2])
    if len({row["model"] for row in table if row["model"]}) < 2:
        said.add("model")
    return [name for name in table[0] if name not in said]


def _named(line: Line) -> JsonObject:
    """What a row calls the run and what it was made of, put together once for each summary."""
    if isinstance(line, Folded):
        return {"run": line.label} | dict.fromkeys(("method", "forget set", "model"), "")
    if line not in _names:
        _names[line] = {
            "run": shell.label(line),
            "method": line.method_title or shell.method_title(line.method),
            "forget set": line.data_title or shell.named_data(line.data),
            "model": model_title(line),
        }
    return _names[line]


def forms(lines: Sequence[Line], baseline: str) -> dict[str, Callable[[float], str]]:
    """Return how each column of differences is written, as ui.minus takes it. It is empty where no number has a sign,
    and where there are too many lines for it.
    """
    if baseline == ABSOLUTE or len(lines) > MOST_SIGNED:
        return {}
    points, others = (lambda value: f"{whole(value, sign=True)} pp"), partial(rounded, sign=True)
    return {column: points if unit else others for column, (*_, unit, _) in SCORES.items()}


def columns(baseline: str, written: Container[str] = ()) -> JsonObject:
    """Return titles, units and tooltips of the table's columns. written: those that forms() writes."""
    sign, word = ("", "") if baseline == ABSOLUTE else ("+", "Δ ")
    shades, small = folded.colors(), shell.is_phone()
    shown: JsonObject = {
        # On a phone the verdict stands beside the beginning of the name; a selected row says the whole of it.
        "run": st.column_config.TextColumn(
            "run",
            width=115 if small else 275,
            help="A name that is longer than its column stands whole below the table, once its row is selected.",
        ),
        "verdict": st.column_config.MultiselectColumn(
            "verdict",
            options=list(shades),
            color=list(shades.values()),
            width=195 if small else 225,
            help="Whether it forgot, kept the rest, and survived the attacks. Select the row for the numbers.",
        ),
        "status": st.column_config.TextColumn(
            "status", help="Of a run that waits its place in the queue stands in brackets.", width="small"
        ),
        "seconds": st.column_config.NumberColumn(
            "time (s)", format="%.0f", help="From start to end, of a run that has ended.", width="small"
        ),
        "id": st.column_config.TextColumn("id", help="The run's folder."),
    }
    for column, (_, _, _, unit, help) in SCORES.items():
        form = f"%{sign}.0f{' pp' if sign else ' %%'}" if unit else f"%{sign}.3g"
        title = f"{word}{column}"
        form_here = None if column in written else form
        shown[column] = st.column_config.NumberColumn(title, format=form_here, help=help, width="small")
    return shown


def model_title(known: Summary) -> str:
    """Return the model's name as a person calls it."""
    entry = CATALOGUE.get(known.model)
    return entry.title.partition(" (")[0] if entry else known.model


def _score(scores: JsonView | None, role: str, metrics: Sequence[str]) -> float | None:
    """Return the first of these metrics that was computed on the role. It is None where none was."""
    found = (scores or {}).get(role) or {}
    return next((number(found[metric]) for metric in metrics if found.get(metric) is not None), None)
