"""Runs records one after the other in a background thread, and keeps the warm models for the pages.

The folder is the truth (unlearn.store.runs); the runner only decides who goes next. It holds each run's lock from
submission to end, so that every other process, or the next server, can tell a live run from a dead one.
"""

import atexit
import contextlib
import gc
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from unlearn.engines.elsewhere import Elsewhere, last_place
from unlearn.engines.place import Place
from unlearn.engines.warm import Warm
from unlearn.results.pace import duration, seconds_to_go
from unlearn.store.caps import is_visitor
from unlearn.store.engine import Engine, Perform, Where
from unlearn.store.runs import ACTIVE, Record, Run, RunConfig, RunStore
from unlearn.store.shapes import JsonObject
from unlearn.work.checks import check
from unlearn.work.execute import Finished, execute
from unlearn.work.identity import check_resume
from unlearn.work.known import Known, known
from unlearn.work.visitors import admission, rules
from unlearn.work.visitors.limit import Limit

CLOSE_SECONDS = 5.0
# Seconds between two looks at a run that is to be deleted when it has ended elsewhere.
POLL = 0.2


class Runner:
    """The engine of one server, which has exactly one Runner. All methods may be called from any thread.

    roots: folders that data and models may come from, as in allowed.allowed_path.
    """

    def __init__(self, store: RunStore, roots: Sequence[Path] | None = None) -> None:
        self.store = store
        self.roots = roots
        self._queue: deque[Record] = deque()
        self._performs: dict[str, Perform | None] = {}
        self._locks: dict[str, FileLock] = {}
        self._stops: dict[str, threading.Event] = {}
        self._discard: set[str] = set()
        self._current: Record | None = None
        self._progress: tuple[str, float, float] = ("", 0.0, 0.0)
        self._wake = threading.Condition()
        self._device = threading.Lock()
        self._door = threading.RLock()
        self._warm = Warm(store.root, roots)
        self._elsewhere = Elsewhere(store, roots)
        self._closing = False
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    def launch(self, config: RunConfig, owner: str = "", title: str = "", place: Place | None = None) -> Run:
        """Check what can be checked at once, create the run's folder and queue it.

        ValueError for bad input: unknown model, method or knob, data that cannot be read; and for what a visitor may
        not ask for. OSError for a full disk.
        """
        if is_visitor(owner):
            # What is asked for is looked up only where a visitor may ask for it.
            rules.allow(config, self.store.root)
            self.admit(owner)
        check(config, self.roots)
        self.reach(place)
        run = self.store.create(config, owner=owner, title=title)
        try:
            self.submit(run, place=place)
        except ValueError:
            # Another tab of the same visitor took the last place.
            self.store.delete(run)
            raise
        return run

    def admit(self, owner: str) -> None:
        """Raise ValueError where this owner is a visitor who may not begin one more run, attack or study now."""
        admission.admit(self.store, owner, self.active(), self._delete)

    def reach(self, place: Place | None) -> None:
        """Raise ValueError where the place cannot be had, so that it is said before there is a folder."""
        if place is not None and not place.here:
            self._elsewhere.engine(place)

    def submit(self, *records: Record, perform: Perform | None = None, place: Place | None = None) -> None:
        """Queue records that exist.

        perform carries them out: execute() by default, or the function of a sweep or a sequence. place: where, if not
        in this server's thread.
        """
        if place is not None and not place.here:
            for record in records:
                rules.refuse_elsewhere(str(record.meta.get("owner", "")))
            self._elsewhere.engine(place).submit(*records, perform=perform)
            return
        for record in records:
            with self._door:
                rules.allow_record(record, self.store.root)
                self.admit(str(record.meta.get("owner", "")))
                self._enqueue(record, perform)

    def resume(self, run: Record, perform: Perform | None = None) -> None:
        """Queue an interrupted, stopped or failed run again. It continues from its last checkpoint.

        ValueError when it is active or already done, and when its rows or its model are no longer what it began with.
        """
        state = run.state
        if state in ACTIVE or state == "done":
            raise ValueError(
                f"run: {run.id} is {state}; only an interrupted, stopped or failed run can be resumed."
            )
        if isinstance(run, Run):
            check_resume(run, self.roots)
        self.submit(run, perform=perform, place=last_place(run))

    def _enqueue(self, run: Record, perform: Perform | None = None) -> None:
        lock = run.hold()
        try:
            with self._wake:
                if self._closing:
                    raise ValueError("runner: it is closing; start the server again.")
                last = run.events("state")[-1:]
                # Another process may have finished it since resume() looked.
                if last and last[0]["state"] == "done":
                    raise ValueError(f"run: {run.id} is done; start a new one.")
                if not last or last[0]["state"] != "queued":
                    run.append("state", state="queued")
                self._locks[run.id] = lock
                self._stops[run.id] = threading.Event()
                self._performs[run.id] = perform
                self._queue.append(run)
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._work, name="unlearn-runner", daemon=True)
                    self._thread.start()
                self._wake.notify_all()
        except BaseException:
            lock.release()
            raise

    def stop(self, run: Record) -> None:
        """Ask a run to stop, and return at once. A running run ends within one step and keeps its weights."""
        if engine := self._elsewhere.holder(run):
            engine.stop(run)
            return
        with self._wake:
            if run in self._queue:
                self._queue.remove(run)
                try:
                    run.append("state", state="stopped", reason="taken out of the queue before it began")
                finally:
                    self._release(run)
            elif run.id in self._stops:
                self._end_early(run)

    def discard(self, run: Record) -> None:
        """Stop a run, then delete its folder."""
        if engine := self._elsewhere.holder(run):
            engine.stop(run)
            threading.Thread(target=self._discard_later, args=(engine, run), daemon=True).start()
            return
        with self._wake:
            if run == self._current:
                self._discard.add(run.id)
                self._end_early(run)
                return
            if run in self._queue:
                self._queue.remove(run)
                self._release(run)
        self._delete(run)

    def _discard_later(self, engine: Engine, run: Record) -> None:
        """Delete the folder as soon as nobody writes to it any more."""
        while engine.where(run) is not None:
            time.sleep(POLL)
        with contextlib.suppress(OSError, ValueError):
            self._delete(run)

    def _end_early(self, run: Record) -> None:
        """The step in hand is the last one; whoever looks at the folder can see that it was asked for, and when."""
        if not self._stops[run.id].is_set():
            self._stops[run.id].set()
            # A full disk must not keep it from stopping.
            with contextlib.suppress(OSError):
                run.append("note", asked="stop")

    def _delete(self, run: Record) -> None:
        self._warm.forget(run)
        self.store.delete(run)

    def position(self, run: Record) -> int | None:
        """Return the run's place: 0 while it runs, 1 and more while it waits, None when this runner does not
        have it.
        """
        if (engine := self._elsewhere.holder(run)) and (where := engine.where(run)):
            return where.ahead
        with self._wake:
            if run == self._current:
                return 0
            waiting = list(self._queue)
        return waiting.index(run) + 1 if run in waiting else None

    def where(self, record: Record) -> Where | None:
        """Return the record's place as position() tells it, with what it waits for or which machine has it."""
        if engine := self._elsewhere.holder(record):
            return engine.where(record)
        ahead = self.position(record)
        if ahead is None:
            return None
        return Where(ahead, words=f"{ahead} ahead of it" if ahead > 1 else "")

    def active(self) -> list[Record]:
        """Return the running run, then those in the queue."""
        with self._wake:
            here = ([self._current] if self._current else []) + list(self._queue)
        return here + self._elsewhere.active()

    def progress(self, record: Record | None = None) -> tuple[str, float, float]:
        """Return (phase, fraction of it that is done, seconds since it began) of the running run.

        record: one that may be elsewhere; then of that one, and the seconds are not known.
        """
        if record and (engine := self._elsewhere.holder(record)) and (where := engine.where(record)):
            return where.words, where.fraction, 0.0
        phase, fraction, since = self._progress
        return phase, fraction, time.monotonic() - since if phase else 0.0

    def busy(self) -> str:
        """Return a sentence on which run has the device and for how long.

        It is empty when the device is free.
        """
        run = self._current
        if run is None:
            return "another question is being answered" if self._device.locked() else ""
        steps = run.events("step")
        if not steps:
            return f"{run.title} is busy: {self._progress[0] or 'starting'}"
        last = steps[-1]
        left = seconds_to_go(steps)
        words = f", about {duration(left)} left" if left is not None else ""
        return f"{run.title} is training: step {last['step']} of {last['of']}{words}"

    def close(self) -> None:
        """Stop the running run and wait a little, so that the interpreter does not end under a torch thread.

        What waits in the queue is let go of: it reads "interrupted" and can be resumed.
        """
        with self._wake:
            self._closing = True
            for stop in self._stops.values():
                stop.set()
            while self._queue:
                self._release(self._queue.popleft())
            self._wake.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_SECONDS)
        self._warm.clear()
        self._elsewhere.close()
        atexit.unregister(self.close)

    # -- the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._queue or self._closing)
                if self._closing:
                    return
                run = self._current = self._queue.popleft()
                stop = self._stops[run.id]
            limit = Limit(run, self.store)
            try:
                with self._device:
                    self._warm.forget(run)
                    perform: Perform = self._performs.pop(run.id) or execute
                    ending = limit.stopping(stop.is_set)
                    finished = perform(run, should_stop=ending, on_progress=self._note, roots=self.roots)
                    if isinstance(finished, Finished):
                        self._warm.keep(finished)
                    del finished
            # Whatever a run does, the next one has its turn.
            except BaseException as error:
                with contextlib.suppress(Exception):
                    run.append("state", state="failed", reason=f"{type(error).__name__}: {error}")
            finally:
                with self._wake:
                    self._current, self._progress = None, ("", 0.0, 0.0)
                    self._release(run)
                    unwanted = run.id in self._discard
                    self._discard.discard(run.id)
                with contextlib.suppress(OSError, ValueError):
                    limit.ended(self._delete)
                if unwanted:
                    with contextlib.suppress(OSError, ValueError):
                        self._delete(run)
                # Models hold themselves in circles; the server does not collect after its scripts.
                gc.collect()

    def _note(self, phase: str, fraction: float) -> None:
        same = self._progress[0] == phase
        self._progress = (phase, min(1.0, fraction), self._progress[2] if same else time.monotonic())

    def _release(self, run: Record) -> None:
        self._performs.pop(run.id, None)
        self._stops.pop(run.id, None)
        if lock := self._locks.pop(run.id, None):
            lock.release()

    # -- a person's own prompts ---------------------------------------------------------------------------------

    def ask(
        self,
        source: tuple[str, Run],
        prompt: str,
        answer: str = "",
        max_new_tokens: int = 40,
        *,
        raw: bool = False,
    ) -> JsonObject:
        """Answer a person's own question greedily, and score the answer's tokens with this model.

        source: ("before" | "after" | "retrained", run). raw: the words are continued as they are; else they are a
        question, put in the run's format. Returns {"prompt", "text", "tokens"}; without an answer the tokens are those
        of the text that came. RuntimeError, saying by whom, while a run holds the device; ValueError
        for an empty prompt or a run without weights.
        """
        if not prompt.strip():
            raise ValueError("prompt: is empty; write a question or the beginning of a text.")
        if self._current is not None or not self._device.acquire(timeout=2.0):
            raise RuntimeError(self.busy() or "the device is busy")
        try:
            return self._warm.ask(source, prompt, answer, max_new_tokens, raw)
        finally:
            self._device.release()

    def known(self, config: RunConfig) -> Known:
        """Whether the model knows what a run of this config is to forget. RuntimeError while the device is taken.

        ValueError for bad input.
        """
        check(config, self.roots, self.store)
        if self._current is not None or not self._device.acquire(timeout=2.0):
            raise RuntimeError(self.busy() or "the device is busy")
        try:
            return known(config, self.store, self.roots)
        finally:
            self._device.release()
