"""Carries out one run of a trial on whatever machine, and leaves in its folder what the search goes by.

The scores of the two halves of the rows are read where the model is, so that no model and no observation travels.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import unlearn.work.search.halves as halves
from unlearn.results.search import choice
from unlearn.store.disk import read_json, write_json
from unlearn.store.engine import Engine
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject
from unlearn.work.execute import execute
from unlearn.work.search.watching import Watch

if TYPE_CHECKING:
    from unlearn.work.execute import Finished

FILE = "halves.json"
# Seconds between two looks at a run that an engine carries out.
LOOK = 0.1


def perform(
    run: Run,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[str, float], None] = lambda phase, fraction: None,
    roots: Sequence[Path] | None = None,
) -> None:
    """Carry out the run as execute() does, and write FILE beside it. Its meta.json says the search's target."""
    finished = execute(run, should_stop=should_stop, on_progress=on_progress, roots=roots)
    if finished is not None:
        write_json(run.path / FILE, told(finished, roots, float(run.meta["target"])))


def told(finished: "Finished", roots: Sequence[Path] | None, target: float) -> JsonObject:
    """Return {"models": as halves.models_of(), "chosen": scores after, "reported": scores after} of a run.

    target: the one that was asked for, below 0 for none.
    """
    seen = halves.seen(finished, roots)
    scores = {half: seen.scores("after", half) for half in (choice.CHOSEN, choice.REPORTED)}
    return {"models": halves.models_of(seen, target)} | scores


def elsewhere(
    run: Run,
    watch: Watch,
    engine: Engine,
    should_stop: Callable[[], bool],
    on_progress: Callable[[str, float], None],
) -> JsonObject | None:
    """Have the engine carry out the run, end it where it is hopeless, and return what told() said there.

    None where it did not come to its end.
    """
    last = run.events("state")[-1]["state"]
    # One that ended before the search was told is not carried out again.
    if last != "done" or not (run.path / FILE).is_file():
        if last == "done":
            run.append("state", state="queued")
        heard, asked = len(run.events("watch")), False
        engine.submit(run, perform=perform)
        while (where := engine.where(run)) is not None:
            heard = _hear(run, watch, heard)
            if not asked and (should_stop() or watch.hopeless):
                asked = True
                engine.stop(run)
            on_progress(where.words, where.fraction)
            time.sleep(LOOK)
        _hear(run, watch, heard)
    found = read_json(run.path / FILE)
    (run.path / FILE).unlink(missing_ok=True)
    return found if run.state == "done" and found else None


def _hear(run: Run, watch: Watch, heard: int) -> int:
    """Let the watch hear what was read since, and return how much that is in all."""
    events = run.events("watch")
    for event in events[heard:]:
        watch.hear(run, event)
    return max(heard, len(events))
