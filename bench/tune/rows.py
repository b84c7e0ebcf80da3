"""Measures the rows: settings found in a budget, then carried out anew with another seed.

Each way finds settings on tiny-authors by the half of the rows that a search goes by. What it found is then carried
out once more, with a seed that no trial had, and scored on the other half, which took no part in the choice.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from unlearn.__main__ import parser  # noqa: E402
from unlearn.commands.options import config_of  # noqa: E402
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

MODEL, METHOD = "tiny-authors", "npo"
SEEDS = (0, 1, 2, 3, 4)
# CPU seconds of a search and of a grid: three minutes of one idle core.
SECONDS = 180.0
# The seed of the run that is reported, beside that of the search.
ANEW = 1000
SHIPPED, SEARCH, GRID, GUIDE = "shipped", "search", "grid", "guide"
WAYS = (SHIPPED, SEARCH, GUIDE, GRID)
# The grid that a person would try: rates half a decade apart around the tuned one, few epochs, two strengths.
GRID_LR = (1e-4, 3e-4, 1e-3, 3e-3, 3e-5)
GRID_EPOCHS = (5, 2, 10)
GRID_BETA = (1.0, 0.1)
GUIDE_FROM = 1e-5


def template(seed: int) -> RunConfig:
    """Return the config that `unlearn run --model tiny-authors --method npo` asks for."""
    words = ["run", "--model", MODEL, "--method", METHOD, "--seed", str(seed), "--probes", "0"]
    return config_of(parser().parse_args(words))


def wanted(ways: Sequence[str] = (), seeds: int = len(SEEDS)) -> Iterator[tuple[str, int]]:
    """Yield (way, seed) of each row, what matters most first."""
    for some in ((SHIPPED, SEARCH), (GUIDE, GRID)):
        for seed, way in product(SEEDS[:seeds], some):
            if not ways or way in ways:
                yield way, seed


def measure(store: RunStore, way: str, seed: int, seconds: float) -> dict[str, Any]:
    """Find settings in one way, carry them out with another seed, and return the row."""
    settings, trials, spent = FIND[way](store, seed, seconds)
    row = {"way": way, "seed": seed, "budget": seconds, "trials": trials, "cpu_seconds": round(spent, 1)}
    if settings is None:
        return row | {"settings": None}
    anew, models = tried(store, with_settings(template(seed + ANEW), settings))
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
        return Trial(number=number, method=METHOD, settings={}, state="diverged"), {}
    seen = halves.seen(finished, None)
    scores = {half: seen.scores("after", half) for half in (choice.CHOSEN, choice.REPORTED)}
    trial = Trial(number=number, method=METHOD, settings={}, runs=(run.id,), **scores)
    store.delete(run)
    return trial, halves.models_of(seen, -1.0)


# What a way found: settings (None where it took none), how many it tried, and the CPU seconds.
Taken = tuple[dict[str, Any] | None, int, float]


def shipped(store: RunStore, seed: int, seconds: float) -> Taken:
    """Return no settings of its own: those that ship with the method."""
    return {}, 0, 0.0


def searched(store: RunStore, seed: int, seconds: float) -> Taken:
    """Search as `unlearn tune` does, with so many CPU seconds. A search that was cut short is gone on with, and the
    seconds before the cut count.
    """
    title = f"bench seed {seed}, {seconds:g} s"
    made = next((one for one in record.searches(store) if one.meta.get("title") == title), None)
    if made is None:
        run = template(seed)
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


def gridded(store: RunStore, seed: int, seconds: float) -> Taken:
    """Try the grid's places in their order as far as the CPU seconds go, and take the best by the search's own rule."""
    run, began, found = template(seed), time.process_time(), []
    places: list[dict[str, Any]] = []
    known: dict[str, Any] = {}
    for beta, epochs, lr in product(GRID_BETA, GRID_EPOCHS, GRID_LR):
        spent = time.process_time() - began
        if places and spent * (len(places) + 1) / len(places) > seconds:
            break
        places.append({"lr": lr, "epochs": epochs, "beta": beta})
        trial, models = tried(store, with_settings(run, places[-1]), len(places) - 1)
        found.append(trial)
        known = models or known
    taken = choice.best(found, known, SearchConfig(runs=(run,), axes=(axes(run),)))
    spent = time.process_time() - began
    return (places[taken.trial.number] if taken else None), len(places), spent


def guided(store: RunStore, seed: int, seconds: float) -> Taken:
    """Follow Yao et al.'s guide. It judges by perplexity on all forget rows, as its authors do."""
    run, began = template(seed), time.process_time()
    batch = batch_of(len(from_config(dict(run.data)).fit_rows("forget")))

    def trial(lr: float) -> Cell:
        config = replace(run, lr=lr, epochs=1, batch_size=batch)
        made = store.create(config)
        with made.held():
            execute(made)
        place = {"method": METHOD, "lr": lr, "epochs": 1, "batch_size": batch, "seed": seed}
        cell = Cell(**place, state=made.state, reason=made.reason, scores=made.scores())
        store.delete(made)
        return cell

    found = guide(trial, guide_lrs(GUIDE_FROM))
    spent = time.process_time() - began
    if found.chosen is None:
        return None, len(found.trials), spent
    return {"lr": found.chosen.lr, "epochs": 1, "batch_size": batch}, len(found.trials), spent


FIND: dict[str, Callable[[RunStore, int, float], Taken]] = {
    SHIPPED: shipped,
    SEARCH: searched,
    GRID: gridded,
    GUIDE: guided,
}


def key(row: dict[str, Any]) -> tuple[str, int]:
    """Return what a row is of: way, seed."""
    return row["way"], row["seed"]
