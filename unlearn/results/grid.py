"""Judges a grid of runs: good cells, width of the lr window, best method at equal forgetting.

A cell is one finished run's settings and scores; every function here is pure, imports no torch and no screen, so
that a page, a report and a test agree. Definitions (Yao et al. 2024, arXiv 2402.15159, in operational form):

    target    PPL of the original on approximate texts, the stand-in for a retrained model's PPL on forget
    reached   forget PPL >= 0.9 × target
    kept      retain PPL and general PPL <= 1.1 × the original's
    good      reached and kept
    utility   harmonic mean over {retain, general, neighbours} × {probability, ROUGE-L} (TOFU's, arXiv 2401.06121,
              without the truth ratio, which a run does not score by itself)

A role whose texts the original finds more perplexing than LEGIBLE (unlearn.metrics.language.collapse) is left out of
kept and of utility: it never says them, and a harmonic mean would tell of nothing else.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import mean, stdev

from unlearn.metrics.language import collapse
from unlearn.results.compare import number
from unlearn.store.shapes import JsonView

REACHED, KEPT = 0.9, 1.1
KEEP = ("retain", "general")
UTILITY_ROLES, UTILITY_PARTS = ("retain", "general", "neighbours"), ("probability", "rougeL")
# Forgetting is read from one of these scores, which lie between 0 and 1.
SHARES = ("probability", "accuracy", "exact", "rougeL")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a grid.

    scores are as in Run.scores(), state is done or failed, and tokens are those trained on.
    """

    method: str
    lr: float
    epochs: int
    batch_size: int
    seed: int
    run: str = ""
    state: str = "done"
    reason: str = ""
    seconds: float = 0.0
    tokens: int = 0
    scores: JsonView = field(default_factory=dict)

    def score(self, when: str, role: str, metric: str = "ppl") -> float:
        """Return one score of the cell. It is nan where it was not scored."""
        return number(self.scores.get(when, {}).get(role, {}).get(metric))


def target(cell: Cell) -> float:
    """Return the approximate-retrain target for the forget PPL. It is nan without approximate texts."""
    return cell.score("before", "approximate")


def truth(cell: Cell) -> float:
    """Return the PPL on forget of the exactly retrained model. It is nan where there is none."""
    return cell.score("retrained", "forget")


def reached(cell: Cell) -> bool | None:
    """Return whether the forget PPL is at least 0.9 × the target.

    It is None where there is no target. A PPL that is nan reaches nothing.
    """
    goal = target(cell)
    return None if math.isnan(goal) else cell.score("after", "forget") >= REACHED * goal


def rise(cell: Cell, role: str) -> float:
    """Return the PPL after divided by the PPL before on a role. It is nan where it was not scored."""
    return cell.score("after", role) / cell.score("before", role)


def legible(cell: Cell, roles: Sequence[str]) -> list[str]:
    """Return the roles without those whose texts the original does not say. These are all where it says none."""
    return collapse.legible({role: cell.score("before", role) for role in roles})


def keeps_language(cell: Cell) -> bool | None:
    """Return whether no role to keep has a PPL over 1.1 × the original's.

    It is None where the dataset has no such role.
    """
    known = [role for role in legible(cell, KEEP) if not math.isnan(cell.score("before", role))]
    return all(rise(cell, role) <= KEPT for role in known) if known else None


def good(cell: Cell) -> bool | None:
    """Return whether the cell reached the target and kept the rest.

    A diverged run is not good; None where the dataset lacks what the question needs.
    """
    if cell.state != "done":
        return False
    parts = reached(cell), keeps_language(cell)
    return None if None in parts else all(parts)


def why_none_good(cells: Sequence[Cell]) -> str:
    """Return a sentence on why no cell is good. It is "" where one is, and where there are no cells."""
    if not cells or any(good(cell) for cell in cells):
        return ""
    done = [cell for cell in cells if cell.state == "done"]
    if done and all(reached(cell) is None for cell in done):
        return "No cell can be called good: the data has no rows never seen (role approximate), so there is no target."
    if done and all(keeps_language(cell) is None for cell in done):
        return "No cell can be called good: the data has neither retain nor general texts."
    parts = (
        (len(cells) - len(done), "diverged or failed"),
        (
            sum(reached(cell) is False for cell in done),
            f"did not forget enough (forget PPL below {REACHED} × target)",
        ),
        (
            sum(keeps_language(cell) is False for cell in done),
            f"lost what must stay (retain or general PPL over {KEPT} × before)",
        ),
    )
    return f"No cell of {len(cells)} is good: " + ", ".join(f"{n} {why}" for n, why in parts if n) + "."


# What utility is, for who reads it on a page.
UTILITY = (
    "Utility: the harmonic mean of answer probability and ROUGE-L on retain, general and neighbours, without those "
    f"whose perplexity was above {collapse.LEGIBLE:,.0f} before: the model never says them."
)


def utility(cell: Cell, when: str = "after") -> float:
    """Return the utility that is left on everything else, from 0 to 1. It is nan for a run that diverged."""
    roles = legible(cell, UTILITY_ROLES)
    parts = [cell.score(when, role, part) for role in roles for part in UTILITY_PARTS]
    known = [value for value in parts if not math.isnan(value)]
    if not known:
        return math.nan
    return len(known) / sum(1 / value for value in known) if min(known) > 0 else 0.0


def forgetting(cell: Cell, metric: str = "probability", when: str = "after") -> float:
    """Return 1 minus the forget score: 0 means that the model knows everything, 1 that it knows nothing."""
    return 1 - cell.score(when, "forget", metric)


def mean_sd(values: Iterable[float]) -> tuple[float, float, int]:
    """Return (mean, sample standard deviation, n) of the finite values.

    The deviation is nan below two values, the mean below one.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return math.nan, math.nan, 0
    return mean(known), stdev(known) if len(known) > 1 else math.nan, len(known)


# -- over seeds --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """One place of the grid with the cells of all its seeds."""

    method: str
    lr: float
    epochs: int
    batch_size: int
    cells: tuple[Cell, ...]

    @property
    def good(self) -> int:
        """Return how many of its seeds are good."""
        return sum(good(cell) is True for cell in self.cells)

    @property
    def runs(self) -> str:
        """Return the ids of its runs, with commas between them."""
        return ",".join(cell.run for cell in self.cells)

    def words(self) -> str:
        """Return where it is and how many of its seeds are good, "lr 0.001, 5 epochs, batch 8: good 2 of 3"."""
        where = f"lr {self.lr:g}, {passes(self.epochs)}, batch {self.batch_size}"
        return f"{where}: good {self.good} of {len(self.cells)}"

    def utility(self) -> tuple[float, float, int]:
        """Return (mean, standard deviation, n) of the utility over its seeds."""
        return mean_sd(utility(cell) for cell in self.cells)

    def forgetting(self, metric: str = "probability") -> tuple[float, float, int]:
        """Return (mean, standard deviation, n) of the forgetting over its seeds."""
        return mean_sd(forgetting(cell, metric) for cell in self.cells)


def passes(epochs: int) -> str:
    """Return "1 epoch" or "5 epochs"."""
    return f"{epochs} epoch{'s' * (epochs != 1)}"


def settings(cells: Sequence[Cell]) -> list[Setting]:
    """Return the cells grouped over seeds, in order of first appearance."""
    found: dict[tuple[str, float, int, int], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.method, cell.lr, cell.epochs, cell.batch_size), []).append(cell)
    return [Setting(*place, tuple(mine)) for place, mine in found.items()]


@dataclass(frozen=True)
class Window:
    """The widest run of neighbouring learning rates at which a method is good with every seed."""

    method: str
    decades: float
    low: float
    high: float
    epochs: int
    batch_size: int
    good: int
    cells: int


def lr_window(cells: Sequence[Cell]) -> list[Window]:
    """Return for each method its widest window at fixed epochs and batch, and how many of its cells are good.

    A learning rate stands for the stretch half-way (in log10) to its neighbours on the grid, and as far outwards at
    the ends; so one good rate on a grid of half decades is a window of half a decade. A grid of one rate has no
    width.
    """
    grouped, found = settings(cells), []
    for method in dict.fromkeys(s.method for s in grouped):
        mine = [s for s in grouped if s.method == method]
        best = (0.0, math.nan, math.nan, 0, 0)
        for epochs, batch in dict.fromkeys((s.epochs, s.batch_size) for s in mine):
            row = sorted((s for s in mine if (s.epochs, s.batch_size) == (epochs, batch)), key=lambda s: s.lr)
            for low, high, width in _runs([s.lr for s in row], [s.good == len(s.cells) for s in row]):
                best = max(
                    best, (width, low, high, epochs, batch), key=lambda b: (b[0], not math.isnan(b[1]))
                )
        own = [cell for cell in cells if cell.method == method]
        found.append(Window(method, *best, sum(good(c) is True for c in own), len(own)))
    return found


def _runs(lrs: Sequence[float], marks: Sequence[bool]) -> list[tuple[float, float, float]]:
    """(lowest, highest, decades) of each stretch of neighbouring marked rates."""
    logs = [math.log10(lr) for lr in lrs]
    gaps = [b - a for a, b in pairwise(logs)] or [0.0]
    edges = [logs[0] - gaps[0] / 2, *((a + b) / 2 for a, b in pairwise(logs))]
    edges.append(logs[-1] + gaps[-1] / 2)
    found, first = [], None
    for i, marked in enumerate([*marks, False]):
        if marked and first is None:
            first = i
        elif not marked and first is not None:
            found.append((lrs[first], lrs[i - 1], edges[i] - edges[first]))
            first = None
    return found


# -- one against the other ---------------------------------------------------------------------------------------


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other point dominates, where higher is better.

    A point dominates when it is at least as high in both coordinates and higher in one.
    """

    def beaten(x: float, y: float) -> bool:
        return any(a >= x and b >= y and (a > x or b > y) for a, b in points)

    return [i for i, (x, y) in enumerate(points) if math.isfinite(x + y) and not beaten(x, y)]


@dataclass(frozen=True)
class Matched:
    """The best setting of a method among the n settings whose mean forgetting lies at the chosen level."""

    method: str
    n: int
    best: Setting | None


def matched(
    cells: Sequence[Cell], level: float, tolerance: float, metric: str = "probability"
) -> list[Matched]:
    """Compare methods where they forget equally: return for each its setting of most utility within level ±
    tolerance.

    Forgetting and utility are means over seeds, and a setting with a diverged seed does not count: one cannot
    choose a setting for its lucky seeds. best is None where a method has no setting there.
    """
    grouped, found = settings(cells), []
    for method in dict.fromkeys(s.method for s in grouped):
        whole = [s for s in grouped if s.method == method and all(c.state == "done" for c in s.cells)]
        mine = [s for s in whole if abs(s.forgetting(metric)[0] - level) <= tolerance + 1e-12]
        found.append(Matched(method, len(mine), max(mine, key=lambda s: s.utility()[0], default=None)))
    return found


def level_of(cells: Sequence[Cell], metric: str = "probability") -> tuple[float, str]:
    """Return (the forgetting of a model that never knew, whose it is).

    It is the retrained model's, or else the original's on approximate texts.
    """
    places = (
        ("retrained", "forget", "the retrained model"),
        ("before", "approximate", "the original on rows never seen"),
    )
    for cell in cells:
        for when, role, name in places:
            value = cell.score(when, role, metric)
            if math.isfinite(value):
                return 1 - value, name
    return math.nan, ""
