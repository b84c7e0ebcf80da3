"""Carries out what the record of `unlearn trust` lacks as studies, one for each world, so that an engine can make the
models of several worlds on other machines.

The models of one world are trained on from one base, so they stay together. Rows come back one by one, as each is
written, and lie in the record then, whatever becomes of the study.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unlearn.compute import threads
from unlearn.store.engine import Engine, looked_after
from unlearn.store.runs import RunStore
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.store.studies import Study, checking, conduct
from unlearn.trust import record as making

# The folder of a store for these studies, and the file of each with its rows.
FOLDER, ROWS = "trust", "rows.json"
# Seconds between two looks at the worlds that an engine carries out.
LOOK = 0.5
Progress = Callable[[str, float], None]


class TrustRecord(Study[JsonObject]):
    """The folder of one world at work, <store>/trust/<id>. trust.json holds {"world", "names", "header"}, where names
    are those of the models to make.
    """

    FILE, FOLDER = "trust.json", FOLDER
    FOR_VISITORS = False

    @property
    def rows(self) -> list[JsonObject]:
        """Return the rows that were written so far."""
        return making.rows_of(self.path / ROWS)


def perform(
    record: TrustRecord,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Progress = lambda phase, fraction: None,
    roots: Sequence[Path] | None = None,
) -> None:
    """Make the models of a world as execute() carries out a run. It ends between two models where it is asked to.

    It never raises, and leaves state done, stopped or failed with a reason.
    """
    check, names = checking(record.stopping(should_stop)), record.config["names"]

    def say(row: JsonView) -> None:
        on_progress(str(row["name"]), len(record.rows) / len(names))
        check()

    def work() -> None:
        check()
        threads.choose_threads(True)
        making.carry_out(record.path / ROWS, record.config["header"], names=names, say=say)

    conduct(record, work)


def carried_out(
    engine: Engine,
    path: Path,
    header: JsonView,
    runs: Path,
    *,
    most: int | None = None,
    say: Callable[[JsonView], None] = lambda row: None,
) -> Iterator[str]:
    """Have the engine make what the record at this path lacks, at most so many models. Yield why a world was not ended.

    say: is called with each row that came into the record. Ctrl-C asks for the end of all, a second one leaves them
    alone.
    """
    _take_left(path, header, runs)
    worlds: dict[int, list[str]] = {}
    for task in making.missing(making.rows_of(path))[:most]:
        worlds.setdefault(task.world, []).append(task.name)
    made = [
        TrustRecord.create(runs, f"world-{world}", {"world": world, "names": names, "header": dict(header)})
        for world, names in worlds.items()
    ]
    engine.submit(*made, perform=perform)
    # Where it is was looked up first, so that the rows of one that has just ended are all there.
    for one, where in looked_after(engine, made, LOOK):
        for row in making.keep(path, header, one.rows):
            say(row)
        if where is None:
            if one.state != "done":
                yield f"world {one.config['world']}: {one.state} ({one.events('state')[-1].get('reason', '')})"
            _drop(one, runs)


def _take_left(path: Path, header: JsonView, runs: Path) -> None:
    """Take the rows of studies that an earlier command left, and remove those that nobody has."""
    for one in TrustRecord.every(runs):
        making.keep(path, header, one.rows)
        _drop(one, runs)


def _drop(one: TrustRecord, runs: Path) -> None:
    if not one.is_held():
        RunStore(runs).delete(one)
