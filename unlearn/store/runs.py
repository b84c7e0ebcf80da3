"""A run is one folder, and app, command line and workers share nothing else.

    config.json      what was asked (RunConfig)
    events.jsonl     what happened, append-only: state | step | probe | eval | sample | note
    probes.jsonl     fixed prompts scored every k steps, top-10 log-probs at each answer token
    samples.jsonl    generations and answer tokens before, after and (where it exists) retrained
    results.json     what came out: scores, seconds, versions, hashes; written once, at the end
    adapter/ model/  the weights as safetensors; checkpoint/ the state to resume from

State is never stored as a field: it is derived from the last state event and from whether the process
that wrote it still holds the folder's lock, so a killed server cannot leave a lie behind. Nothing here
imports torch: the Start page shows recorded runs before torch is there.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout

from unlearn.store import locks, records
from unlearn.store.config import TUNINGS, RunConfig
from unlearn.store.disk import Tail, append_line, is_run_id, new_folder, read_json, write_json
from unlearn.store.index import Index, Summary
from unlearn.store.records import ACTIVE, STATES
from unlearn.store.shapes import JsonObject, count

__all__ = ["ACTIVE", "STATES", "TUNINGS", "Record", "Run", "RunConfig", "RunStore"]

# Seconds to wait for the lock, because a page that checks a run shares its lock for an instant.
LOCK_SECONDS = 2.0
# The name of a file in the folder. It asks the process that carries out the run to end.
STOP = "stop"


class Record:
    """A folder that one process writes and everyone may read. It has events and a lock, and its state follows
    from both.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.id = self.path.name
        # Each is called with every event that this object appends.
        self.listeners: list[Callable[[JsonObject], None]] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def meta(self) -> JsonObject:
        """Return who owns the record and what its title is: {"owner": str, "title": str, "recorded": bool}."""
        return _meta(self.path / "meta.json")

    def set_meta(self, **changes: object) -> None:
        """Write these values into meta.json and leave its other fields as they are."""
        write_json(self.path / "meta.json", self.meta | changes)

    @property
    def title(self) -> str:
        """Return the title that its owner gave, or the id without one."""
        return self.meta.get("title") or self.id

    def append(self, kind: str, **values: object) -> None:
        """Append one event to events.jsonl. The line has left this process when this returns, so that a crash
        afterwards does not lose it.
        """
        event = {"kind": kind, "time": round(time.time(), 3)} | values
        append_line(self.path / "events.jsonl", event)
        if kind == "state":
            # The folder's time tells a list that the run has changed, see unlearn.store.index.
            os.utime(self.path)
        for listener in self.listeners:
            listener(event)

    def events(self, kind: str | None = None) -> list[JsonObject]:
        """Return the complete events in order, all of them or those of one kind. The caller must not change
        them. Steps and probes that a resume did again appear once.
        """
        return list(_events(self.path / "events.jsonl").read().get(kind, ()))

    def lock(self) -> FileLock:
        """Return the lock of this record, not yet taken. The process that queues or executes the run holds
        it, and the kernel frees it when that process dies.
        """
        return FileLock(self.path / ".lock", thread_local=False)

    def hold(self) -> FileLock:
        """Take the lock and return it. ValueError when another process has the run; release() it in the end."""
        lock = self.lock()
        try:
            lock.acquire(timeout=LOCK_SECONDS, poll_interval=0.02)
        except Timeout as error:
            raise ValueError(f"run: {self.id} is held by another process; wait for it to end.") from error
        except OSError as error:
            if error.errno in locks.NONE_HERE:
                raise ValueError(locks.none_here(self.path.parent, error)) from error
            raise
        # An older wish to stop was meant for the process that held the run before.
        (self.path / STOP).unlink(missing_ok=True)
        return lock

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for as long as a block of code runs."""
        lock = self.hold()
        try:
            yield
        finally:
            lock.release()

    def ask_to_stop(self) -> None:
        """Ask the process that carries out the run to end it within one step and to keep its weights.
        ValueError when no process does. The wish is a file in the folder, and the process that carries out
        the run looks for it with stopping().
        """
        if self.state not in ACTIVE:
            raise ValueError(f"run: {self.id} is {self.state}; there is nothing to stop.")
        (self.path / STOP).touch()
        self.append("note", asked="stop")

    def stopping(self, otherwise: Callable[[], bool] = lambda: False) -> Callable[[], bool]:
        """Return a function that tells whether the run should end. It should when the stop file exists or
        otherwise() is true.
        """
        wish = self.path / STOP
        return lambda: otherwise() or wish.exists()

    def is_held(self) -> bool:
        """Return whether a process has the run. Any number of processes may look at the same time, because a
        look shares the lock and takes it away from none.
        """
        return locks.is_held(self.path)

    @property
    def state(self) -> str:
        """Return the state, one of STATES. It is true even after kill -9."""
        states = self.events("state")
        last = states[-1]["state"] if states else "interrupted"
        return "interrupted" if last in ACTIVE and not self.is_held() else str(last)

    @property
    def reason(self) -> str:
        """Return one sentence on why the record failed, stopped or ended early, or "" otherwise."""
        states = self.events("state")
        return states[-1].get("reason", "") if states else ""


class Run(Record):
    """The folder of one run. Its process appends to it, and any process may read it at any time."""

    def summary(self) -> Summary:
        """Return what lists show of the run. Its files are read again only after a change. ValueError where
        config.json is unreadable.
        """
        return index_of(self.path.parent).of(self.path)

    @property
    def config(self) -> RunConfig:
        """Return the settings of the run."""
        return _config(self.path / "config.json")

    def start(self) -> "Run | None":
        """Return the run of the same store that this one goes on from, or None. ValueError where it is gone."""
        name = self.config.start
        if not name:
            return None
        store = RunStore(self.path.parent)
        try:
            return store.get(name)
        except ValueError:
            raise ValueError(
                f"run: {self.id} goes on from {name[:80]!r}, which is not in {store.root}; bring that run back with "
                "`python -m unlearn import`, or carry out both anew."
            ) from None

    def probes(self) -> list[JsonObject]:
        """Return the probe records in step order, only the last one of each step and none after the run's
        last step. The caller must not change them, because they are kept for the next caller; so are
        samples. Every item has a text: the last one that was generated. "said" is the step of that text.
        """
        found = _probes(self.path / "probes.jsonl").read()
        # All records must have the same rows, or a chart could not join them by a line.
        rows = [_rows(record) for record in found[:1]]
        by_step = {record["step"]: record for record in found if [_rows(record)] == rows}
        told = {event["step"] for event in self.events("probe")}
        return _with_texts(by_step[step] for step in sorted(by_step) if not told or step in told)

    def samples(self) -> list[JsonObject]:
        """Return the generated texts and answer tokens. `when` is before, after or retrained."""
        found = _samples(self.path / "samples.jsonl").read()
        keyed = {(s["when"], s["role"], s["index"]): s for s in found}
        return list(keyed.values())

    def results(self) -> JsonObject:
        """Return the content of results.json, which is empty until the run has ended well."""
        return _results(self.path / "results.json")

    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return {"before" | "after" | "retrained": {role: {metric: value}}} as far as the scores exist."""
        return {event["when"]: event["scores"] for event in self.events("eval")}

    def intervals(self) -> dict[str, dict[str, dict[str, list[float]]]]:
        """Return {when: {role: {metric: [low, high]}}}, the 95 % intervals of scores() over their texts. Runs of
        older versions have none.
        """
        return {event["when"]: event["intervals"] for event in self.events("eval") if event.get("intervals")}

    def counted(self, role: str, metric: str) -> int:
        """Return how many texts a score counts: all that the role was scored on, or those that the metric applies to.
        Runs of older versions have not kept the latter.
        """
        last = {event["when"]: event for event in self.events("eval")}
        found: JsonObject = next(
            (event for event in last.values() if role in event["scores"]), {"scores": {role: {}}}
        )
        most = int(found["scores"][role].get("n", 0))
        return int(found.get("counts", {}).get(role, {}).get(metric, most))

    def by_format(self) -> dict[str, dict[str, JsonObject]]:
        """Return {when: {role: {prompt format: what its answers came to}}} of a chat model."""
        return {event["when"]: event["by_format"] for event in self.events("eval") if event.get("by_format")}

    def scores_by_format(self) -> dict[str, dict[str, JsonObject]]:
        """The scores with the roles' numbers in each format beside the metrics, as `--json` and results.json say it."""
        told = self.by_format()
        return {
            when: {
                role: values | ({"by_format": more} if (more := told.get(when, {}).get(role)) else {})
                for role, values in roles.items()
            }
            for when, roles in self.scores().items()
        }

    def ended(self) -> JsonObject:
        """Return what ended the training of a run with a stop rule. It is empty for a run without one."""
        return {k: v for k, v in (self.events("end")[-1:] or [{}])[0].items() if k not in ("kind", "time")}

    def checkpoint_step(self) -> int:
        """Return the step of the run's checkpoint, or 0 where no checkpoint can be read."""
        folder = self.path / "checkpoint"
        state = read_json(folder / "state.json")
        # Of several processes each writes a file of its own, and a folder holds them.
        name = Path(str(state.get("file") or state.get("folder") or "")).name
        step = state.get("step", 0)
        return step if count(step) and name and (folder / name).exists() else 0

    def has_checkpoint(self) -> bool:
        """Return whether the run has a checkpoint that a resume can start from."""
        return self.checkpoint_step() > 0


class RunStore:
    """A store holds all runs under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def create(self, config: RunConfig, *, owner: str = "", title: str = "", **meta: object) -> Run:
        """Make and return a new run in state queued. Errors: OSError when the folder cannot be written.

        meta: further facts of meta.json, such as the study that the run belongs to.
        """

        def fill(folder: Path) -> None:
            run = Run(folder)
            run.set_meta(owner=owner, title=title or config.title, **meta)
            run.append("state", state="queued")
            write_json(folder / "config.json", records.config_file(config))

        return Run(new_folder(self.root, config.method, fill))

    def summaries(self) -> list[Summary]:
        """Return what lists show of every run, newest first. Only runs that changed are read again."""
        found = index_of(self.root).summaries()
        return found if self.root.is_absolute() else [k.at(self.root / k.id) for k in found]

    def list(self) -> list[Run]:
        """Return every run, newest first. A folder whose config cannot be read is passed over."""
        return [Run(known.path) for known in self.summaries()]

    def passed_over(self) -> dict[str, str]:
        """Return {run id: reason} for the folders that the last list left out because their settings cannot
        be read.
        """
        return index_of(self.root).passed_over()

    def get(self, run_id: str) -> Run:
        """Return the run with this id. ValueError when the store has no such run; an id is a name and never a
        path.
        """
        if not is_run_id(run_id) or not (self.root / run_id / "config.json").is_file():
            raise ValueError(
                f"run: no run {str(run_id)[:80]!r} in {self.root}; `python -m unlearn runs` lists them."
            )
        return Run(self.root / run_id)

    def delete(self, run: Record) -> None:
        """Delete the folder of a run or study. ValueError while it is queued or running, and for a folder
        that is not in this store.
        """
        if not is_run_id(run.id) or not run.path.absolute().is_relative_to(self.root.absolute()):
            raise ValueError(f"run: {run.path} is no run of {self.root}; nothing was deleted.")
        if run.state in ACTIVE:
            raise ValueError(f"run: {run.id} is {run.state}; stop it before deleting it.")
        shutil.rmtree(run.path)


def index_of(root: Path) -> Index:
    """Return the index of the runs under root. Each process has one for each root, so that all callers share
    what it has read.
    """
    return _index_at(Path(os.path.abspath(root)))


# The cache counts stores and not runs. A server has two.
@lru_cache(maxsize=32)
def _index_at(root: Path) -> Index:
    return Index(root, _summary)


def _summary(path: Path) -> Summary:
    """Out of the run's files. OSError or ValueError where its settings cannot be read."""
    run = Run(path)
    config, meta, results = run.config, run.meta, run.results()
    events, states = run.events(), run.events("state")
    last = states[-1] if states else {"state": "interrupted"}
    lasted = events[-1]["time"] - events[0]["time"] if events else None
    data = config.data.get("name") or config.data.get("forget") or config.data.get("hub") or "own rows"
    return Summary(
        path=path,
        last=last["state"],
        reason=last.get("reason", ""),
        title=meta.get("title", ""),
        sweep=str(meta.get("sweep") or ""),
        sequence=str(meta.get("sequence") or ""),
        method=config.method,
        model=config.model,
        data=str(data),
        method_title=results.get("method_title", ""),
        data_title=results.get("data_title", ""),
        model_hash=results.get("model_hash", ""),
        data_hash=results.get("data_hash", ""),
        seconds=results.get("seconds", lasted),
        scores=run.scores(),
        answered=(path / "samples.jsonl").is_file(),
        prompt=config.prompt,
        intervals=_told(run.intervals()),
        by_format={
            w: {"forget": roles["forget"]} for w, roles in run.by_format().items() if "forget" in roles
        },
        attacked=records.attacked(records.read_attacks(path / "attacks.json")),
        repeats=records.repeats(path / "metrics.json"),
        start=config.start,
    )


def _told(
    around: dict[str, dict[str, dict[str, list[float]]]],
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """What a verdict needs of a run's intervals; all of them would make the index three times as long."""
    return {
        when: {
            role: {name: one for name, one in roles[role].items() if name in ("exact", "accuracy")}
            for role in ("forget", "retain", "approximate")
            if role in roles
        }
        for when, roles in around.items()
    }


def _config(path: Path) -> RunConfig:
    """OSError where there is none, ValueError for one that cannot be read."""
    status = path.stat()
    return _config_at(path, (status.st_ino, status.st_size, status.st_mtime_ns))


# A list of runs asks for the settings of each run.
@lru_cache(maxsize=1000)
def _config_at(path: Path, _: tuple[int, int, int]) -> RunConfig:
    return records.read_config(path)


def _meta(path: Path) -> JsonObject:
    return _kept(path, records.read_meta)


def _results(path: Path) -> JsonObject:
    return _kept(path, records.read_results)


def _kept(path: Path, read: Callable[[Path], Mapping[str, object]]) -> JsonObject:
    """A small file that is only ever replaced as a whole, read again when it was; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return {}
    return dict(_kept_at(path, read, (status.st_ino, status.st_size, status.st_mtime_ns)))


@lru_cache(maxsize=1000)
def _kept_at(path: Path, read: Callable[[Path], JsonObject], _: tuple[int, int, int]) -> JsonObject:
    return read(path)


@lru_cache(maxsize=64)
def _events(path: Path) -> Tail:
    """The events of a file by kind, all under None, without what a resume did again."""
    return Tail(path, _redone, none={})


# Events of a step, which a resume before that step writes again.
REDONE = ("step", "probe", "watch", "end")
Events = dict[str | None, list[JsonObject]]


def _redone(known: Events, new: Iterator[JsonObject]) -> Events:
    kept = {kind: list(events) for kind, events in known.items()}
    for event in records.good_events(new):
        if (redo := event.get("resumed_from")) is not None:
            for kind, events in kept.items():
                kept[kind] = [e for e in events if e.get("kind") not in REDONE or e.get("step", 0) <= redo]
        for kind in (None, event["kind"]):
            kept.setdefault(kind, []).append(event)
    return kept


def _with_texts(records: Iterable[JsonObject]) -> list[JsonObject]:
    found: list[JsonObject] = []
    texts: dict[int, JsonObject] = {}
    for record in records:
        items = []
        for place, item in enumerate(record["items"]):
            if "text" in item:
                texts[place] = {"text": item["text"], "said": record["step"]}
            items.append(item | texts.get(place, {"text": "", "said": record["step"]}))
        found.append(record | {"items": items})
    return found


# Only few are kept, because each takes megabytes.
@lru_cache(maxsize=16)
def _probes(path: Path) -> Tail:
    """Probes as they were written."""
    return Tail(path, lambda kept, new: [*kept, *records.good_probes(new)])


@lru_cache(maxsize=16)
def _samples(path: Path) -> Tail:
    """Samples as they were written."""
    return Tail(path, lambda kept, new: [*kept, *records.good_samples(new)])


def _rows(record: JsonObject) -> list[tuple[str, int]]:
    return [(item["role"], item["index"]) for item in record["items"]]
