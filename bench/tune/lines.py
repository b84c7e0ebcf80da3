"""Writes the rows as Markdown: one line a way of finding settings, and whether it beats the shipped ones."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.record import origin
from bench.tune.rows import METHOD, MODEL, SEARCH, SHIPPED, WAYS, key, wanted
from unlearn.methods import METHODS

NAMES = {
    "shipped": "shipped settings",
    "search": "`unlearn tune`",
    "guide": "tuning guide of Yao et al.",
    "grid": "grid",
}
COLUMNS = (
    "settings tried",
    "CPU seconds",
    "probability of the forget answers",
    "distance to the retrained model",
    "forget, % right",
    "utility kept, %",
    "general perplexity, × before",
    "distance less than shipped, 95 % interval",
)
# Student's t, 97.5 %, by degrees of freedom: what a paired difference over few seeds needs.
T975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown: the sentence, a line a way, and what is missing."""
    rows = result["rows"]
    found = [sentence(rows), "", f"| {METHODS[METHOD].title} on {MODEL} | {' | '.join(COLUMNS)} |"]
    found.append("|---|" + "--:|" * len(COLUMNS))
    found += [line(rows, way) for way in WAYS if any(row["way"] == way for row in rows)]
    have = {key(row) for row in rows}
    if lacking := [one for one in wanted() if one not in have]:
        told = ", ".join(f"{NAMES[way]} (seed {seed})" for way, seed in lacking)
        found += ["", f"Not measured yet: {told}. `python -m bench.tune` goes on."]
    first = next((row for row in rows if row.get("target") is not None), None)
    if first:
        found += ["", f"The retrained model: {first['target']:.3f}; before: {first['before']['forget']:.3f}."]
    made = dict.fromkeys(origin(row["origin"] | {"seeds": seeds_of(rows)}) for row in rows[:1])
    return "\n".join([*found, "", "<br>".join(made)])


def seeds_of(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the seeds that have a row."""
    return sorted({row["seed"] for row in rows})


def line(rows: Sequence[Mapping[str, Any]], way: str) -> str:
    """Return the line of one way."""
    mine = [row for row in rows if row["way"] == way]
    done = [row for row in mine if row.get("state") == "done"]
    general = [row["general"] / row["before"]["general"] for row in done if row.get("general")]
    cells = [
        spread([row["trials"] for row in mine], 0) if way != SHIPPED else "–",
        spread([row["cpu_seconds"] for row in mine], 0) if way != SHIPPED else "–",
        spread([row["forget"] for row in done], 3),
        spread([row["distance"] for row in done], 3),
        spread([100 * row["right"] for row in done if row.get("right") is not None], 0),
        spread([100 * row["kept"] for row in done], 0),
        spread(general, 2),
        difference(rows, way) if way != SHIPPED else "–",
    ]
    lost = f" ({len(mine) - len(done)} of {len(mine)} without a result)" if len(done) < len(mine) else ""
    return f"| {NAMES[way]}{lost} | {' | '.join(cells)} |"


def spread(numbers: Sequence[float], digits: int) -> str:
    """Write mean ± standard deviation, the value alone where there is one, or a dash."""
    if not numbers:
        return "–"
    mean = statistics.fmean(numbers)
    if len(numbers) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {statistics.stdev(numbers):.{digits}f}"


def paired(rows: Sequence[Mapping[str, Any]], way: str, value: str) -> list[float]:
    """Return shipped - way of a value, seed by seed."""
    by_key = {key(dict(row)): row for row in rows if row.get("state") == "done"}
    both = [seed for seed in seeds_of(rows) if (way, seed) in by_key and (SHIPPED, seed) in by_key]
    return [by_key[SHIPPED, seed][value] - by_key[way, seed][value] for seed in both]


def around(values: Sequence[float]) -> tuple[float, float, float]:
    """Return (mean, low, high) with Student's 95 % interval. The ends are nan below two values."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = T975[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def difference(rows: Sequence[Mapping[str, Any]], way: str) -> str:
    """Write how much nearer to the target a way comes than the shipped settings."""
    values = paired(rows, way, "distance")
    if not values:
        return "–"
    mean, low, high = around(values)
    return f"{mean:.3f}" + (f" [{low:.3f}, {high:.3f}]" if math.isfinite(low) else "")


def sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say whether the search beats the shipped settings, over the seeds that have both."""
    nearer, lost = paired(rows, SEARCH, "distance"), paired(rows, SEARCH, "kept")
    if len(nearer) < 2:
        return "Whether the search beats the shipped settings is not measured yet."
    mean, low, high = around(nearer)
    fell, from_, to = around([100 * value for value in lost])
    word = "beats" if low > 0 else "is beaten by" if high < 0 else "cannot be told from"
    return (
        f"In distance to the retrained model the search {word} the settings that ship with the method, over "
        f"{len(nearer)} seeds: nearer by {mean:.3f} (95 % interval {low:.3f} to {high:.3f}), with {-fell:+.1f} points "
        f"of the utility kept ({-to:+.1f} to {-from_:+.1f})."
    )
