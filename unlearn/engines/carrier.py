"""Carries records out on another machine, in a store of its own, and tells what changes there.

No disk is shared. What a record needs is put() here, begin() carries it out in a thread, news() tells the new lines of
its logs and which other files there are, and read() hands these over. Whoever asks keeps the copy: a carrier whose
machine is lost takes nothing with it that was told before. Nothing here imports torch before a record does.
"""

import contextlib
import gc
import importlib
import os
import platform
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

import unlearn
from unlearn.engines.folders import OwnFolder, SharedFolder, Stamp, inside, stamps
from unlearn.store.disk import cache_dir, read_json, write_json
from unlearn.store.runs import Record
from unlearn.store.shapes import JsonObject
from unlearn.store.upkeep import CACHE

# Files that only grow, and whose lines are told as they come.
LOGS = ("events.jsonl", "probes.jsonl", "samples.jsonl")
# The most bytes of one log in one answer, and the seconds between two looks at the folder.
MOST, LOOK = 2**22, 0.1
# Models hold themselves in circles, which are looked for after a record, but for at most this share of the time.
SWEEPING = 0.1
# The seconds that a carrier which leaves waits for its record to stop.
LEAVING = 10.0
# What must be the same on all machines of a study, beside Python's own version.
PACKAGES = ("torch", "transformers", "peft", "safetensors", "tokenizers")
# A person who starts an engine may read every folder of its machines, as on the command line.
EVERYWHERE = [Path("/")]

# The folder of the cache with models that were sent, and the files that name them.
SENT, SETTINGS = "sent", ("config.json", "sequence.json")


class Carrier:
    """One place of one machine, which carries out one record at a time.

    key: the place in its store of the record that it has, or "". called: when somebody last asked something.
    session: carriers of one machine that name it alike keep together what models said of rows.
    """

    def __init__(self, session: str = "") -> None:
        self.key = ""
        self.session = session
        self.called = time.monotonic()
        self.models: dict[str, str] = {}
        self._root: Path | None = None
        self._own: OwnFolder | None = None
        self._said: SharedFolder | None = None
        self._stop, self._ended = threading.Event(), threading.Event()
        self._working: threading.Thread | None = None
        self._progress: tuple[str, float] = ("", 0.0)
        self._told: object = None
        # When circles were looked for last, and the seconds that it took.
        self._swept: tuple[float, float] = (0.0, 0.0)
        # The files as they were sent, which nobody needs to have back.
        self._sent: dict[str, Stamp] = {}

    def about(self) -> JsonObject:
        """Return {"node", "pid", "key", "models", "versions"}: which machine this is, what it does, what it has."""
        self.called = time.monotonic()
        return {"node": socket.gethostname(), "pid": os.getpid(), "key": self.key, "models": self.models} | {
            "versions": versions()
        }

    def put(self, files: Mapping[str, bytes]) -> None:
        """Add bytes to the ends of these files of the store here. Each begins empty for a new record."""
        self.called = time.monotonic()
        root = self._folder()
        for name, content in files.items():
            path = inside(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(content)

    def folder(self, digest: str) -> str:
        """Return the path of a model's folder that was sent to this machine before, or "" where it was not."""
        self.called = time.monotonic()
        path = cache_dir() / SENT / digest
        return str(path) if path.is_dir() else ""

    def put_folder(self, digest: str, files: Mapping[str, bytes], last: bool) -> None:
        """Add bytes to the ends of these files of a model's folder, which is whole with the last of them."""
        self.called = time.monotonic()
        path = cache_dir() / SENT / digest
        scratch = path.with_name(f".{digest}.{os.getpid()}")
        for name, content in files.items():
            file = inside(scratch, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab") as there:
                there.write(content)
        if last:
            # Another carrier of this machine may have been quicker.
            with contextlib.suppress(OSError):
                os.replace(scratch, path)
            shutil.rmtree(scratch, ignore_errors=True)

    def begin(
        self,
        name: str,
        kind: str,
        perform: str,
        files: Mapping[str, bytes],
        options: Mapping[str, object] | None = None,
        models: Mapping[str, str] | None = None,
    ) -> None:
        """Carry out the record at this place of the store, in a thread, once these last files are there.

        kind: its class, perform: the function, both as "module:name" within unlearn. options: more that perform takes.
        models: {a model's folder as the settings name it: its place here}.
        """
        self.put(files)
        self.models = dict(models or {})
        for path in self._folder().rglob("*.json") if self.models else ():
            if path.name in SETTINGS:
                _rename_models(path, self.models)
        record: Record = named(kind)(inside(self._folder(), name))
        self.key, self._progress = name, ("", 0.0)
        self._told = (False, {}, self._progress)
        self._sent = dict(stamps(self._folder()))
        self._stop.clear()
        self._ended.clear()
        self._working = threading.Thread(
            target=self._work,
            args=(record, partial(named(perform), **(options or {}))),
            name="unlearn-carrier",
            daemon=True,
        )
        self._working.start()

    def _work(self, record: Record, perform: Callable[..., object]) -> None:
        try:
            with record.held():
                perform(record, should_stop=self._stop.is_set, on_progress=self._note, roots=EVERYWHERE)
        # Whatever a record does, its place is free for the next one.
        except BaseException as error:
            with contextlib.suppress(Exception):
                record.append("state", state="failed", reason=f"{type(error).__name__}: {error}")
        finally:
            # Whoever waits for the end need not wait for this.
            self._ended.set()
            self._sweep()

    def _sweep(self) -> None:
        began = time.monotonic()
        last, took = self._swept
        if SWEEPING * (began - last) >= took:
            gc.collect()
            self._swept = (time.monotonic(), time.monotonic() - began)

    def _note(self, phase: str, fraction: float) -> None:
        self._progress = (phase, min(1.0, fraction))

    def news(self, cursors: Mapping[str, int], seconds: float = 0.0) -> JsonObject:
        """Return {"ended", "progress", "lines": {log: (next cursor, bytes)}, "files": {name: stamp}}.

        lines: what came since the cursor, or since the log was sent. files: those that are not as they were sent. What
        `lines` tells was written before `files` was looked at. It waits up to so many seconds for something new.
        """
        until = time.monotonic() + seconds
        while True:
            self.called = time.monotonic()
            ended = self._ended.is_set()
            lines = dict(self._lines(cursors))
            files = {n: stamp for n, stamp in stamps(self._folder()) if self._sent.get(n) != stamp}
            now = (ended, files, self._progress)
            if ended or lines or now != self._told or self.called >= until:
                self._told = now
                return {"ended": ended, "progress": self._progress, "lines": lines, "files": files}
            self._ended.wait(LOOK)

    def _lines(self, cursors: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, bytes]]]:
        for name, (size, _) in stamps(self._folder()):
            begin = cursors.get(name, self._sent.get(name, (0, 0))[0])
            if is_log(name) and size > begin:
                with inside(self._folder(), name).open("rb") as file:
                    file.seek(begin)
                    text = file.read(MOST)
                # A line longer than MOST would never end; no event is.
                if whole := text[: text.rfind(b"\n") + 1]:
                    yield name, (begin + len(whole), whole)

    def read(self, name: str, offset: int, size: int) -> tuple[Stamp, bytes] | None:
        """Return (the file's stamp, so many of its bytes), or None where it is gone."""
        self.called = time.monotonic()
        try:
            with inside(self._folder(), name).open("rb") as file:
                status = os.fstat(file.fileno())
                file.seek(offset)
                return (status.st_size, status.st_mtime_ns), file.read(size)
        except OSError:
            return None

    def stop(self) -> None:
        """Ask for the end of the record. It ends within one step."""
        self._stop.set()

    def end(self) -> None:
        """Forget the record, whose files were read, and be free for the next one."""
        self.called = time.monotonic()
        own, self._own, self._root, self.key = self._own, None, None, ""
        if own is not None:
            own.remove()

    def leave(self) -> None:
        """Leave nothing behind on this machine but the models, and be no carrier any more."""
        self._stop.set()
        if self._working is not None:
            # Whoever still writes into a folder that is being removed brings it back.
            self._working.join(LEAVING)
        self.end()
        if self._said is not None:
            self._said.remove()

    def _folder(self) -> Path:
        if self._root is None:
            self._own = OwnFolder()
            self._root = self._own.path / "runs"
            self._root.mkdir()
            # What a model said of rows serves the next records too, and those of other carriers of this machine. It has
            # their texts, so it goes with the last of them.
            if self._said is None:
                self._said = SharedFolder(f"said-{self.session}") if self.session else OwnFolder()
            (self._root / CACHE).symlink_to(self._said.path)
        return self._root


def _rename_models(path: Path, models: Mapping[str, str]) -> None:
    """Let the settings of a run or a sequence name the folders of this machine."""
    asked = read_json(path)
    for settings in (asked, asked.get("run")):
        if isinstance(settings, dict):
            for key in ("model", "retrained"):
                if settings.get(key) in models:
                    settings[key] = models[settings[key]]
                    write_json(path, asked)


def versions() -> dict[str, str]:
    """Return {"unlearn-studio" | "python" | package: version} of this process. One that is missing says so."""
    told = {"unlearn-studio": unlearn.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            told[name] = "missing"
    return told


def differing(mine: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Return a sentence part on the first package whose version differs, or "" where all are the same."""
    for name, value in mine.items():
        if (other := theirs.get(name, "missing")) != value:
            return f"{name} {other}, and this machine {value}"
    return ""


def is_log(name: str) -> bool:
    """Return whether a file's lines are told as they come."""
    return PurePosixPath(name).name in LOGS


def named(text: str) -> Any:
    """Return what "module:name" means, for modules of this package. ValueError for another one's."""
    module, _, name = text.partition(":")
    if not module.startswith("unlearn."):
        raise ValueError(f"carrier: {text[:100]!r} is not of this package.")
    return getattr(importlib.import_module(module), name)


def name_of(thing: Callable[..., object]) -> str:
    """Return "module:name" of a class or function of this package, which named() reads."""
    return f"{thing.__module__}:{thing.__qualname__}"
