"""Measures the rows: settings found in a budget, then carried out anew with another seed.

Each way finds settings by the half of the rows that a search goes by. What it found is then carried out once more, with
a seed that no trial had, and scored on the other half, which took no part in the choice.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.tune.worlds import GRID, GUIDE, SEARCH, SHIPPED, World  # noqa: E402
from unlearn.data.catalogue import from_config  # noqa: E402
from unlearn.results.grid import Cell  # noqa: E402
from unlearn.results.guide import batch_of, guide, guide_lrs  # noqa: E402
from unlearn.results.search import choice, record  # noqa: E402
from unlearn.results.search.record import SearchConfig, Trial  # noqa: E402
from unlearn.results.search.space import axes, with_settings  # noqa: E402
from unlearn.store.runs import RunConfig, RunStore  # noqa: E402
from unlearn.work import search  # noqa: E402
from unlearn.work.execute import execute  # noqa: E402
from unlearn.work.search import halves  # noqa: E402

# The seed of the run that is reported, beside that of the search.
ANEW = 1000


def measure(store: RunStore, world: World, way: str, seed: int, seconds: float) -> dict[str, Any]:
    """Find settings in one way, carry them out with another seed, and return the row."""
    settings, trials, spent = FIND[way](store, world, seed, seconds)
    row = {"world": world.model, "method": world.method, "way": way, "seed": seed}
    row |= {"budget": seconds, "trials": trials, "cpu_seconds": round(spent, 1)}
    if settings is None:
        return row | {"settings": None}
    anew, models = tried(store, with_settings(world.template(seed + ANEW), settings))
    if anew.state != "done":
        return row | {"settings": settings, "state": anew.state}
    reported = choice.judge(anew, models, choice.REPORTED)
    return row | {
        "settings": settings,
        "state": "done",
        "distance": reported.distance,
        "kept": reported.kept,
        **{name: anew.reported.get(name) for name in ("forget", "right", "general", "n")},
        "target": models["reported"]["target"],
        "before": models["reported"]["before"],
        "retrained": models["reported"].get("retrained"),
    }


def tried(store: RunStore, config: RunConfig, number: int = 0) -> tuple[Trial, dict[str, Any]]:
    """Carry out one run, and return it as a trial beside what the search's record would know of the models."""
    run = store.create(config)
    with run.held():
        finished = execute(run)
    if finished is None:
        return Trial(number=number, method=config.method, settings={}, state="diverged"), {}
    seen = halves.seen(finished, None)
    scores = {half: seen.scores("after", half) for half in (choice.CHOSEN, choice.REPORTED)}
    trial = Trial(number=number, method=config.method, settings={}, runs=(run.id,), **scores)
    store.delete(run)
    return trial, halves.models_of(seen, -1.0)


@dataclass
class Cells:
    """What each cell of a grid, or each trial of the guide, gave and cost. It outlives a bench that was cut short."""

    path: Path
    told: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read what an earlier bench left. A line that was cut short is measured again."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        for line in lines:
            try:
                self.told.append(json.loads(line))
            except ValueError:
                break

    def carried(self, place: dict[str, Any], carry: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what a place gave: as it was told before, else by carrying it out."""
        for one in self.told:
            if one["place"] == place:
                return dict(one["found"])
        began = time.process_time()
        found = json.loads(json.dumps(carry()))
        seconds = round(time.process_time() - began, 3)
        self.told.append({"place": place, "found": found, "cpu_seconds": seconds})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(json.dumps(one) + "\n" for one in self.told), encoding="utf-8")
        return dict(found)

    def spent(self, places: int) -> float:
        """Return the CPU seconds of the first places."""
        return math.fsum(one["cpu_seconds"] for one in self.told[:places])


def cells_of(store: RunStore, world: World, way: str, seed: int) -> Cells:
    """Return the cells of one way and seed, beside the runs of the store."""
    return Cells(store.root / "cells" / f"{world.model}-{way}-{seed}.jsonl")


# What a way found: settings (None where it took none), how many it tried, and the CPU seconds.
Taken = tuple[dict[str, Any] | None, int, float]


def shipped(store: RunStore, world: World, seed: int, seconds: float) -> Taken:
    """Return no settings of its own: those that ship with the method."""
    return {}, 0, 0.0


def searched(store: RunStore, world: World, seed: int, seconds: float) -> Taken:
    """Search as `unlearn tune` does, with so many CPU seconds. A search that was cut short is gone on with, and the
    seconds before the cut count.
    """
    title = f"bench {world.model} seed {seed}, {seconds:g} s"
    made = next((one for one in record.searches(store) if one.meta.get("title") == title), None)
    if made is None:
        run = world.template(seed)
        config = SearchConfig(runs=(run,), axes=(axes(run),), trials=1, seeds=(seed,))
        made = record.create(config, store, title=title)
    while True:
        # One trial at a time, since the search itself counts the seconds of the clock.
        spent = math.fsum(event["seconds"] for event in made.events("cpu"))
        count = len(made.trials())
        if count and spent * (count + 1) / count > seconds:
            break
        if made.state == "done":
            record.ask_more(made, 1, 0.0)
        began = time.process_time()
        with made.held():
            search.perform(made)
        made.append("cpu", seconds=round(time.process_time() - began, 3))
        if made.state != "done":
            raise RuntimeError(f"{made.path}: {made.state} ({made.reason})")
    taken = choice.best(made.trials(), made.models(), made.config)
    return (dict(taken.trial.settings) if taken else None), count, spent


def gridded(store: RunStore, world: World, seed: int, seconds: float) -> Taken:
    """Try the grid's places in their order as far as the CPU seconds go, and take the best by the search's own rule."""
    run, cells = world.template(seed), cells_of(store, world, GRID, seed)
    places: list[dict[str, Any]] = []
    found: list[Trial] = []
    known: dict[str, Any] = {}
    for place in world.places():
        spent = cells.spent(len(places))
        if places and spent * (len(places) + 1) / len(places) > seconds:
            break
        places.append(place)
        told = cells.carried(place, lambda place=place: cell_of_grid(store, with_settings(run, place)))
        found.append(Trial(number=len(found), method=run.method, settings={}, **told["trial"]))
        known = told["models"] or known
    taken = choice.best(found, known, SearchConfig(runs=(run,), axes=(axes(run),)))
    return (places[taken.trial.number] if taken else None), len(places), cells.spent(len(places))


def cell_of_grid(store: RunStore, config: RunConfig) -> dict[str, Any]:
    """Return what one cell of the grid gave, as JSON values."""
    trial, models = tried(store, config)
    told = {"state": trial.state, choice.CHOSEN: trial.chosen, choice.REPORTED: trial.reported}
    return {"trial": told, "models": models}


def guided(store: RunStore, world: World, seed: int, seconds: float) -> Taken:
    """Follow Yao et al.'s guide. It judges by perplexity on all forget rows, as its authors do, and ends by itself."""
    run, cells = world.template(seed), cells_of(store, world, GUIDE, seed)
    batch = batch_of(len(from_config(dict(run.data)).fit_rows("forget")))

    def trial(lr: float) -> Cell:
        config = replace(run, lr=lr, epochs=1, batch_size=batch)
        place = {"lr": lr, "epochs": 1, "batch_size": batch}
        return Cell(**cells.carried(place, lambda: cell_of_guide(store, config)))

    found = guide(trial, guide_lrs(world.guide_from))
    count = len(found.trials)
    if found.chosen is None:
        return None, count, cells.spent(count)
    return {"lr": found.chosen.lr, "epochs": 1, "batch_size": batch}, count, cells.spent(count)


def cell_of_guide(store: RunStore, config: RunConfig) -> dict[str, Any]:
    """Return what one trial of the guide gave, as JSON values."""
    made = store.create(config)
    with made.held():
        execute(made)
    place = {name: getattr(config, name) for name in ("method", "lr", "epochs", "batch_size", "seed")}
    cell = Cell(**place, state=made.state, reason=made.reason, scores=made.scores())
    store.delete(made)
    return asdict(cell)


FIND: dict[str, Callable[[RunStore, World, int, float], Taken]] = {
    SHIPPED: shipped,
    SEARCH: searched,
    GRID: gridded,
    GUIDE: guided,
}
