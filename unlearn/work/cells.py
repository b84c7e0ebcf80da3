"""Chooses what a sweep of attacks tries next: the first setting in order that is not done and fits into the time left.

What a setting takes is forecast from what was measured on this run: the seconds of the settings that are done, of its
own family where there are any, for as many readings as it needs. Nothing is known before the first one, which is tried.
"""

import math
from collections.abc import Mapping, Sequence
from time import monotonic

from unlearn.attacks import CELLS
from unlearn.attacks.base import Cell
from unlearn.store.shapes import JsonObject, JsonView

MINUTES = 10.0
# A week; who needs more starts it again, and it goes on where it ended.
MOST_MINUTES = 10_080


class OutOfTime(Exception):
    """Signals that the time of a sweep is used up."""


class Clock:
    """The time of a sweep, in seconds since it began."""

    def __init__(self, minutes: float) -> None:
        self.began, self.limit = monotonic(), 60 * minutes

    @property
    def spent(self) -> float:
        """Return the seconds since the beginning."""
        return monotonic() - self.began

    @property
    def left(self) -> float:
        """Return the seconds until the end."""
        return self.limit - self.spent

    def check(self) -> None:
        """Raise OutOfTime when the time is used up."""
        if self.left < 0:
            raise OutOfTime


def good_minutes(minutes: object) -> float:
    """Return the minutes where they are valid, or else raise a ValueError that says what they must be."""
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= MOST_MINUTES:
        raise ValueError(f"attack: minutes must be above 0 and at most {MOST_MINUTES}, got {minutes!r}.")
    return float(minutes)


def chosen_cells(names: Sequence[str] | None) -> list[Cell]:
    """Return the settings whose name begins with one of these, in the order of the sweep. ValueError where a name
    begins none.
    """
    for name in names or ():
        if not any(cell.attack.name.startswith(name) for cell in CELLS):
            known = ", ".join(dict.fromkeys(cell.attack.name.partition("-")[0] for cell in CELLS))
            raise ValueError(f"attack: a sweep has {known}, got {name!r}.")
    return [cell for cell in CELLS if not names or cell.attack.name.startswith(tuple(names))]


def entries(record: JsonView) -> dict[str, JsonObject]:
    """Return all entries of attacks.json by name: single attacks and swept settings."""
    return {**record.get("attacks", {}), **record.get("sweep", {})}


def forecast(cell: Cell, known: Mapping[str, JsonView]) -> float | None:
    """Return the seconds that a cell will take, or None where nothing was measured yet."""
    done = [
        (one.family == cell.family, float(known[one.attack.name].get("seconds", 0.0)), one.cost)
        for one in CELLS
        if one.attack.name in known and not known[one.attack.name]["reason"]
    ]
    mine = [found for found in done if found[0]] or done
    if not mine:
        return None
    return cell.cost * math.fsum(seconds for _, seconds, _ in mine) / math.fsum(cost for *_, cost in mine)


def fitting(cells: Sequence[Cell], known: Mapping[str, JsonView], seconds: float) -> Cell | None:
    """Return the first cell that is not done and fits into so many seconds, or None."""
    for cell in cells:
        if cell.attack.name not in known:
            needed = forecast(cell, known)
            if needed is None or needed <= seconds:
                return cell
    return None


def standing(cells: Sequence[Cell], record: JsonView) -> JsonObject:
    """Return how far the sweep is: {"of", "done", "next": what comes next, "next_minutes": what that needs}."""
    known = entries(record)
    left = [cell for cell in cells if cell.attack.name not in known]
    found: JsonObject = {"of": len(cells), "done": len(cells) - len(left)}
    if left:
        needed = forecast(left[0], known)
        found |= {"next": left[0].attack.title, "next_minutes": None if needed is None else needed / 60}
    return found
