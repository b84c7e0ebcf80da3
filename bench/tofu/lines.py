"""Writes the rows as Markdown: one table a forget set, one line a method, and what is missing."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.record import RESULTS, origins
from bench.tofu.rows import FIRST, FIVE, MODEL, OTHER, RETRAIN, START, key, wanted
from unlearn.methods import METHODS

COLUMNS = (
    "TOFU utility",
    "forget quality, log₁₀ p",
    "D",
    "ROUGE-L, forget",
    "truth ratio, forget",
    "extraction strength",
    "MIA (Min-K%)",
    "KL to retrain, forget",
    "right in chat / plain / completion, %",
    "CPU seconds",
)
# What stands behind a number.
SPREADS = (
    "Mean ± standard deviation where there are several seeds; in brackets the 95 % interval over the questions where "
    "there is one (forget01: n 40 to forget; rows from before 2026-11-30 kept none)."
)


def missing(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """Return what the whole table has and these rows lack."""
    have = {key(row) for row in rows}
    every = [*wanted(), *((data, OTHER, 1) for data in (FIRST,))]
    return [one for one in every if one not in have]


def table(result: Mapping[str, Any], methods: Sequence[str] = ()) -> str:
    """Return Markdown: a table for each forget set, one line a method, and what is missing."""
    parts = []
    for data in dict.fromkeys(row["data"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["data"] == data]
        parts += [f"**{data}**, {MODEL}", "", *lines(rows, methods), ""]
    lacking = missing(result["rows"])
    if lacking and not methods:
        names: dict[str, list[str]] = {}
        for data, method, seed in lacking:
            names.setdefault(data, []).append(f"{title(method)} (seed {seed})")
        told = "; ".join(f"{data}: {', '.join(found)}" for data, found in names.items())
        parts += [f"Not measured yet: {told}. `python -m bench.tofu` goes on.", ""]
    parts += [SPREADS, ""]
    return "\n".join([*parts, origins(row["origin"] for row in result["rows"])])


def headline(results: Path = RESULTS) -> str:
    """Return the README's first table: forget01 with FIVE methods, the model before and the retrained one."""
    record = results / "tofu.json"
    found = json.loads(record.read_text(encoding="utf-8"))["rows"] if record.is_file() else []
    rows = [row for row in found if row["data"] == FIRST]
    if not rows:
        return "Not measured yet: `python -m bench.tofu`."
    made = origins(row["origin"] for row in rows if row["method"] in (*FIVE, START))
    return "\n".join([*lines(rows, FIVE), "", SPREADS, "", made])


def lines(rows: Sequence[Mapping[str, Any]], methods: Sequence[str] = ()) -> list[str]:
    """Return the lines of one forget set's table: seeds of one method in one line, mean ± sd."""
    found = [f"| method | {' | '.join(COLUMNS)} |", "|---|" + "--:|" * len(COLUMNS)]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        if methods and method in METHODS and method not in (*methods, RETRAIN):
            continue
        if all("failed" in row for row in mine):
            found.append(f"| {title(method)} | {' | '.join(['diverged', *['–'] * (len(COLUMNS) - 1)])} |")
            continue
        found.append(f"| {title(method)} | {' | '.join(cells([r for r in mine if 'failed' not in r]))} |")
    return found


def cells(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the cells of one method."""
    quality = [row["quality"] for row in rows]
    formats = [row.get("by_format", {}).get("forget", {}) for row in rows]
    said = [[100 * one[name] for one in formats if name in one] for name in ("chat", "plain", "completion")]
    over = rows[0].get("intervals", {}) if len(rows) == 1 else {}
    return [
        spread([row["utility"] for row in rows], 3, over.get("utility")),
        spread([one.get("log10") for one in quality], 1),
        spread([one.get("d") for one in quality], 2),
        *(
            spread([row[name] for row in rows], 2, over.get(name))
            for name in ("rouge", "truth_ratio", "extraction", "mia")
        ),
        spread([row["kl"]["forget"] for row in rows], 2),
        " / ".join(spread(one, 0) for one in said),
        spread([row.get("cpu_seconds") for row in rows], 0),
    ]


def spread(numbers: Sequence[float | None], digits: int, interval: Sequence[float] | None = None) -> str:
    """Write mean ± standard deviation, one value alone with its interval if it has one, or a dash."""
    found = [float(value) for value in numbers if value is not None]
    if not found:
        return "–"
    mean = sum(found) / len(found)
    if len(found) == 1:
        around = f" ({' to '.join(_plain(end, digits) for end in interval)})" if interval else ""
        return _plain(mean, digits) + around
    sd = math.sqrt(sum((value - mean) ** 2 for value in found) / (len(found) - 1))
    return f"{_plain(mean, digits)} ± {sd:.{digits}f}"


def _plain(value: float, digits: int) -> str:
    """A number that is rounded to zero has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def title(method: str) -> str:
    """Return a row's name: a method's title, or in italics what no method made."""
    return METHODS[method].title if method in METHODS and method != RETRAIN else f"*{method}*"
