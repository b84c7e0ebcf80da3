"""Tests claim A5: the tuning guide (unlearn.results.guide) finds a good setting in few trials (Yao et al.
2024).
"""

from functools import partial
from typing import TYPE_CHECKING

from unlearn.claims.a2 import BATCH, EPOCHS, LRS, NAMES, cell_of, config_of, stored
from unlearn.claims.base import (
    LEAST,
    Chart,
    Claim,
    Data,
    Figure,
    Finding,
    Published,
    Series,
    figure,
    interval,
    number,
    spread,
    word,
)
from unlearn.results import guide
from unlearn.results.guide import BUDGET
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab
    from unlearn.results.grid import Cell

ADVISED = "gd-id"
FOLLOWED = ("gd-id", "gd-general", "kl-id", "ga")
LOWEST = 1e-4
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
        f"Two requests (36 texts). The guide is followed from learning rate {LOWEST:g} upwards, half a decade a "
        "trial, and compared with the "
        f"grid of A2 ({len(LRS)} rates × {EPOCHS[0]} and {EPOCHS[1]} epochs). Regret: the share of utility that the "
        "grid's best cell at reached forgetting has beyond the guide's choice; 1 where the guide takes nothing."
    )
    confirms = (
        f"For the method that the guide recommends, GA+GD in-distribution, the interval of the regret lies below 10 % "
        f"and no seed needed more than {BUDGET} trials."
    )
    refutes = (
        "It picks a collapsed cell (general perplexity over twice the original's), or the interval of its regret lies "
        "above 10 %."
    )
    published = (Published("the guide", {"settings": "a good cell in few trials"}, "Yi-6B"),)

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Follow the guide with each method and seed and return what it took, beside the grid's best cell."""
        seeds = [0, 1, 2]
        names = FOLLOWED if full else (ADVISED,)
        lrs, epochs = (LRS, EPOCHS) if full else (LRS[1:], (3,))
        assert (
            guide.batch_of(len(lab.authors_of(config_of(ADVISED, LRS[0], 1, 0)).fit_rows("forget"))) == BATCH
        )
        followed = []
        for seed in seeds:
            for name in names:
                taken = guide.guide(partial(cell_at, lab, name, seed), guide.guide_lrs(LOWEST))
                grid = [cell_of(lab, name, lr, count, seed) for count in epochs for lr in lrs]
                best = guide.best_of(grid, config_of(name, lrs[0], 1, seed).method, seed)
                chosen = taken.chosen or taken.trials[-1]
                followed.append(
                    {
                        "method": name,
                        "seed": seed,
                        "trials": len(taken.trials),
                        "taken": taken.chosen is not None,
                        "reason": taken.reason,
                        "regret": guide.regret(taken, best),
                        "choice": stored(name, chosen),
                        "best": stored(name, best) if best else None,
                    }
                )
        return {"n": f"{len(names)} methods × {len(seeds)} seeds", "seeds": seeds, "followed": followed}

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the regret and the number of trials."""
        mine = [row for row in data["followed"] if row["method"] == ADVISED]
        regret = interval(row["regret"] for row in mine)
        trials = max(row["trials"] for row in mine)
        collapsed = [r for r in mine if r["taken"] and not number(r["choice"]["rise"]["general"]) <= COLLAPSE]
        empty = [row for row in mine if not row["taken"]]
        told = (
            spread(regret)
            if regret.n and regret.mean == regret.mean
            else "not known for every seed (the grid never arrived)"
        )
        sentence = f"For GA+GD in-distribution the regret is {told} after {trials} trials at most"
        sentence += (
            f"; with {len(empty)} of {len(mine)} seeds it takes nothing ({empty[0]['reason']})"
            if empty
            else ""
        )
        others = [
            f"{NAMES[n]} {spread(found)}" for n, found in regrets(data).items() if n != ADVISED and found.n
        ]
        sentence += f". Others: {'; '.join(others)}." if others else "."
        confirmed = regret.below(REGRET) and trials <= BUDGET and not collapsed
        shown: tuple[Figure, ...] = (figure("regret, GA+GD in-distribution", regret),)
        shown += tuple(
            figure(f"regret, {NAMES[n]}", f) for n, f in regrets(data).items() if n != ADVISED and f.n
        )
        return Finding(
            word(confirmed, (bool(collapsed) and regret.n >= LEAST) or regret.above(REGRET)), sentence, shown
        )

    def chart(self, data: Data) -> Chart:
        """Return a chart of the regret of each method."""
        found = {name: f for name, f in regrets(data).items() if f.n}
        bars = tuple(
            Series(
                NAMES[n],
                [NAMES[n]],
                [100 * f.mean],
                [100 * f.low],
                [100 * f.high],
                "a" if n == ADVISED else "general",
            )
            for n, f in found.items()
        )
        title = "What following the guide costs against the whole grid (100 %: it takes nothing)"
        return Chart(title, "", "regret, %", bars, kind="bar", lines={"claimed": 100 * REGRET})


def cell_at(lab: "Lab", name: str, seed: int, lr: float) -> "Cell":
    """Return the guide's trial: one epoch at this learning rate."""
    return cell_of(lab, name, lr, 1, seed)


def regrets(data: Data) -> JsonObject:
    """Return {method: regret over seeds}, of those seeds where the grid has a cell that reached the target."""
    found: dict[str, list[float | str]] = {}
    for row in data["followed"]:
        if row["best"] is not None:
            found.setdefault(row["method"], []).append(row["regret"])
    return {name: interval(values) for name, values in found.items()}
