"""Holds what Ray's and SLURM's engines share: which records they have, which wait, and how one ends here.

The process that submits a record holds its lock until it has ended, so that every list tells the truth for as long as
somebody follows it. One thread follows all records of an engine.
"""

import contextlib
import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from unlearn.engines.place import Place
from unlearn.engines.waiting import Waiting
from unlearn.store.engine import Perform, Where
from unlearn.store.locks import room_for
from unlearn.store.runs import ACTIVE, STOP, Record, RunStore
from unlearn.work.execute import execute
from unlearn.work.phases import reason

# Seconds for the thread of an engine that is lost to end.
LEFT = 2.0


def spreads(perform: Perform) -> bool:
    """Return whether the function hands parts of its record to an engine, as that of a sweep does with the cells."""
    return "engine" in inspect.signature(perform).parameters


class Remote(ABC):
    """An engine whose records are carried out elsewhere. A subclass says how, in _round()."""

    name = ""

    def __init__(self, place: Place, store: RunStore, roots: Sequence[Path] | None = None) -> None:
        place.check()
        self.place, self.store, self.roots = place, store, roots
        self._wake = threading.Condition()
        self._waiting = Waiting()
        self._at_work: dict[Record, Where] = {}
        self._performs: dict[Record, Perform] = {}
        self._locks: dict[Record, FileLock] = {}
        self._stops: set[Record] = set()
        # The wish to end of each record that this process spreads.
        self._ends: dict[Record, threading.Event] = {}
        self._closing = False
        # Why nothing can be carried out there any more, or "".
        self.lost = ""
        self._thread: threading.Thread | None = None

    @property
    def at_once(self) -> int:
        """Return how many records are carried out at the same time at most, or 0 for as many as there is room for."""
        return self.place.at_once

    def submit(self, *records: Record, perform: Perform | None = None) -> None:
        """Hold these records and put them in the queue, in this order. ValueError where the engine is lost."""
        if self.lost:
            raise ValueError(f"--on {self.name}: {self.lost}.")
        held: dict[Record, FileLock] = {}
        room_for(len(self._locks) + len(records))
        try:
            for record in records:
                held[record] = record.hold()
                last = record.events("state")[-1:]
                # Another process may have finished it since somebody looked.
                if last and last[0]["state"] == "done":
                    raise ValueError(f"run: {record.id} is done; start a new one.")
        except BaseException:
            for lock in held.values():
                lock.release()
            raise
        with self._wake:
            self._locks |= held
            for record in records:
                self._performs[record] = perform or execute
                self._queued(record)
                if spreads(self._performs[record]):
                    self._spread(record)
                else:
                    self._waiting.add(record)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name=f"unlearn-{self.name}", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def _queued(self, record: Record) -> None:
        """Say that it waits, and for whom, unless its folder already does."""
        last = record.events("state")[-1:]
        if not last or last[0]["state"] != "queued":
            record.append("state", state="queued")
        told = self.place.to_json()
        if [event["place"] for event in record.events("note") if "place" in event][-1:] != [told]:
            record.append("note", place=told)

    def _spread(self, record: Record) -> None:
        """Carry out here, in a thread of its own, what hands its parts to this engine."""
        stop = self._ends[record] = threading.Event()
        self._at_work[record] = Where(0, words="starting")

        def note(phase: str, fraction: float) -> None:
            with self._wake:
                if record in self._at_work:
                    self._at_work[record] = Where(0, words=phase, fraction=fraction)

        def work() -> None:
            perform = self._performs[record]
            how = {"should_stop": stop.is_set, "on_progress": note, "roots": self.roots, "engine": self}
            if self._guarded(record, lambda: perform(record, **how)):
                # Its parts ended with the engine, and not because somebody wanted it.
                if self.lost and record.events("state")[-1]["state"] == "stopped":
                    record.append("state", state="stopped", reason=self.lost)
                self._finish(record)

        threading.Thread(target=work, name=f"unlearn-{self.name}-study", daemon=True).start()

    def stop(self, record: Record) -> None:
        """Ask for the end of a record, and return at once."""
        with self._wake:
            if self._waiting.take(record):
                self._finish(record, state="stopped", reason="taken out of the queue before it began")
            elif record in self._at_work and record not in self._stops:
                self._stops.add(record)
                # A full disk must not keep it from stopping.
                with contextlib.suppress(OSError):
                    record.append("note", asked="stop")
                if record in self._ends:
                    self._ends[record].set()
                else:
                    self._ask_to_stop(record)

    def where(self, record: Record) -> Where | None:
        """Return where the record is, or None when this engine no longer has it."""
        with self._wake:
            if record in self._at_work:
                return self._at_work[record]
            if place := self._waiting.place(record):
                return Where(place, words=self._waits_for())
            return None

    def active(self) -> list[Record]:
        """Return the records that are carried out, then those that wait."""
        with self._wake:
            return [*self._at_work, *self._waiting]

    def close(self) -> None:
        """Let go of everything. What runs elsewhere goes on there, and is found again when it is resumed."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            # One that waits for an answer of what is lost may never get it.
            self._thread.join(LEFT if self.lost else None)
        with self._wake:
            for lock in self._locks.values():
                lock.release()
            self._waiting.clear()
            self._at_work.clear()
            self._locks.clear()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._locks, timeout=self._idle())
                if self._closing:
                    return
            self._round()
            for record in list(self._at_work):
                # Another process may ask for the end by the file that it does so with.
                if record not in self._stops and (record.path / STOP).exists():
                    self.stop(record)

    def _guarded(self, record: Record, do: Callable[[], object]) -> bool:
        """Do what may fail for this record alone: then it has failed, the others go on, and the answer is False."""
        try:
            do()
        except Exception as error:
            self._finish(record, state="failed", reason=reason(error))
            return False
        return True

    def _finish(self, record: Record, **state: str) -> None:
        """Let go of a record, with this as its last state, or with the one that its folder tells already."""
        with self._wake:
            # Somebody else has let go of it.
            if record not in self._locks:
                return
            if state:
                with contextlib.suppress(OSError):
                    record.append("state", **state)
            elif record.events("state")[-1]["state"] in ACTIVE:
                record.append("state", state="failed", reason=f"{self.name} ended it without a word")
            for kept in (self._at_work, self._performs, self._ends):
                kept.pop(record, None)
            self._stops.discard(record)
            self._waiting.take(record)
            if lock := self._locks.pop(record, None):
                lock.release()
            self._wake.notify_all()

    def _let_go(self, why: str) -> None:
        """End every record here, since nothing of the engine can be reached any more. What spreads its parts ends with
        these.
        """
        with self._wake:
            self.lost = why
            for record in self.active():
                if record not in self._ends:
                    self._finish(record, state="stopped", reason=why)

    def _idle(self) -> float | None:
        """Return the seconds after which _round() has something to do although there is no record."""
        return None

    def _options(self, record: Record) -> dict[str, object]:
        """Return what its function is told beside the usual: a run's, where its weights go."""
        plain = self._performs[record] is execute and not record.meta.get("scores_only")
        return {"weights_to": self.place.store} if plain and self.place.store else {}

    @abstractmethod
    def _round(self) -> None:
        """Look once after all records: begin those that can begin, copy what is new, end those that are over."""

    @abstractmethod
    def _ask_to_stop(self, record: Record) -> None:
        """Tell whoever carries the record out that it should end."""

    @abstractmethod
    def _waits_for(self) -> str:
        """Say what a waiting record waits for, as half a sentence."""
