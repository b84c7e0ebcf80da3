"""Tests claim A5: the tuning guide (unlearn.results.guide) finds a good setting in few trials (Yao et al.
2024).
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from unlearn.claims.a2 import EPOCHS, LRS, PEOPLE, cell_of, stored
from unlearn.claims.base import (
    Answer,
    Chart,
    Claim,
    Data,
    Figure,
    Finding,
    Published,
    Series,
    all_of,
    figure,
    interval,
    most,
    number,
    spread,
)
from unlearn.compute.intervals import wilson
from unlearn.results import guide
from unlearn.results.guide import BUDGET
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab
    from unlearn.results.grid import Cell

ADVISED = "gd-id"
DRAWS = 12
# A decade in the four trials that the claim allows: the guide's rates are as far apart as those of the grid.
RATES = (1e-3, 1.78e-3, 3.16e-3, 5.62e-3)
REGRET, COLLAPSE = 0.1, 2.0


class A5(Claim):
    """The claim that the tuning guide finds a good setting in few trials."""

    key = "A5"
    title = "The tuning guide works"
    paper = "Yao et al. 2024, arXiv 2402.15159"
    url = "https://arxiv.org/abs/2402.15159"
    sentence = (
        "One epoch, a batch of a quarter of the forget set, the learning rate upwards until the target is reached: "
        "that finds settings about as good as a grid search."
    )
    experiment = (
        f"{DRAWS} draws of {PEOPLE} authors to forget. The guide is followed with GA+GD in-distribution over {BUDGET} "
        "rates a quarter of a decade apart, and compared with a grid of the same method: its own rates with one "
        f"epoch, and those of A2 with {EPOCHS}. Regret: the share of utility that the grid's best cell at reached "
        "forgetting has beyond the guide's choice; 1 where the guide takes nothing. Beside it the regret against one "
        "epoch alone, which tells what the guide's rates cost from what its single epoch does."
    )
    design = "12 draws of 4 authors; guide and grid over the same quarter decades"
    confirms = (
        f"On most draws the guide takes a cell in at most {BUDGET} trials whose regret is under 10 % and which has not "
        "collapsed (general perplexity over twice the original's): Wilson's interval of the share of such draws lies "
        "above one half."
    )
    refutes = "That interval lies below one half."
    published = (Published("the guide", {"settings": "a good cell in few trials"}, "Yi-6B"),)

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Follow the guide on each draw and return what it took, beside the best cells of the two grids."""
        seeds = list(range(DRAWS if full else 3))
        lrs = LRS if full else LRS[1:4]
        followed = []
        for seed in seeds:
            taken = guide.guide(partial(cell_at, lab, ADVISED, seed), RATES)
            once = [cell_at(lab, ADVISED, seed, lr) for lr in RATES]
            longer = [cell_of(lab, ADVISED, lr, EPOCHS, seed) for lr in lrs]
            near, far = (guide.best_of(grid, once[0].method, seed) for grid in (once, [*once, *longer]))
            followed.append(
                {
                    "method": ADVISED,
                    "seed": seed,
                    "trials": len(taken.trials),
                    "taken": taken.chosen is not None,
                    "reason": taken.reason,
                    "regret": guide.regret(taken, far),
                    "regret_once": guide.regret(taken, near),
                    "choice": stored(ADVISED, taken.chosen or taken.trials[-1]),
                    "best": stored(ADVISED, far) if far else None,
                }
            )
        return {"n": f"{len(seeds)} draws", "seeds": seeds, "followed": followed}

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the share of draws on which the guide works."""
        mine = data["followed"]
        worked = sum(map(works, mine))
        empty = [row for row in mine if not row["taken"]]
        share = wilson(worked, len(mine))
        regret = interval(row["regret"] for row in mine)
        once = interval(row["regret_once"] for row in mine)
        sentence = (
            f"The guide works on {worked} of {len(mine)} draws ({100 * share[0]:.0f} to {100 * share[1]:.0f} %): its "
            f"mean regret {_mean(mine, 'regret')}, and against one epoch alone it {_mean(mine, 'regret_once')}"
        )
        sentence += f"; on {len(empty)} it takes nothing ({empty[0]['reason']})." if empty else "."
        answer: Answer = most(worked, len(mine))
        shown = (
            Figure("share of draws on which the guide works", worked / len(mine), *share, len(mine), "draws"),
            figure("regret against the whole grid", regret, of="draws"),
            figure("regret against one epoch", once, of="draws"),
        )
        return Finding(all_of(answer), sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the regret of each draw."""
        mine = data["followed"]
        points = tuple(
            Series(told, [row["seed"] for row in mine], [100 * number(row[key]) for row in mine], tone=tone)
            for key, told, tone in (
                ("regret", "against the whole grid", "a"),
                ("regret_once", "against one epoch", "general"),
            )
        )
        title = "What following the guide costs against a grid (100 %: it takes nothing)"
        return Chart(title, "draw", "regret, %", points, kind="points", lines={"claimed": 100 * REGRET})


def _mean(rows: Sequence[JsonView], key: str) -> str:
    """Say the mean regret, or on how many draws no cell of the grid reaches the target, so that there is none."""
    none = sum(math.isnan(number(row[key])) for row in rows)
    if none:
        return f"is not defined, since no cell of the grid reaches the target on {none} of {len(rows)} draws"
    return f"is {spread(interval(row[key] for row in rows))}"


def works(row: JsonView) -> bool:
    """Return whether the guide took a cell that is nearly the grid's best, within its budget."""
    risen = row["choice"]["rise"]
    # General texts that the model never says were not asked about.
    kept = number(risen.get("general", risen.get("retain"))) <= COLLAPSE
    return bool(row["taken"]) and row["trials"] <= BUDGET and kept and number(row["regret"]) < REGRET


def cell_at(lab: "Lab", name: str, seed: int, lr: float) -> "Cell":
    """Return the guide's trial: one epoch at this learning rate."""
    return cell_of(lab, name, lr, 1, seed)
