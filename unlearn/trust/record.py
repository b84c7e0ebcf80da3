"""Makes the models one after the other, and writes a row of scores as soon as a model has been read.

    {"header", "titles": {metric: its title}, "rows": [{"name", "part", "world", "seconds", "scores" …}, …]}

What has a row is not made again, so the command may be cut and begun anew. A row that failed is tried again.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

from unlearn.attacks import ATTACKS
from unlearn.metrics import METRICS
from unlearn.results.trust import FORMAT, POOL, ROBUSTNESS
from unlearn.store.disk import read_json, write_json
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.trust import robust
from unlearn.trust.pool import Member, make, members, own_rows
from unlearn.trust.scoring import READING, known, scores
from unlearn.trust.world import World

# After so many models of the pool comes one trial of robustness, so that a record that is cut short holds both.
PACE = 3
DIGITS = 5


def tasks() -> Iterator[Member | robust.Trial]:
    """Return everything that there is to make, in its order."""
    pool = list(members())
    parts = [pool[i : i + PACE] for i in range(0, len(pool), PACE)]
    for some, trial in zip_longest(parts, robust.trials(), fillvalue=None):
        yield from some or ()
        if trial is not None:
            yield trial


def part_of(task: Member | robust.Trial) -> str:
    """Return the part of the record that a task belongs to."""
    return POOL if isinstance(task, Member) else ROBUSTNESS


def rows_of(path: Path) -> list[JsonObject]:
    """Return the rows of the record at this path. There are none where nothing can be read there."""
    found = read_json(path).get("rows", [])
    return found if isinstance(found, list) else []


def keep(path: Path, header: JsonView, new: Sequence[JsonObject]) -> list[JsonObject]:
    """Write these rows into the record at this path, each in the place of one that failed before, and return those that
    it did not have.
    """
    rows = rows_of(path)
    fresh = [row for row in new if row not in rows]
    if fresh:
        replaced = {(row["part"], row["name"]) for row in fresh}
        rows = [old for old in rows if (old["part"], old["name"]) not in replaced] + fresh
        write_json(path, {"header": dict(header), "format": FORMAT, "titles": titles(), "rows": rows})
    return fresh


def missing(rows: Sequence[JsonView]) -> list[Member | robust.Trial]:
    """Return the tasks that have no row with scores yet."""
    done = {(row["part"], row["name"]) for row in rows if not row.get("failed")}
    return [task for task in tasks() if (part_of(task), task.name) not in done]


def carry_out(
    path: Path,
    header: JsonView,
    *,
    most: int | None = None,
    names: Collection[str] | None = None,
    say: Callable[[JsonView], None] = lambda row: None,
    clock: Callable[[], float] = time.process_time,
) -> int:
    """Make what is missing in the record at this path, at most so many models, and return how many rows were written.

    names: of the models that count; all by default. say is called with each row once it is on the disk.
    """
    worlds: dict[int, World] = {}
    todo = [task for task in missing(rows_of(path)) if names is None or task.name in names][:most]
    with TemporaryDirectory(prefix="unlearn-trust-") as folder:
        for task in todo:
            world = worlds.setdefault(task.world, World(task.world))
            # What belongs to the world is not the price of one of its models.
            world.full, world.retrained  # noqa: B018
            began = clock()
            found = one(world, task, Path(folder))
            row = {"name": task.name, "part": part_of(task), "world": task.world, "commit": header["commit"]}
            row |= rounded(found) | {"seconds": round(clock() - began, 2), "revisions": revisions()}
            keep(path, header, [row])
            say(row)
    return len(todo)


def one(world: World, task: Member | robust.Trial, folder: Path) -> JsonObject:
    """Make one model and return its row's own part. What goes wrong becomes the reason of a failed row."""
    try:
        if isinstance(task, robust.Trial):
            return {"method": task.method} | robust.measure(world, task, folder)
        model = make(world, task)
        own = own_rows(world, task.kind)
        return {
            "kind": task.kind,
            "holds": task.holds,
            "lr": task.lr,
            "epochs": task.epochs,
            "seed": task.seed,
            "learnt": known(model, own) if own else None,
            "scores": scores(world, task.name, model, folder),
        }
    except (ValueError, RuntimeError) as error:
        return {"failed": f"{type(error).__name__}: {error}"[:200]}


def revisions() -> dict[str, int]:
    """Return {metric: its revision} for those whose definition has changed since they were first made."""
    return {name: metric.revision for name, metric in METRICS.items() if metric.revision > 1}


def titles() -> dict[str, str]:
    """Return the title of everything that scores() may name."""
    found = {name: metric.title for name, metric in METRICS.items()}
    found |= {f"aggregate {part}": f"Aggregate: {part}" for part in ("memory", "privacy")}
    return found | {f"attack {name}": f"{ATTACKS[name].title} (attack)" for name in READING}


def rounded(value: JsonObject) -> JsonObject:
    """Return the same with DIGITS significant digits in each number, as a record needs no more."""

    def short(one: object) -> object:
        if isinstance(one, dict):
            return {key: short(inner) for key, inner in one.items()}
        return float(f"{one:.{DIGITS}g}") if isinstance(one, float) and math.isfinite(one) else one

    return {key: short(one) for key, one in value.items()}
