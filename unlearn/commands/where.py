"""Declares the options that say where records are carried out, and opens the engine that they name."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from unlearn.commands.options import EVERYWHERE, add_setting, flag_of
from unlearn.commands.printing import progress_bar
from unlearn.compute import threads
from unlearn.engines.elsewhere import follow, opened
from unlearn.engines.place import Place
from unlearn.engines.remote import Remote
from unlearn.store.engine import Engine, Perform
from unlearn.store.runs import Record, RunStore


def add(p: argparse.ArgumentParser) -> None:
    """Add --on and the options that go with it."""
    for k in Place.knobs():
        if k.kind == "table":
            p.add_argument(flag_of(k.name), action="append", metavar="KEY=VALUE", help=k.help)
        else:
            add_setting(p, k)


def place_of(args: argparse.Namespace, otherwise: Place | None = None) -> Place:
    """Return where the command line wants its records, or `otherwise` where it says nothing of it.

    ValueError for what cannot be, or an extra that is missing.
    """
    said = {k.name: getattr(args, k.name) for k in Place.knobs() if getattr(args, k.name, None) is not None}
    if not said and otherwise is not None:
        otherwise.check()
        return otherwise
    pairs = [pair.partition("=") for pair in said.pop("slurm", [])]
    if bad := next((key for key, equals, _ in pairs if not equals or not key), None):
        raise ValueError(f"--slurm: must be KEY=VALUE, such as time=2:00:00, got {bad!r}.")
    place = Place(**said, slurm={key.lstrip("-"): value for key, _, value in pairs})
    place.check()
    return place


@contextlib.contextmanager
def engine_at(place: Place, runs: Path) -> Iterator[Remote | None]:
    """Give the block the engine of the place, or None where this process itself carries records out.

    ValueError where it cannot be had.
    """
    if place.here:
        if place.cpus:
            threads.limit(place.cpus)
        yield None
        return
    with opened(place, RunStore(runs), EVERYWHERE) as engine:
        yield engine


def carry_out(record: Record, perform: Perform, engine: Engine | None, width: int = 60) -> None:
    """Carry out a study with a progress bar on stderr. engine: who does it or its parts; None: this process."""
    with progress_bar(width) as progress:
        if engine is None:
            with record.held():
                perform(record, on_progress=progress, roots=EVERYWHERE)
            return
        engine.submit(record, perform=perform)
        follow(engine, record, progress)
