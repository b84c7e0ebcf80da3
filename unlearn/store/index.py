"""The index keeps what lists show of each run, so that a list of many runs opens few files. It is made from
the runs' files and holds nothing else.

A run is known by the size and time of its files; only what changed is read again, so a list of a thousand runs opens
as many files as one of ten. Of a run that has ended even the files are not looked at, as long as its folder has the
same time: every file that counts here is renamed into the folder, and a new state touches it. What was read is kept in
the store's .index.jsonl for the next process: a line a run, the last one counts, each with its checksum. A line has
two objects; the one with the scores is parsed when somebody asks for them. The file may be deleted, damaged or written
by several processes at once: what is not in it, or says otherwise than the run's files do, is read from the run.
Nothing here imports torch.
"""

import contextlib
import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

from unlearn.store.disk import is_run_id, json_safe, write_whole
from unlearn.store.locks import is_held
from unlearn.store.records import ACTIVE
from unlearn.store.shapes import JsonObject

FILE = ".index.jsonl"
# Raise this number when the meaning of a summary changes. Lines with an older number are not read.
FORMAT = 4
FILES = (
    *("config.json", "events.jsonl", "meta.json", "results.json", "samples.jsonl"),
    *("attacks.json", "metrics.json"),
)
# A store with fewer runs writes no index, because reading their files is as fast.
KEPT_FROM = 50
# An active run whose last event is older than this many seconds is written to the index too: it waits, or was
# killed.
SETTLED = 60.0
# A folder's time says nothing of a change in the same instant, so one younger than this many seconds is not relied on.
YOUNG = 2.0
# The number of ended runs whose files are looked at in each listing all the same, by turns: a person's editor may have
# written one in place.
BY_TURNS = 20

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """The facts about one run that lists and labels show.

    last: the last state that the run wrote; `state` checks whether it is still true. data: the dataset's name,
    file or hub id. scores: as Run.scores(). seconds: from start to end. answered: whether the run has samples.
    intervals, by_format: as those of Run, as far as a verdict needs them. attacked, repeats: as
    records.attacked() and records.repeats(). start: the run that it goes on from, or "". The titles and hashes
    come from its results and are empty before it has ended well. The object stays the same as long as the run's
    files do, so that what is made of it can be kept with it.
    """

    path: Path
    last: str
    reason: str
    title: str
    sweep: str
    sequence: str
    method: str
    model: str
    data: str
    method_title: str
    data_title: str
    model_hash: str
    data_hash: str
    seconds: float | None
    scores: dict[str, dict[str, dict[str, float]]]
    answered: bool
    prompt: str
    intervals: dict[str, dict[str, dict[str, list[float]]]]
    by_format: dict[str, dict[str, JsonObject]]
    attacked: str
    repeats: dict[str, float | str]
    start: str

    @classmethod
    def kept(cls, path: Path, told: Mapping[str, object], large: bytes) -> "Summary":
        """Return the summary that a line of the index holds. large: the fields of LARGE, not parsed yet."""
        found = cls.__new__(cls)
        found.__dict__.update({name: told[name] for name in SMALL}, path=path, _large=large)
        return found

    def at(self, path: Path) -> "Summary":
        """Return the same with another path to the run."""
        found = self.__class__.__new__(self.__class__)
        found.__dict__.update(self.__dict__, path=path)
        return found

    def __getattr__(self, name: str) -> object:
        """Parse the large fields of a line of the index when one of them is asked for first."""
        if name not in LARGE or "_large" not in self.__dict__:
            raise AttributeError(name)
        told = json.loads(self.__dict__["_large"])
        self.__dict__.update({field: told[field] for field in LARGE})
        del self.__dict__["_large"]
        return self.__dict__[name]

    @cached_property
    def id(self) -> str:
        """Return the name of the run's folder, which identifies the run."""
        return self.path.name

    @property
    def state(self) -> str:
        """Return the run's state, one of records.STATES. It is true even after kill -9."""
        held = self.last not in ACTIVE or is_held(self.path)
        return self.last if held else "interrupted"


@dataclass(frozen=True)
class Known:
    """A run as it was when its files had this stamp. It holds a reason instead of a summary where the
    settings could not be read. folder: inode and time of the folder where these alone tell of every change, else None.
    """

    stamp: Stamp
    summary: Summary | None
    reason: str = ""
    folder: tuple[int, int] | None = None


class Index:
    """The summaries of all runs under root, read again only when a run's files change.

    describe(folder) reads one run. It raises OSError or ValueError where the folder is no run. Any thread may
    call the methods.
    """

    def __init__(self, root: Path, describe: Callable[[Path], Summary]) -> None:
        self.root, self._describe = root, describe
        self._lock = threading.Lock()
        self._known: dict[str, Known] = {}
        # The number of lines in the index file, or -1 before the file was read.
        self._lines = -1
        # The place in the list from which on files are looked at by turns.
        self._turn = 0

    def summaries(self) -> list[Summary]:
        """Return the summaries of all runs, newest first."""
        known = self._refreshed()
        found = (known[name].summary for name in sorted(known, reverse=True))
        return [summary for summary in found if summary]

    def passed_over(self) -> dict[str, str]:
        """Return {run id: reason} for the folders whose settings could not be read at the last listing."""
        return {name: known.reason for name, known in self._known.items() if known.summary is None}

    def of(self, folder: Path) -> Summary:
        """Return the summary of one run. ValueError where its settings cannot be read."""
        stamp, known = stamp_of(str(folder)), self._known.get(folder.name)
        if known is None or known.stamp != stamp:
            known = self._read(folder, stamp)
            with self._lock:
                self._known[folder.name] = known
        if known.summary is None:
            raise ValueError(known.reason)
        return known.summary if known.summary.path == folder else known.summary.at(folder)

    def _refreshed(self) -> dict[str, Known]:
        with self._lock:
            if self._lines < 0:
                self._known, self._lines = self._kept()
            found, fresh = {}, []
            folders = list(self._folders())
            turn = range(self._turn, self._turn + BY_TURNS)
            self._turn = turn.stop if turn.stop < len(folders) else 0
            for place, (name, path) in enumerate(folders):
                known, folder = self._known.get(name), folder_of(path)
                if known is not None and folder == known.folder and folder and place not in turn:
                    found[name] = known
                    continue
                looked = time.time()
                stamp = stamp_of(path)
                if known is None or known.stamp != stamp:
                    # The run has no settings yet, because it is being made now.
                    if not stamp[0][1]:
                        continue
                    known = self._read(Path(path), stamp)
                    fresh.append(name)
                found[name] = replace(known, folder=folder if _ended(known, folder, looked) else None)
            self._known = found
            self._keep(fresh)
            return found

    def _folders(self) -> Iterator[tuple[str, str]]:
        try:
            with os.scandir(self.root) as entries:
                yield from [(entry.name, entry.path) for entry in entries if is_run_id(entry.name)]
        except OSError:
            return

    def _read(self, folder: Path, stamp: Stamp) -> Known:
        try:
            return Known(stamp, self._describe(folder))
        except (OSError, ValueError) as error:
            return Known(stamp, None, str(error))

    # The methods below read and write the index file for the next process.

    def _kept(self) -> tuple[dict[str, Known], int]:
        """(what the file says, its lines); lines that are damaged or of another format are passed over."""
        known = {}
        try:
            lines = (self.root / FILE).read_bytes().split(b"\n")
        except OSError:
            return {}, 0
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                checksum, _, text = line.partition(b" ")
                small, _, large = text.partition(b"\t")
                if int(checksum, 16) == zlib.crc32(text) and (found := json.loads(small))["format"] == FORMAT:
                    stamp = tuple(tuple(part) for part in found["stamp"])
                    summary = Summary.kept(self.root / found["id"], found["run"], large)
                    known[found["id"]] = Known(stamp, summary)
        return known, len(lines) - 1

    def _keep(self, names: list[str]) -> None:
        """Add what was read anew and does not change any more; write the file anew when half of it is of no use."""
        if len(self._known) < KEPT_FROM or not names:
            return
        every = self._lines + len(names) > 2 * len(self._known)
        lines = [line for name in (self._known if every else names) if (line := self._line(name))]
        with contextlib.suppress(OSError):
            if every:
                write_whole(self.root / FILE, b"".join(lines))
            elif lines:
                append(self.root / FILE, b"".join(lines))
            self._lines = len(lines) + (0 if every else self._lines)

    def _line(self, name: str) -> bytes:
        """A run's line; empty for one that is still at work or cannot be read."""
        known = self._known[name]
        changed = known.stamp[FILES.index("events.jsonl")][2] / 1e9
        if known.summary is None or (known.summary.last in ACTIVE and time.time() - changed < SETTLED):
            return b""
        small, large = ({name: getattr(known.summary, name) for name in names} for names in (SMALL, LARGE))
        value = {"format": FORMAT, "id": name, "stamp": known.stamp, "run": small}
        # A tab stands in no JSON text, where it is written as \\t.
        text = b"\t".join(json.dumps(json_safe(part), ensure_ascii=True).encode() for part in (value, large))
        return b"%08x %s\n" % (zlib.crc32(text), text)


# The fields that are as long as all others together, and those.
LARGE = ("scores", "intervals", "by_format")
SMALL = tuple(field.name for field in fields(Summary) if field.name not in ("path", *LARGE))


def folder_of(path: str) -> tuple[int, int] | None:
    """Return inode and time of a folder, or None where it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _ended(known: Known, folder: tuple[int, int] | None, looked: float) -> bool:
    """Whether the folder's time, taken before its files were looked at, tells of every change from now on."""
    ended = known.summary is not None and known.summary.last not in ACTIVE
    return ended and folder is not None and folder[1] / 1e9 < looked - YOUNG


def stamp_of(folder: str) -> Stamp:
    """Return a stamp that differs when one of the run's files has changed. It holds the inode, size and time
    of each file, and zeros for a missing file.
    """
    found = []
    for name in FILES:
        try:
            status = os.stat(f"{folder}/{name}")
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)


def append(path: Path, content: bytes) -> None:
    """Append the content to a file in one write, so that two processes do not mix their lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
