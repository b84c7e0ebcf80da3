"""Reports a run to an experiment tracker: losses, probes, scores and their tables. Numbers alone, and no row.

A tracker is another program, which may be missing, slow, or not reachable. So it works in a thread of its own behind
a queue, and whatever it does, the run goes on: what went wrong becomes a note in the run. A run that is resumed
reports under the same name.
"""

import contextlib
import importlib.util
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from unlearn.report import facts
from unlearn.results import conclusion
from unlearn.results.compare import number
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

PROJECT = "unlearn-studio"
# The line that brings each tracker's package.
INSTALL = {
    "trackio": 'pip install "trackio>=0.40"',
    "tensorboard": 'pip install "tensorboard>=2.19"',
    "wandb": 'pip install "wandb>=0.22"',
}
# Seconds that a finished run waits for its tracker.
PATIENCE = 30.0
# Events that may wait for a slow tracker; what comes after is not reported.
MOST = 10_000

Rows = Sequence[Sequence[object]]


class Tracker(Protocol):
    """What every tracker can do: take numbers at a step, take a table, and end."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Report numbers by name at a step."""

    def table(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        """Report a table."""

    def close(self) -> None:
        """Write what is left, and end the run there."""


class TensorBoard:
    """TensorBoard's event files, in the folder tensorboard inside the run's own."""

    def __init__(self, run: Run, config: JsonView) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(log_dir=str(run.path / "tensorboard"))
        self.table("settings", ("setting", "value"), list(config.items()))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send the values of one step by name."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def table(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        """Send a table with these columns and rows."""
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join(f"| {' | '.join(str(cell).replace('|', ' ') for cell in line)} |" for line in lines)
        self.writer.add_text(name, text)

    def close(self) -> None:
        """End the tracker's own run."""
        self.writer.close()


class Trackio:
    """Trackio's project unlearn-studio on this machine, or where its own variables say."""

    def __init__(self, run: Run, config: JsonView) -> None:
        import trackio

        quiet: JsonObject = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        self.made: Any = trackio
        self.run: Any = trackio.init(PROJECT, name=run.id, config=dict(config), resume="allow", **quiet)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send the values of one step by name."""
        self.run.log(dict(values), step=step)

    def table(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        """Send a table with these columns and rows."""
        import pandas as pd

        self.run.log({name: self.made.Table(dataframe=pd.DataFrame(list(rows), columns=list(columns)))})

    def close(self) -> None:
        """End the tracker's own run."""
        self.run.finish()


class Wandb:
    """Weights & Biases: offline, in the run's folder, unless this machine is logged in or WANDB_MODE says otherwise."""

    def __init__(self, run: Run, config: JsonView) -> None:
        import wandb

        known = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
        quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        how: JsonObject = {"mode": known, "dir": str(run.path), "settings": quiet, "resume": "allow"}
        self.made: Any = wandb
        self.run: Any = wandb.init(project=PROJECT, id=run.id, name=run.id, config=dict(config), **how)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send the values of one step by name."""
        # Its own steps only grow, and scores come at steps that were reported already.
        self.run.log(dict(values) | {"at": step})

    def table(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        """Send a table with these columns and rows."""
        data = [[None if cell is None else str(cell) for cell in row] for row in rows]
        self.run.log({name: self.made.Table(columns=list(columns), data=data)})

    def close(self) -> None:
        """End the tracker's own run."""
        self.run.finish()


TRACKERS: dict[str, Callable[[Run, JsonView], Tracker]] = {
    "trackio": Trackio,
    "tensorboard": TensorBoard,
    "wandb": Wandb,
}


def check(name: str) -> None:
    """Raise ValueError with the line that brings the package where the tracker of this name is not installed."""
    if name in TRACKERS and importlib.util.find_spec(name) is None:
        raise ValueError(
            f"--report-to {name}: its package is not installed here; `{INSTALL[name]}` brings it."
        )


class Reporter:
    """Follows a run's events and reports them in a thread. failed: what went wrong with the tracker, or ""."""

    def __init__(self, run: Run, make: Callable[[], Tracker], patience: float = PATIENCE) -> None:
        self.run, self.make, self.patience, self.failed = run, make, patience, ""
        self.step = 0
        self.waiting: queue.Queue[Callable[[Tracker], None] | None] = queue.Queue(MOST)
        self.thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self.thread.start()

    def take(self, event: JsonView) -> None:
        """Report an event of the run: a step, a probe or scores."""
        try:
            if event["kind"] == "step":
                self.step = int(event["step"])
            values, step = self._values(event), self.step
        except (KeyError, TypeError, ValueError, OSError) as error:
            self.failed = self.failed or f"{type(error).__name__}: {error}"
            return
        if values:
            self._put(lambda tracker: tracker.log(values, step))

    def close(self) -> None:
        """Report the tables, and wait for the tracker as long as it deserves."""
        for name, columns, rows in tables(self.run):
            self._put(partial(_table, name, columns, rows))
        self._put(None)
        self.thread.join(self.patience)
        if self.thread.is_alive() and not self.failed:
            self.failed = f"it did not answer within {self.patience:g} s"

    def _values(self, event: JsonView) -> dict[str, float]:
        kind = event["kind"]
        if kind == "step":
            more = {name: event[name] for name in ("loss", "lr", "grad_norm", "tokens") if name in event}
            return _finite({f"loss/{name}": value for name, value in event["terms"].items()} | more)
        if kind == "probe":
            return _probe(self.run)
        if kind == "eval":
            scores = event["scores"].items()
            return _finite(
                {f"{event['when']}/{role}/{m}": v for role, found in scores for m, v in found.items()}
            )
        return {}

    def _put(self, task: "Callable[[Tracker], None] | None") -> None:
        try:
            self.waiting.put_nowait(task)
        except queue.Full:
            self.failed = self.failed or "it was too slow; a part was not reported"

    def _work(self) -> None:
        try:
            tracker = self.make()
            while (task := self.waiting.get()) is not None:
                task(tracker)
            tracker.close()
        # A tracker may end in any way, even by asking the process to exit.
        except BaseException as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self.failed = lines[0][:200]


def _table(name: str, columns: Sequence[str], rows: Rows, tracker: Tracker) -> None:
    tracker.table(name, columns, rows)


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: number(value) for name, value in values.items() if isinstance(value, int | float | str)}


def _probe(run: Run) -> dict[str, float]:
    """The mean log-prob of a right answer's token in the run's newest probe, by role."""
    records = run.probes()
    found: dict[str, list[float]] = {}
    for item in records[-1]["items"] if records else ():
        found.setdefault(f"probe/{item['role']}/log_prob", []).append(-number(item["nll"]))
    return {name: sum(values) / len(values) for name, values in found.items()}


def tables(run: Run) -> list[tuple[str, Sequence[str], Rows]]:
    """Return the tables of a run as (name, columns, rows): scores, probes and the verdict, without a row's words."""
    heads = ("role", "score", "n", "before", "after", "retrained")
    probes = [
        (record["step"], item["role"], item["index"], -number(item["nll"]))
        for record in run.probes()
        for item in record["items"]
    ]
    found = conclusion.of_run(run)
    said = [(part, found[part]["sentence"]) for part in conclusion.PARTS] if found else []
    verdict = [("word", found["word"]), *said] if found else []
    made: list[tuple[str, Sequence[str], Rows]] = [
        ("scores", heads, [[row[head] for head in heads] for row in facts.scores(run)]),
        ("probes", ("step", "role", "index", "log_prob"), probes),
        ("verdict", ("part", "said"), verdict),
    ]
    return [(name, columns, rows) for name, columns, rows in made if rows]


@contextmanager
def reporting(run: Run) -> Iterator[None]:
    """Report the run to the tracker that its settings name, for as long as the block lasts. It never raises itself."""
    name = run.config.report_to
    if name not in TRACKERS:
        yield
        return
    settings = {k: v for k, v in facts.method(run)["settings"].items() if k != "report_to"}
    config = {
        key: value if isinstance(value, int | float | str) else str(value) for key, value in settings.items()
    }
    config |= {"method": run.config.method, "forget": facts.described(run)}
    reporter = Reporter(run, lambda: TRACKERS[name](run, config))
    run.listeners.append(reporter.take)
    try:
        yield
    finally:
        run.listeners.remove(reporter.take)
        reporter.close()
        with contextlib.suppress(OSError):
            _note(run, reporter, name)


def _note(run: Run, reporter: Reporter, name: str) -> None:
    if reporter.failed:
        run.append("note", text=f"Reporting to {name} failed: {reporter.failed}. The run itself is whole.")
