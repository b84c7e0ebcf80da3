"""Reads and writes a sweep's folder: which grid was asked for, and what came out.

A sweep is a folder like a run: what was asked, events, a lock. Its cells are runs of the same store, each known by
the content of its settings. unlearn.work.sweep carries it out; what the numbers mean is said in
unlearn.results.grid and unlearn.results.guide. No torch, so that a page can show a sweep before torch is there.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from unlearn.results.grid import Cell
from unlearn.results.guide import Guided
from unlearn.store.config import LORA_ONLY
from unlearn.store.disk import write_json
from unlearn.store.runs import RunConfig, RunStore
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.store.studies import Study

AXES = ("lrs", "epochs", "batch_sizes", "seeds")
# Fields that all templates must share, or their cells could not be compared.
SHARED = ("model", "adapter", "retrained", "data", "start")
VARIED = ("method", "knobs", "tuning", "lr", "epochs", "batch_size", "seed", "probes", "title")
MOST_CELLS = 2000
# Settings that no score depends on.
UNTOLD = ("title", "probes", "metrics", "checkpointing", "report_to")


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """The settings of a sweep.

    runs holds one template a method, with all that the grid does not vary. Without epochs or batch_sizes each
    template keeps its own.
    """

    runs: tuple[RunConfig, ...]
    lrs: tuple[float, ...]
    epochs: tuple[int, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)
    guide: bool = False
    keep_weights: bool = False

    def __post_init__(self) -> None:
        if not self.runs or len(set(self.methods)) != len(self.runs):
            raise ValueError(
                f"sweep: methods must be one or more, each once, got {', '.join(self.methods)!r}."
            )
        for name in SHARED:
            if any(getattr(run, name) != getattr(self.runs[0], name) for run in self.runs):
                raise ValueError(f"sweep: {name} must be the same for all methods.")
        for name in AXES:
            values = tuple(sorted(set(getattr(self, name))))
            if not values and name in ("lrs", "seeds"):
                raise ValueError(f"sweep: {name} is empty; give at least one value.")
            object.__setattr__(self, name, values)
        # Making the cells checks their limits too.
        if (count := len(self.cells())) > MOST_CELLS:
            raise ValueError(f"sweep: at most {MOST_CELLS} cells, got {count}; leave out some values.")

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the names of the methods, in the order of the templates."""
        return tuple(run.method for run in self.runs)

    def cells(self) -> list[RunConfig]:
        """Return the whole grid with the first seed, then with the next.

        So a sweep that is cut short is a grid of fewer seeds.
        """
        return [
            replace(run, lr=lr, epochs=epochs, batch_size=batch, seed=seed, probes=0, title="")
            for seed, run in product(self.seeds, self.runs)
            for epochs in self.epochs or (run.epochs,)
            for batch, lr in product(self.batch_sizes or (run.batch_size,), self.lrs)
        ]

    def command(self) -> str:
        """Return the command line that repeats this sweep, with every knob stated."""
        kept = shlex.split(self.runs[0].command("sweep", leave_out=VARIED))
        kept += ["--methods", ",".join(self.methods)]
        if len({run.tuning for run in self.runs}) == 1:
            kept += ["--tuning", self.runs[0].tuning]
        for name in AXES:
            if values := getattr(self, name):
                kept += ["--" + name.replace("_", "-"), ",".join(f"{value:g}" for value in values)]
        for run in self.runs:
            for knob, value in run.knobs.items():
                kept += ["--set", f"{run.method}.{knob}={value}"]
        kept += ["--guide"] * self.guide + ["--keep-weights"] * self.keep_weights
        return shlex.join(kept)

    def to_json(self) -> JsonObject:
        """Return the settings as a JSON object, as sweep.json holds them."""
        axes = {name: list(getattr(self, name)) for name in AXES}
        runs = [run.to_json() for run in self.runs]
        return {"runs": runs, **axes, "guide": self.guide, "keep_weights": self.keep_weights}

    @classmethod
    def from_json(cls, value: JsonView) -> "SweepConfig":
        """Return the settings that a JSON object from to_json() states."""
        runs = tuple(RunConfig.from_json(run) for run in value["runs"])
        return cls(**{**value, "runs": runs, **{name: tuple(value[name]) for name in AXES}})


# Settings that were added later, with the value that every earlier run had.
ONCE = {
    "precision": "auto",
    "prompt": "plain",
    "system": "",
    "memory": "usual",
    "max_grad_norm": 1.0,
    "adapter": "auto",
    "retrained": "",
    "stop_at": "",
    "budget": (),
    "keep": "last",
    "sam": 0.0,
}


def identity(config: RunConfig) -> str:
    """Return twelve hex digits of every setting that a score depends on. 1 and 1.0 are one number, and empty
    words are left out.
    """
    told = {key: value for key, value in config.to_json().items() if key not in UNTOLD}
    if config.tuning != "lora":
        told = {key: value for key, value in told.items() if key not in LORA_ONLY}
    # Runs that were made before a setting existed do not state it, so its old value is left out.
    for name, once in ONCE.items():
        if told[name] == once:
            del told[name]
    told["data"] = {key: value for key, value in told["data"].items() if value not in ("", None, [], ())}
    text = json.dumps(_plain(told), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class SweepRecord(Study[SweepConfig]):
    """The folder of one sweep, <store>/sweeps/<id>.

    It holds sweep.json, meta.json, and events.jsonl with `cell` and `guide` events.
    """

    FILE, FOLDER = "sweep.json", "sweeps"

    @classmethod
    def read(cls, value: JsonView) -> SweepConfig:
        """Return the SweepConfig that the content of sweep.json states."""
        return SweepConfig.from_json(value)

    def cells(self) -> list[Cell]:
        """Return the finished cells of the grid, in the order in which they are computed."""
        known = self._known()
        return [
            cell_of(config, known[key])
            for config in self.config.cells()
            if (key := identity(config)) in known
        ]

    def guided(self) -> list[tuple[str, int, Guided]]:
        """Return (method, seed, what the guide led to) as far as the guide has been followed."""
        known, found = self._known(), {}
        for event in self.events("guide"):
            trials = [
                cell_of(RunConfig.from_json(c), known[identity(RunConfig.from_json(c))])
                for c in event["trials"]
            ]
            taken = Guided(trials[-1] if event["taken"] else None, tuple(trials), event["reason"])
            found[event["method"], event["seed"]] = (event["method"], event["seed"], taken)
        return list(found.values())

    def _known(self) -> dict[str, JsonObject]:
        return {event["key"]: event for event in self.events("cell")}


def cell_of(config: RunConfig, event: JsonView) -> Cell:
    """Return the cell that an event of kind `cell` describes."""
    values = {key: event[key] for key in ("run", "state", "reason", "seconds", "tokens", "scores")}
    place = {key: getattr(config, key) for key in ("method", "lr", "epochs", "batch_size", "seed")}
    return Cell(**place, **values)


def sweeps(store: RunStore) -> list[SweepRecord]:
    """Return every sweep of the store, newest first."""
    return SweepRecord.every(store.root)


def create(config: SweepConfig, store: RunStore, *, owner: str = "", title: str = "") -> SweepRecord:
    """Make a new, queued sweep and return it. Check its templates with runner.check() first."""
    return SweepRecord.create(store.root, "sweep", config.to_json(), owner=owner, title=title)


def ask_guide(record: SweepRecord) -> None:
    """Let an ended sweep be resumed with the tuning guide.

    Its cells stay. ValueError when another process has it.
    """
    with record.held():
        write_json(record.path / record.FILE, replace(record.config, guide=True).to_json())
        record.append("state", state="stopped", reason="the tuning guide was asked for")


def seconds_left(record: SweepRecord) -> float | None:
    """Return the estimated seconds for the grid's missing cells.

    It is None before the first cell is computed.

    Seconds are taken to be a + b × epochs (least squares); with one number of epochs known, the mean.
    """
    import numpy as np

    config, events = record.config, {e["key"]: e for e in record.events("cell")}
    cells = [(cell, identity(cell)) for cell in config.cells()]
    known = [
        (c.epochs, events[key]["seconds"]) for c, key in cells if key in events and not events[key]["reused"]
    ]
    if not known:
        return None
    missing = [c.epochs for c, key in cells if key not in events]
    epochs, seconds = zip(*known, strict=True)
    line = np.polyfit(epochs, seconds, 1) if len(set(epochs)) > 1 else (0.0, float(np.mean(seconds)))
    return sum(max(0.0, float(np.polyval(line, e))) for e in missing)
