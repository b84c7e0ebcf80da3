"""Lists what is compared: the worlds, the methods in two groups, and the few settings that are tried of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearn.__main__ import parser
from unlearn.commands.options import config_of
from unlearn.results.robust import PLAIN, REFUSING, ROBUST
from unlearn.results.search.space import setting, varied, with_settings
from unlearn.store.runs import Run, RunConfig
from unlearn.work.after import config_after

WORLDS = ("tiny-authors", "tiny-snippets")
# Minutes a run on two cores; only where it is asked for.
LARGER = "smollm2-tofu"
DATA = {LARGER: "tofu-forget01"}
SEEDS = (0, 1, 2, 3, 4)
# The seed of the runs that settings are chosen by.
TUNING = 1000
# Of each method one number is tried: its shipped value, and a half and twice of it.
FACTORS = (1.0, 0.5, 2.0)
# UNDO at its shipped share costs more utility than the others, so that smaller shares are tried.
SMALLER = (1.0, 0.5, 0.25)
# Settings must keep this share of the utility, where any does.
KEPT = 0.85


@dataclass(frozen=True)
class Way:
    """One of the compared methods. words: of `unlearn run`. dial: the setting that is tried, at `factors` times its
    shipped value. after: the way whose run it goes on from. only: the worlds where it is measured, all by default.
    """

    name: str
    title: str
    group: str
    words: tuple[str, ...]
    dial: str = "lr"
    after: str = ""
    only: tuple[str, ...] = ()
    factors: tuple[float, ...] = FACTORS


WAYS: Mapping[str, Way] = {
    one.name: one
    for one in (
        Way("gd", "GA+GD", PLAIN, ("--method", "gd")),
        Way("npo", "NPO", PLAIN, ("--method", "npo")),
        Way("simnpo", "SimNPO", PLAIN, ("--method", "simnpo")),
        Way("undial", "UnDIAL", PLAIN, ("--method", "undial")),
        Way("altpo", "AltPO", ROBUST, ("--method", "altpo")),
        Way("repselect", "RepSelect", ROBUST, ("--method", "repselect"), dial="kl_budget"),
        Way("sam", "SAM with NPO", ROBUST, ("--method", "npo", "--sam", "0.01")),
        Way("undo", "UNDO after NPO", ROBUST, (), dial="share", after="npo", factors=SMALLER),
        Way(
            "idkdpo",
            "IdkDPO",
            REFUSING,
            ("--method", "idkdpo"),
            only=("tiny-authors", LARGER),
        ),
    )
}


@dataclass(frozen=True)
class Place:
    """What one row is of. kind: "try" (with a factor) or "run" (with a seed)."""

    kind: str
    world: str
    way: str
    factor: float = 1.0
    seed: int = TUNING

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what tells the row from all others."""
        return self.kind, self.world, self.way, self.factor if self.kind == "try" else self.seed


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the key of a recorded row."""
    return row["kind"], row["world"], row["way"], row["factor"] if row["kind"] == "try" else row["seed"]


def wanted(
    worlds: Sequence[str] = WORLDS,
    ways: Sequence[str] = (),
    seeds: int = len(SEEDS),
    *,
    shipped: bool = False,
) -> Iterator[Place]:
    """Yield every row: world by world what is tried, then seed by seed what is reported.

    shipped: nothing is tried, since the settings that ship are taken.
    """
    for world in worlds:
        mine = [one for one in WAYS.values() if not one.only or world in one.only]
        mine = [one for one in mine if not ways or one.name in ways]
        for way in () if shipped else mine:
            yield from (Place("try", world, way.name, factor) for factor in way.factors)
        for seed in SEEDS[:seeds]:
            yield from (Place("run", world, way.name, seed=seed) for way in mine)


def config_for(world: str, way: Way, factor: float, seed: int, start: Run | None = None) -> RunConfig:
    """Return the config of a run: that of `unlearn run`, with its dial at `factor` times the shipped value."""
    if start is not None:
        first = config_after(start, said={"seed": seed})
    else:
        words = ["run", "--model", world, *way.words, "--seed", str(seed), "--probes", "0"]
        words += ["--data", DATA[world]] if world in DATA else []
        first = config_of(parser().parse_args(words))
    return with_settings(first, {way.dial: value_of(first, way.dial, factor)})


def value_of(config: RunConfig, dial: str, factor: float) -> float:
    """Return the value that is tried of a setting, inside its range."""
    knob = varied(config)[dial]
    value = factor * float(str(setting(config, dial)))
    return min(float(knob.high or value), max(float(knob.low or 0.0), value))


def chosen(rows: Sequence[Mapping[str, Any]], world: str, way: str) -> float | None:
    """Return the factor that a search would take by the rows it goes by, or None where no try has ended.

    Among those that keep enough it is the nearest to the retrained model; where none does, the one that keeps most.
    """
    tries = [
        row
        for row in rows
        if (row["kind"], row["world"], row["way"]) == ("try", world, way) and "kept" in row
    ]
    best = min(
        tries, key=lambda row: (max(0.0, KEPT - row["kept"]), row["distance"], -row["kept"]), default=None
    )
    return None if best is None else float(best["factor"])
