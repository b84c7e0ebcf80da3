"""Runs records one after the other in a background thread, and keeps the warm models for the pages.

The folder is the truth (unlearn.store.runs); the runner only decides who goes next. It holds each run's lock from
submission to end, so that every other process, or the next server, can tell a live run from a dead one.
"""

import atexit
import contextlib
import gc
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from unlearn.data.catalogue import from_config
from unlearn.measure.ask import answer_prompt, answer_question, load_source
from unlearn.methods import method_named
from unlearn.models.catalogue import allow_model, bring_reading, check_prompt, exact_retrain, parts_of
from unlearn.models.checks import check_model
from unlearn.models.load import check_hub
from unlearn.models.precision import check as check_precision
from unlearn.models.reading import as_read
from unlearn.results.pace import duration, seconds_to_go
from unlearn.store.runs import ACTIVE, Record, Run, RunConfig, RunStore
from unlearn.store.shapes import JsonObject
from unlearn.work import trackers
from unlearn.work.execute import Finished, execute
from unlearn.work.identity import check_resume, check_start_rows
from unlearn.work.known import Known, known
from unlearn.work.switches import check_sam, check_stop_rule

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


# The number of models that are kept in memory for a person's own prompts.
WARM_MODELS = 3
CLOSE_SECONDS = 5.0


# A function with the signature of execute(), which carries out a record and never raises.
Perform = Callable[..., "Finished | None"]


class Runner:
    """The queue of one server, which has exactly one Runner. All methods may be called from any thread.

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
        self._warm: OrderedDict[str, Loaded] = OrderedDict()
        self._closing = False
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    def submit(self, config: RunConfig, owner: str = "", title: str = "") -> Run:
        """Check what can be checked at once, create the run's folder and queue it.

        ValueError for bad input: unknown model, method or knob, data that cannot be read. OSError for a full disk.
        """
        check(config, self.roots)
        run = self.store.create(config, owner=owner, title=title)
        self._enqueue(run)
        return run

    def enqueue(self, record: Record, perform: Perform | None = None) -> None:
        """Queue a record that exists.

        perform carries it out: execute() by default, or the function of a sweep or a sequence.
        """
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
        self._enqueue(run, perform)

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
        with self._wake:
            if run == self._current:
                self._discard.add(run.id)
                self._end_early(run)
                return
            if run in self._queue:
                self._queue.remove(run)
                self._release(run)
        self._delete(run)

    def _end_early(self, run: Record) -> None:
        """The step in hand is the last one; whoever looks at the folder can see that it was asked for, and when."""
        if not self._stops[run.id].is_set():
            self._stops[run.id].set()
            # A full disk must not keep it from stopping.
            with contextlib.suppress(OSError):
                run.append("note", asked="stop")

    def _delete(self, run: Record) -> None:
        self._warm.pop(f"after {run.id}", None)
        self.store.delete(run)

    def position(self, run: Record) -> int | None:
        """Return the run's place: 0 while it runs, 1 and more while it waits, None when this runner does not
        have it.
        """
        with self._wake:
            if run == self._current:
                return 0
            waiting = list(self._queue)
        return waiting.index(run) + 1 if run in waiting else None

    def active(self) -> list[Record]:
        """Return the running run, then those in the queue."""
        with self._wake:
            return ([self._current] if self._current else []) + list(self._queue)

    def progress(self) -> tuple[str, float, float]:
        """Return (phase, fraction of it that is done, seconds since it began) of the running run."""
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
            try:
                with self._device:
                    self._warm.pop(f"after {run.id}", None)
                    perform: Perform = self._performs.pop(run.id) or execute
                    finished = perform(run, should_stop=stop.is_set, on_progress=self._note, roots=self.roots)
                    if finished is not None:
                        self._keep(finished)
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

    # -- warm models -----------------------------------------------------------------------------------------

    def _keep(self, finished: Finished) -> None:
        self._remember(f"after {finished.run.id}", finished.loaded)

    def _remember(self, key: str, loaded: "Loaded") -> None:
        """Keep it, and drop what has not been asked for longest and what belongs to a deleted run."""
        self._warm.pop(key, None)
        self._warm[key] = loaded
        for old in list(self._warm):
            when, _, rest = old.partition(" ")
            if len(self._warm) > WARM_MODELS or (when == "after" and not (self.store.root / rest).is_dir()):
                self._warm.pop(old, None)

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
            loaded = self._model(source)
            if raw:
                return answer_prompt(loaded, prompt, answer, max_new_tokens)
            return answer_question(loaded, source[1].config, prompt, answer, max_new_tokens)
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

    def _model(self, source: tuple[str, Run]) -> "Loaded":
        when, run = source
        key = f"after {run.id}"
        if when != "after":
            key = " ".join((when, run.config.model, run.config.tuning, run.config.precision))
        if when == "retrained":
            # The key names the folder, so a run on other rows never gets this model.
            key = f"retrained {exact_retrain(run.config)}"
        if not run.path.is_dir():
            self._warm.pop(key, None)
            raise ValueError(f"run: {run.id} was deleted; choose another.")
        loaded = self._warm.get(key) or load_source(when, run, self.roots)
        self._remember(key, loaded)
        return loaded


def check(config: RunConfig, roots: Sequence[Path] | None = None, store: RunStore | None = None) -> None:
    """Raise ValueError for what can be known to be wrong before anything heavy is loaded. It reads the data.

    roots as in allowed.allowed_path: the app's allowed folders, or all for the command line. store: where the run that
    config.start names must be.
    """
    method = method_named(config.method)
    chosen = method.from_knobs(config.knobs)
    if config.tuning not in method.tunings:
        raise ValueError(
            f"{method.title}: tuning must be among {', '.join(method.tunings)}, got {config.tuning}."
        )
    if method.follows and not config.start:
        raise ValueError(
            f"{method.title}: it is a step after a finished run; give the run it follows: unlearn {method.name} RUN."
        )
    if config.memory == "lean" and not method.leans:
        raise ValueError(
            f"{method.title}: it trains in a loop of its own, so memory must be usual, got {config.memory}."
        )
    check_precision(config.precision)
    allow_model(config.model, roots)
    allow_model(config.retrained, roots, "retrained")
    for name in filter(None, (config.model, config.retrained)):
        bring_reading(name)
        # The base that an adapter names is known now.
        allow_model(name, roots)
    parts = check_model(config)
    check_prompt(config)
    trackers.check(config.report_to)
    data = as_read(from_config(dict(config.data), roots), config)
    chosen.rows(config.model, data)
    check_sam(config, chosen)
    check_stop_rule(config, chosen, data)
    if isinstance(parts.base, str):
        check_hub(parts.base)
    if config.retrained and isinstance(truth := parts_of(config.retrained).base, str):
        check_hub(truth)
    if config.start and store is not None:
        from unlearn.models.tuning import check_start

        start = store.get(config.start)
        check_start(config, start)
        check_start_rows(config, start, data)
