"""Writes the rows as Markdown: for each world a line a way, and whether the search beats the other ways."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.record import origin
from bench.tune.worlds import GRID, GUIDE, SEARCH, SHIPPED, WAYS, WORLDS, key, wanted
from unlearn.methods import METHODS
from unlearn.metrics.language.collapse import LEGIBLE

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
# Settings that keep less of the utility are no rival, however near their model is to the retrained one.
HALF = 0.5
# Student's t, 97.5 %, by degrees of freedom: what a paired difference over few seeds needs.
T975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown: for each world the sentences, a line a way, and what is missing."""
    parts = []
    for world in WORLDS:
        rows = [row for row in result["rows"] if row["world"] == world]
        if rows:
            parts += [f"**{world}**", "", *of_world(rows, world), ""]
    have = {key(row) for row in result["rows"]}
    if lacking := [one for one in wanted() if one not in have]:
        told = "; ".join(
            f"{world}: "
            + ", ".join(f"{NAMES[way]} (seed {seed})" for there, way, seed in lacking if there == world)
            for world in dict.fromkeys(one[0] for one in lacking)
        )
        parts += [f"Not measured yet: {told}. `python -m bench.tune` goes on."]
    return "\n".join(parts).strip()


def of_world(rows: Sequence[Mapping[str, Any]], world: str) -> list[str]:
    """Return the lines of one world."""
    method = METHODS[WORLDS[world].method].title
    found = [sentence(rows), "", beside(rows), "", f"| {method} on {world} | {' | '.join(COLUMNS)} |"]
    found.append("|---|" + "--:|" * len(COLUMNS))
    found += [line(rows, way) for way in WAYS if any(row["way"] == way for row in rows)]
    first = next((row for row in rows if row.get("target") is not None), None)
    if first:
        found += ["", f"The retrained model: {first['target']:.3f}; before: {first['before']['forget']:.3f}."]
    made = dict.fromkeys(made_by(rows))
    return [*found, "", "<br>".join(made)]


def made_by(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line of origin for each commit, with the seeds of its rows."""
    commits = dict.fromkeys(row["origin"]["commit"] for row in rows)
    found = []
    for commit in commits:
        mine = [row for row in rows if row["origin"]["commit"] == commit]
        found.append(origin(mine[0]["origin"] | {"seeds": seeds_of(mine)}))
    return found


def seeds_of(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the seeds that have a row."""
    return sorted({row["seed"] for row in rows})


def line(rows: Sequence[Mapping[str, Any]], way: str) -> str:
    """Return the line of one way."""
    mine = [row for row in rows if row["way"] == way]
    done = [row for row in mine if row.get("state") == "done"]
    # General texts that the model never said tell nothing.
    said = [row for row in done if row.get("general") and row["before"]["general"] <= LEGIBLE]
    general = [row["general"] / row["before"]["general"] for row in said]
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


def paired(rows: Sequence[Mapping[str, Any]], way: str, value: str, against: str = SHIPPED) -> list[float]:
    """Return another way's value - a way's, seed by seed."""
    done = {(row["way"], row["seed"]): row for row in rows if row.get("state") == "done"}
    both = [seed for seed in seeds_of(rows) if (way, seed) in done and (against, seed) in done]
    return [done[against, seed][value] - done[way, seed][value] for seed in both]


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
    if not nearer:
        return "Whether the search beats the shipped settings is not measured yet."
    mean, low, high = around(nearer)
    fell, from_, to = around([100 * value for value in lost])
    if len(nearer) == 1:
        if nearer == lost == [0.0]:
            return "One seed: the search ended with the settings that ship with the method. One seed decides nothing."
        return (
            f"One seed: the search is {far(mean)} the retrained model than the settings that ship with the method, "
            f"with {-fell:+.1f} points of the utility kept. One seed decides nothing."
        )
    word = "beats" if low > 0 else "is beaten by" if high < 0 else "cannot be told from"
    return (
        f"In distance to the retrained model the search {word} the settings that ship with the method, over "
        f"{len(nearer)} seeds: nearer by {mean:.3f} (95 % interval {low:.3f} to {high:.3f}), with {-fell:+.1f} points "
        f"of the utility kept ({-to:+.1f} to {-from_:+.1f})."
    )


def beside(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how the search stands beside the grid with as much time, and beside the guide."""
    return " ".join(_beside(rows, way) for way in (GRID, GUIDE))


def _beside(rows: Sequence[Mapping[str, Any]], way: str) -> str:
    name = f"the {NAMES[way]}"
    mine = [row for row in rows if row["way"] == way]
    if not mine:
        return f"Beside {name} it is not measured yet."
    empty = sum(row.get("state") != "done" for row in mine)
    none = (
        f" {name[0].upper()}{name[1:]} ends without settings that work on {empty} of {len(mine)} seeds."
        if empty
        else ""
    )
    nearer = paired(rows, SEARCH, "distance", way)
    if not nearer:
        return none.strip() or f"Beside {name} it is not measured yet."
    mean, low, high = around(nearer)
    points = f"{-statistics.fmean(paired(rows, SEARCH, 'kept', way)) * 100:+.1f} points of the utility kept"
    kept = statistics.fmean(row["kept"] for row in mine if row.get("state") == "done")
    none += f" What {name} takes keeps {kept:.0%} of the utility.".replace("%", " %") if kept < HALF else ""
    if nearer == paired(rows, SEARCH, "kept", way) == [0.0]:
        return f"Beside {name}, on one seed: both end with the same settings.{none}"
    if len(nearer) == 1:
        return (
            f"Beside {name}, on one seed: the search is {far(mean)} the retrained model, with {points}.{none}"
        )
    word = "nearer" if low > 0 else "farther" if high < 0 else "no difference seen"
    return (
        f"Beside {name}, over {len(nearer)} seeds: {word}, {mean:.3f} ({low:.3f} to {high:.3f}) less distance, with "
        f"{points}.{none}"
    )


def far(nearer: float) -> str:
    """Write a difference of distances."""
    return f"{abs(nearer):.3f} {'nearer to' if nearer >= 0 else 'farther from'}"
