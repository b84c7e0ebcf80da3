"""Opens the engine of a place, and follows a record there until it has ended."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unlearn.engines.place import Place
from unlearn.engines.ray import Ray
from unlearn.engines.remote import Remote
from unlearn.engines.slurm import Slurm
from unlearn.store.engine import Engine, looked_after
from unlearn.store.runs import Record, RunStore

# Every engine but the thread, by its name on the command line.
ENGINES: dict[str, type[Remote]] = {engine.name: engine for engine in (Ray, Slurm)}
LOOK = 0.1


@contextlib.contextmanager
def opened(place: Place, store: RunStore, roots: Sequence[Path] | None = None) -> Iterator[Remote]:
    """Give the block the engine of a place that is not here. ValueError where it cannot be had, with the remedy."""
    engine = ENGINES[place.engine](place, store, roots)
    try:
        yield engine
    finally:
        engine.close()


class Elsewhere:
    """The engines that a server has opened, each once. store and roots: as for each of them."""

    def __init__(self, store: RunStore, roots: Sequence[Path] | None = None) -> None:
        self.store, self.roots = store, roots
        self._opened: list[Remote] = []
        self._lock = threading.Lock()

    def engine(self, place: Place) -> Remote:
        """Return the engine of a place, which is opened now where it was not. ValueError where it cannot be had."""
        with self._lock:
            for engine in self._opened:
                if engine.place == place and not engine.lost:
                    return engine
            self._opened.append(ENGINES[place.engine](place, self.store, self.roots))
            return self._opened[-1]

    def holder(self, record: Record) -> Remote | None:
        """Return the engine that has the record, or None."""
        return next((engine for engine in self._opened if engine.where(record) is not None), None)

    def active(self) -> list[Record]:
        """Return all records that are carried out or wait elsewhere."""
        return [record for engine in self._opened for record in engine.active()]

    def close(self) -> None:
        """Close all engines."""
        for engine in self._opened:
            engine.close()


def follow(engine: Engine, record: Record, progress: Callable[[str, float], None]) -> None:
    """Wait until the engine no longer has the record. Ctrl-C asks for its end, a second one leaves it alone."""
    for _, where in looked_after(engine, [record], LOOK):
        if where is not None:
            progress(where.words or "starting", where.fraction)


def last_place(record: Record) -> Place:
    """Return where a record was last carried out, as its events tell. Where they tell nothing it was here.

    Somebody else's record, brought in from an archive, may name an address that nobody here has chosen.
    """
    told = [event["place"] for event in record.events("note") if isinstance(event.get("place"), dict)]
    with contextlib.suppress(ValueError, TypeError):
        return Place.from_json(told[-1]) if told and not record.meta.get("imported") else Place()
    return Place()
