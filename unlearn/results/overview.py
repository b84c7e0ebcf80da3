"""Prepares what Compare shows first of one or several runs: rows by what became of them, scores with intervals, curves.

Plain values for unlearn.figures.overview. No torch, no streamlit.
"""

import math
from collections.abc import Sequence

from unlearn.data.base import TITLES
from unlearn.methods import METHODS
from unlearn.models.catalogue import CATALOGUE
from unlearn.results import likelihood
from unlearn.results.compare import LETTERS, VERDICTS, number, sides, verdict
from unlearn.results.measured import measured
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

# Scores between 0 and 1, in the order in which a reader should see them. Questions have the first of a pair, plain
# texts the second.
SHARES = (("exact", "memorised"), ("rougeL", "extraction"), ("probability", "accuracy"))
WHEN = ("before", "after", "retrained")


def outcomes(rows: Sequence[JsonView], role: str = "forget") -> dict[str, dict[str, int]]:
    """Return {"a" | "b" | … | "retrained": {verdict: rows}} over the rows of compare.pair_samples() of one role. A
    side without answers is left out.
    """
    here = [row for row in rows if row["role"] == role]
    letters = sides(here[0]) if here else []
    words = {letter: [row[f"verdict_{letter}"] for row in here] for letter in letters}
    words["retrained"] = [verdict(row["before"], row["retrained"]) for row in here]
    return {side: {word: said.count(word) for word in VERDICTS} for side, said in words.items() if any(said)}


def shares(runs: Sequence[Run]) -> dict[str, list[JsonObject]]:
    """Return {metric: rows} of at most three scores. A row: role, title, n and "points", {"before" | "a" | "b" | … |
    "retrained": (value, low, high)}; low and high are None where the run kept no interval.
    """
    there = {role for run in runs for one in run.scores().values() for role in one}
    roles = [*(role for role in TITLES if role in there), *sorted(there - TITLES.keys())]
    found = {}
    for pair in SHARES:
        for metric in pair:
            if rows := [row for role in roles if (row := _row(runs, role, metric))]:
                found[metric] = rows
                break
    return found


def _row(runs: Sequence[Run], role: str, metric: str) -> JsonObject:
    points: dict[str, tuple[float, float | None, float | None]] = {}
    n = 0
    for letter, run in zip(LETTERS, runs, strict=False):
        scores, around = run.scores(), run.intervals()
        for when in WHEN:
            values = scores.get(when, {}).get(role, {})
            side = letter if when == "after" else when
            if side in points or values.get(metric) is None or not math.isfinite(number(values[metric])):
                continue
            low, high = around.get(when, {}).get(role, {}).get(metric, (None, None))
            points[side] = (number(values[metric]), low, high)
            n = max(n, run.counted(role, metric))
    return {"role": role, "title": TITLES.get(role, role), "n": n, "points": points} if points else {}


def likelihoods(runs: Sequence[Run]) -> dict[str, JsonObject]:
    """Return {role: {"lines": {"a" | "b" | …: [(step, likelihood)]}, "before", "retrained", "n"}} of the probes.

    The likelihood is that of unlearn.results.likelihood, as the run's own page shows it. n counts the rows.
    """
    found: dict[str, JsonObject] = {}
    for letter, run in zip(LETTERS, runs, strict=False):
        curves, truth = likelihood.over_steps(run), likelihood.of_retrained(run, runs)
        asked = [item["role"] for item in run.probes()[0]["items"]] if curves else []
        for role, line in curves.items():
            one = found.setdefault(
                role, {"lines": {}, "before": line[0][1], "retrained": None, "n": asked.count(role)}
            )
            one["lines"][letter] = line
            if one["retrained"] is None:
                one["retrained"] = truth.get(role)
    return found


def recorded(run: Run) -> list[JsonObject]:
    """Return what each method did at its defaults on the run's own model and rows, as marks for figures.tradeoff(): the
    share of right answers, mean over seeds. It is empty where the run has other rows.
    """
    entry = CATALOGUE.get(run.config.model)
    if entry is None or dict(run.config.data) != {"name": entry.data}:
        return []
    return [
        {
            "label": f"{method.title}, {found.seeds} seeds",
            "kind": "recorded",
            "forget": found.roles["forget"].after,
            "retain": found.roles["retain"].after,
        }
        for method in METHODS.values()
        for found in measured(method)
        if found.model == run.config.model and {"forget", "retain"} <= found.roles.keys()
    ]
