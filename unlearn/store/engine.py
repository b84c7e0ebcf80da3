"""Says what an engine is: whoever carries records out, in this process or on other machines.

The folder of a record is the whole message. An engine takes it, has somebody carry it out, and brings back into it what
happens; lists, pages, Stop and resume read the folder and know no more of the engine than these three questions.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from unlearn.store.runs import Record

# A function with the signature of execute(), which carries out a record and never raises.
Perform = Callable[..., object]
Kind = TypeVar("Kind", bound=Record)


@dataclass(frozen=True)
class Where:
    """Where a record is. ahead: its place among those that wait, 0 for one that is carried out.

    node: the machine that has it, or "" while it waits. words: what it waits for, or its phase. fraction: how much of
    the phase is done.
    """

    ahead: int
    node: str = ""
    words: str = ""
    fraction: float = 0.0


class Engine(Protocol):
    """A carrier of records. All methods may be called from any thread."""

    name: str

    @property
    def at_once(self) -> int:
        """Return how many records it was told to carry out at the same time, or 0 for as many as there is room for."""

    def submit(self, *records: Record, perform: Perform | None = None) -> None:
        """Hold these records and have each carried out. perform is execute() by default.

        ValueError where another process has one of them, or one is done.
        """

    def stop(self, record: Record) -> None:
        """Ask for the end of a record, and return at once. It ends within one step and keeps its weights."""

    def where(self, record: Record) -> Where | None:
        """Return where the record is, or None when this engine no longer has it: then its folder says how it ended."""

    def close(self) -> None:
        """Let go of everything that waits, and end what runs in this process."""


def looked_after(
    engine: Engine, records: Iterable[Kind], every: float
) -> Iterator[tuple[Kind, Where | None]]:
    """Yield each record with where it is, again and again, until the engine has none of them any more.

    Of a record that has ended None is yielded, once. every: seconds from look to look. Ctrl-C asks for the end of all
    that are left, a second one leaves them alone.
    """
    left, asked = list(records), False
    while left:
        for record in tuple(left):
            if (where := engine.where(record)) is None:
                left = [one for one in left if one is not record]
            yield record, where
        try:
            time.sleep(every if left else 0.0)
        except KeyboardInterrupt:
            if asked:
                raise
            asked = True
            for record in left:
                engine.stop(record)
