"""Follows the tuning guide step by step, and measures its regret beside a whole grid.

From Yao et al. 2024 (arXiv 2402.15159), as steps that leave nothing to taste:

    one epoch, batch ≈ |F| / 4; the learning rate upwards on a log scale, half a decade a trial;
    take the first whose forget PPL reaches the target; reject it if general PPL rose over 10 %.

Its regret is measured against a grid of the same method and seed:

    regret = (U* - U) / U*,   U* = the highest utility of a grid cell that reached the target,
    U = the utility of what the guide took, 0 when it took nothing.

So a regret of 0 means that the grid found nothing better at reached forgetting; below 0, the guide beat the grid.
"reached" is the good cell's 0.9 × target (unlearn.results.grid). Pure functions: trials are made by whoever calls.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from unlearn.results.compare import rounded
from unlearn.results.grid import KEPT, Cell, reached, rise, utility

FACTOR = math.sqrt(10)
# The number of trials that the guide's claim allows.
BUDGET = 4
# The number of trials after which the guide gives up.
MOST = 8
# The highest learning rate that is tried.
HIGHEST = 1.0


@dataclass(frozen=True)
class Guided:
    """The outcome of following the guide. chosen is the cell that was taken, or None with the reason."""

    chosen: Cell | None
    trials: tuple[Cell, ...]
    reason: str


def batch_of(forget: int) -> int:
    """Return the batch size of the guide: |F| / 4, at least one text."""
    return max(1, round(forget / 4))


def guide_lrs(lowest: float) -> list[float]:
    """Return the learning rates of the trials: from the lowest upwards, half a decade apart, rounded to three
    digits as a person would type them.
    """
    rates = (float(f"{lowest * FACTOR**i:.3g}") for i in range(MOST))
    return [rate for rate in rates if rate <= HIGHEST]


def guide(trial: Callable[[float], Cell], lrs: Iterable[float]) -> Guided:
    """Try the learning rates upwards and stop as soon as one is taken or rejected.

    ValueError where there is no target to reach.
    """
    trials: list[Cell] = []
    for lr in lrs:
        cell = trial(lr)
        trials.append(cell)
        if cell.state != "done":
            return Guided(None, tuple(trials), f"training diverged at lr {lr:g}; a higher one cannot help")
        arrived = reached(cell)
        if arrived is None:
            raise ValueError(
                "guide: the dataset has no rows never seen (role approximate), so there is no target."
            )
        if arrived:
            return _judged(cell, tuple(trials))
    return Guided(None, tuple(trials), f"forget PPL did not reach the target in {len(trials)} trials")


def _judged(cell: Cell, trials: tuple[Cell, ...]) -> Guided:
    rose = rise(cell, "general")
    if rose > KEPT:
        said = f"rejected: at lr {cell.lr:g}, the first to reach the target, general PPL rose to {rounded(rose)} times"
        return Guided(None, trials, f"{said} the original's")
    return Guided(cell, trials, f"lr {cell.lr:g} is the first to reach the target")


def best_of(cells: Sequence[Cell], method: str, seed: int) -> Cell | None:
    """Return the grid's cell of highest utility among those of this method and seed that reached the target."""
    there = [c for c in cells if (c.method, c.seed, c.state) == (method, seed, "done") and reached(c)]
    return max((c for c in there if math.isfinite(utility(c))), key=utility, default=None)


def regret(guided: Guided, best: Cell | None) -> float:
    """Return the regret (U* - U) / U*. It is nan where no grid cell reached the target or its utility is 0."""
    most = utility(best) if best else math.nan
    mine = utility(guided.chosen) if guided.chosen else 0.0
    return (most - mine) / most if most > 0 else math.nan
