"""Lists the worlds that ways to settings are compared on: a model with its data, a method, a budget and a grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from unlearn.__main__ import parser
from unlearn.commands.options import config_of
from unlearn.store.runs import RunConfig

SEEDS = (0, 1, 2, 3, 4)
SHIPPED, SEARCH, GRID, GUIDE = "shipped", "search", "grid", "guide"
WAYS = (SHIPPED, SEARCH, GUIDE, GRID)


@dataclass(frozen=True)
class World:
    """A model and a method whose settings are looked for.

    words: of `unlearn run` beside the model and the method. seconds: the CPU seconds of a search and of a grid. grid:
    what a person would try, {setting: values}, the first setting changing slowest. guide_from: the lowest learning
    rate of the guide.
    """

    model: str
    method: str
    seconds: float
    grid: Mapping[str, tuple[float, ...]]
    guide_from: float
    words: tuple[str, ...] = ()
    seeds: tuple[int, ...] = SEEDS

    def template(self, seed: int) -> RunConfig:
        """Return the config that `unlearn run` asks for with the settings that ship with the method."""
        words = ["run", "--model", self.model, "--method", self.method, *self.words]
        return config_of(parser().parse_args([*words, "--seed", str(seed), "--probes", "0"]))

    def places(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of each cell of the grid, in the order in which they are tried."""
        for values in product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))


# Rates half a decade apart around the tuned one, few epochs, and for the tiny model two strengths. The larger model has
# the method that the guide's authors advise, and one seed until somebody has hours: a setting takes two minutes.
WORLDS: Mapping[str, World] = {
    one.model: one
    for one in (
        World(
            "tiny-authors",
            "npo",
            180.0,
            {"beta": (1.0, 0.1), "epochs": (5, 2, 10), "lr": (1e-4, 3e-4, 1e-3, 3e-3, 3e-5)},
            1e-5,
        ),
        World(
            "smollm2-tofu",
            "gd",
            600.0,
            {"epochs": (4, 2, 8), "lr": (3e-3, 1e-3, 1e-2, 3e-4)},
            1e-3,
            words=("--data", "tofu-forget01"),
            seeds=(0,),
        ),
    )
}


# World, way and seed of a row.
Key = tuple[str, str, int]


def wanted(worlds: Sequence[str] = (), ways: Sequence[str] = (), seeds: int = len(SEEDS)) -> Iterator[Key]:
    """Yield the key of each row, world by world, what matters most first."""
    for world in WORLDS.values():
        for some in ((SHIPPED, SEARCH), (GUIDE, GRID)):
            for seed, way in product(world.seeds[:seeds], some):
                if (not worlds or world.model in worlds) and (not ways or way in ways):
                    yield world.model, way, seed


def key(row: Mapping[str, Any]) -> Key:
    """Return what a row is of."""
    return row["world"], row["way"], row["seed"]
