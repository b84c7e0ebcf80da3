"""Reads and writes a search's folder: what was asked for, which settings were tried, and what came of each.

A search is a study like a sweep: search.json, events, a lock, and Optuna's own journal beside them. Its trials are
runs of the same store. unlearn.work.search carries it out; which trial is the best is said in
unlearn.results.search.choice.
"""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from unlearn.results.search.space import Axis, with_settings
from unlearn.results.sweep_record import SHARED
from unlearn.store.config import LORA_ONLY, RunConfig
from unlearn.store.disk import write_json
from unlearn.store.knobs import Knob, check, knob, knobs_of
from unlearn.store.runs import RunStore
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.store.studies import Study

AIMS = {
    "both": "Nearest to the target and most kept",
    "forget": "Nearest to the target, with enough kept",
    "keep": "Most kept, near enough to the target",
}
# Without any budget a search ends after so many trials.
USUAL_TRIALS = 30
JOURNAL = "optuna.journal"


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """The settings of a search. runs holds one template a method; axes says what is varied of each.

    seeds: each setting is carried out with each of them, and their mean counts.
    """

    runs: tuple[RunConfig, ...]
    axes: tuple[tuple[Axis, ...], ...]
    trials: int = knob(
        0,
        0,
        100_000,
        f"Settings to try at most; 0: as many as the minutes allow, or {USUAL_TRIALS} without minutes.",
    )
    minutes: float = knob(
        0.0, 0.0, 100_000.0, "Minutes that the trials may take together; 0: as long as the trials take."
    )
    aim: str = knob(
        "both",
        help="both: forget like the target and keep the rest, two objectives. forget: the first, among settings that "
        "keep enough. keep: the second, among settings near enough to the target.",
        choices=AIMS,
    )
    kept: float = knob(
        0.95, 0.0, 1.0, "Enough is kept where this share of the utility is left on everything else."
    )
    within: float = knob(
        0.05, 0.0, 1.0, "Near enough: the forget answers' mean probability lies so close to the target."
    )
    target: float = knob(
        -1.0,
        -1.0,
        1.0,
        "Mean probability of the forget answers to aim at; -1: the retrained model's, else the start's on texts that "
        "it never saw.",
    )
    prune: bool = knob(
        True, help="Give a trial up early where it is behind the middle of the earlier ones in both."
    )
    keep_weights: bool = knob(False, help="Keep each trial's weights, and not those of the best alone.")
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for one in knobs_of(SearchConfig):
            object.__setattr__(self, one.name, check("search", one, getattr(self, one.name)))
        names = [run.method for run in self.runs]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"search: methods must be one or more, each once, got {', '.join(names)!r}.")
        for name in SHARED:
            if any(getattr(run, name) != getattr(self.runs[0], name) for run in self.runs):
                raise ValueError(f"search: {name} must be the same for all methods.")
        if not self.seeds:
            raise ValueError("search: seeds is empty; give at least one value.")
        if not (self.trials or self.minutes):
            object.__setattr__(self, "trials", USUAL_TRIALS)
        runs = tuple(replace(run, seed=self.seeds[0], title="", probes=1) for run in self.runs)
        object.__setattr__(self, "runs", runs)

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        """Return what a search can be told beside a run's settings, with range and help sentence."""
        return knobs_of(cls)

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the names of the methods, in the order of the templates."""
        return tuple(run.method for run in self.runs)

    def axes_of(self, method: str) -> tuple[Axis, ...]:
        """Return what is varied of this method."""
        return self.axes[self.methods.index(method)]

    def run(self, method: str, settings: Mapping[str, object], seed: int) -> RunConfig:
        """Return the run that tries these settings with this seed."""
        template = self.runs[self.methods.index(method)]
        return replace(with_settings(template, settings), seed=seed)

    def to_json(self) -> JsonObject:
        """Return the settings as search.json holds them."""
        own = {one.name: getattr(self, one.name) for one in self.knobs()}
        axes = [[axis.to_json() for axis in mine] for mine in self.axes]
        return {"runs": [run.to_json() for run in self.runs], "axes": axes, "seeds": list(self.seeds), **own}

    @classmethod
    def from_json(cls, value: JsonView) -> "SearchConfig":
        """Return the settings that to_json() wrote."""
        runs = tuple(RunConfig.from_json(run) for run in value["runs"])
        axes = tuple(tuple(Axis.from_json(axis) for axis in mine) for mine in value["axes"])
        return cls(**{**value, "runs": runs, "axes": axes, "seeds": tuple(value["seeds"])})

    def command(self) -> str:
        """Return the command line that repeats this search."""
        of_run = ("lr", "epochs", "batch_size", *LORA_ONLY)
        words = shlex.split(
            self.runs[0].command("tune", leave_out=("method", "knobs", "seed", "probes", "title", *of_run))
        )
        words += ["--methods", ",".join(self.methods), "--seeds", ",".join(map(str, self.seeds))]
        for name in of_run:
            values = {getattr(run, name) for run in self.runs}
            is_varied = any(axis.name == name for mine in self.axes for axis in mine)
            # What differs between the methods is each one's tuned value.
            if (
                len(values) == 1
                and not is_varied
                and (name not in LORA_ONLY or self.runs[0].tuning == "lora")
            ):
                words += [f"--{name.replace('_', '-')}={next(iter(values))}"]
        for one in self.knobs():
            value = getattr(self, one.name)
            flag = "--" + one.name.replace("_", "-")
            if one.kind == "bool":
                words += [] if value == one.default else [flag if value else f"--no-{flag[2:]}"]
            elif value != one.default:
                words += [f"{flag}={value}"]
        for run, mine in zip(self.runs, self.axes, strict=True):
            for axis in mine:
                bounds = ",".join(map(str, axis.choices)) if axis.choices else f"{axis.low:g}..{axis.high:g}"
                words += ["--range", f"{run.method}.{axis.name}={bounds}"]
            named = {axis.name for axis in mine}
            for name, value in run.knobs.items():
                words += [] if name in named else ["--set", f"{run.method}.{name}={value}"]
        return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of one setting. state: done, pruned, diverged or failed.

    shipped: whether these are the method's own tuned settings. chosen and reported hold {"forget", "utility"} on the
    two halves of the rows: the search goes by the first, and the second took no part in the choice. curve: what was
    read while it trained (unlearn.results.search.pruning).
    """

    number: int
    method: str
    settings: JsonView
    shipped: bool = False
    runs: tuple[str, ...] = ()
    state: str = "done"
    reason: str = ""
    seconds: float = 0.0
    chosen: JsonView = field(default_factory=dict)
    reported: JsonView = field(default_factory=dict)
    curve: tuple[tuple[float, float, float], ...] = ()


class SearchRecord(Study[SearchConfig]):
    """The folder of one search, <store>/searches/<id>.

    It holds search.json, meta.json, Optuna's journal, and events.jsonl with `models`, `asked`, `scored` (a run) and
    `trial` events.
    """

    FILE, FOLDER = "search.json", "searches"

    @classmethod
    def read(cls, value: JsonView) -> SearchConfig:
        """Return the SearchConfig that the content of search.json states."""
        return SearchConfig.from_json(value)

    def trials(self) -> list[Trial]:
        """Return what was tried and has ended, in that order."""
        names = Trial.__dataclass_fields__
        found = []
        for event in self.events("trial"):
            values = {name: event[name] for name in names if name in event}
            values["runs"] = tuple(values["runs"])
            values["curve"] = tuple(tuple(point) for point in values["curve"])
            found.append(Trial(**values))
        return found

    def models(self) -> JsonObject:
        """Return what the search knows of the models beside the trials: {"chosen" | "reported": {"before", "target",
        "n"}, "whose", "by"}. It is empty before the first trial has ended.
        """
        return dict(next(iter(self.events("models")), {}))

    def spent(self) -> float:
        """Return the seconds that the ended trials took together."""
        return math.fsum(trial.seconds for trial in self.trials())


def searches(store: RunStore) -> list[SearchRecord]:
    """Return every search of the store, newest first."""
    return SearchRecord.every(store.root)


def create(config: SearchConfig, store: RunStore, *, owner: str = "", title: str = "") -> SearchRecord:
    """Make a new, queued search and return it. Check its templates with the engine's check() first."""
    return SearchRecord.create(store.root, "tune", config.to_json(), owner=owner, title=title)


def ask_more(record: SearchRecord, trials: int, minutes: float) -> None:
    """Let an ended search go on with so many more trials or minutes. ValueError when another process has it."""
    with record.held():
        config = record.config
        more = replace(
            config,
            trials=len(record.trials()) + trials if trials else 0,
            minutes=record.spent() / 60 + minutes if minutes else 0.0,
        )
        write_json(record.path / record.FILE, more.to_json())
        record.append("state", state="stopped", reason="more trials were asked for")
