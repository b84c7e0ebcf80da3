"""Copies what a carrier writes into the folders of this machine's store, so that they read as if it were done here.

Logs grow line by line. A line that ends a record is kept back until every other file of its folder is here: whoever
reads "done" finds the weights, and a machine that is lost before that has not finished. Other files come whole or not
at all, a checkpoint's data before the state.json that names it.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from filelock import FileLock

from unlearn.engines.carrier import is_log
from unlearn.engines.folders import Stamp, inside
from unlearn.store.disk import append_text, is_run_id, json_text, write_whole
from unlearn.store.runs import ACTIVE, Record
from unlearn.store.shapes import JsonObject

# Bytes that are asked for in one call, and in one round, so that events keep coming while weights do.
PIECE, ROUND = 2**23, 2**26
# Files that belong to the machine where the record was made; only those of new records come back.
OURS = ("config.json", "meta.json")
CHECKPOINT = "checkpoint"
WEIGHTS = ("adapter", "model")
# Files in which the folder of a model may be named.
TEXTS = (".json", ".md")

Read = Callable[[str, int, int], "tuple[Stamp, bytes] | None"]


class Mirror:
    """The copy of one carrier's store under root. weights: whether those of its records are wanted here.

    models: {a model's folder as it is named here: its place there}, which no file here should name.
    """

    def __init__(self, root: Path, weights: bool = True, models: Mapping[str, str] | None = None) -> None:
        self.root, self.weights = root, weights
        self._names = {
            json_text(there)[1:-1].encode(): json_text(here)[1:-1].encode()
            for here, there in (models or {}).items()
        }
        # How far each log was read there.
        self.cursors: dict[str, int] = {}
        # Lines that are here already, of a log that is read from its beginning.
        self._known: dict[str, set[bytes]] = {}
        self._kept_back: dict[str, list[bytes]] = {}
        self._here: dict[str, Stamp] = {}
        self._parts: dict[str, Stamp] = {}
        self._locks: list[FileLock] = []
        self._over = False
        self._seen: set[str] = set()

    def take(self, news: JsonObject, read: Read) -> bool:
        """Bring here what the carrier's news tell of. Returns True when the record has ended and all of it is here.

        read: the carrier's method of that name.
        """
        files: Mapping[str, Stamp] = news["files"]
        self._over = bool(news["ended"])
        for name, (cursor, text) in news["lines"].items():
            self._add(name, text)
            self.cursors[name] = cursor
        left = self._fetch(files, read)
        self._release(left)
        for name in files:
            behind = is_log(name) and self.cursors.get(name, 0) < files[name][0]
            left |= {name} if behind else set()
        if self._over and not left:
            self._drop_checkpoints(files)
        return self._over and not left

    def close(self) -> None:
        """Let go of the records that came into being on the way."""
        for lock in self._locks:
            lock.release()

    def _path(self, name: str) -> Path:
        """The file's place here. A folder that is new is held, since somebody is at work in it."""
        path, top = inside(self.root, name), PurePosixPath(name).parts[0]
        if top not in self._seen:
            self._seen.add(top)
            if is_run_id(top) and not (self.root / top).is_dir():
                (self.root / top).mkdir()
                self._locks.append(Record(self.root / top).hold())
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _named_here(self, text: bytes) -> bytes:
        for there, here in self._names.items():
            text = text.replace(there, here)
        return text

    # -- logs ------------------------------------------------------------------------------------------------

    def _add(self, name: str, text: bytes) -> None:
        path, text = self._path(name), self._named_here(text)
        if name not in self.cursors:
            # An earlier process may have read a part of it.
            self._known[name] = set(path.read_bytes().splitlines()) if path.is_file() else set()
        known = self._known[name]
        fresh = [line for line in text.splitlines() if line not in known]
        back = self._kept_back.setdefault(name, [])
        for at, line in enumerate(fresh):
            if back or (path.name == "events.jsonl" and _ends(line)):
                back.extend(fresh[at:])
                fresh = fresh[:at]
                break
        self._write(path, fresh)

    def _write(self, path: Path, lines: list[bytes]) -> None:
        if lines:
            append_text(path, b"".join(line + b"\n" for line in lines))
            # The folder's time tells a list that the run has changed.
            os.utime(path.parent)

    def _release(self, left: set[str]) -> None:
        """Write the lines that were kept back where nothing of their folder is missing any more."""
        for name, lines in self._kept_back.items():
            folder = PurePosixPath(name).parent.as_posix() + "/"
            if lines and not any(other.startswith(folder) for other in left):
                self._write(self._path(name), lines)
                lines.clear()

    # -- other files -----------------------------------------------------------------------------------------

    def _fetch(self, files: Mapping[str, Stamp], read: Read) -> set[str]:
        """Bring files that are new or changed, up to ROUND bytes. Returns the names that are not here yet."""
        left = {
            name
            for name, stamp in files.items()
            if not is_log(name) and self._here.get(name) != tuple(stamp) and self._wanted(PurePosixPath(name))
        }
        budget = ROUND
        for name in sorted(left, key=lambda name: (_names_another(name), files[name][0])):
            folder = PurePosixPath(name).parent.as_posix() + "/"
            if self._unfinished(PurePosixPath(name)):
                continue
            if _names_another(name) and any(one.startswith(folder) for one in left - {name}):
                continue
            if budget > 0:
                budget -= (taken := self._bring(name, files[name], read))[0]
                left -= {name} if taken[1] else set()
        return left

    def _wanted(self, name: PurePosixPath) -> bool:
        return self.weights or name.parent.name not in WEIGHTS

    def _unfinished(self, name: PurePosixPath) -> bool:
        """Whether these are weights of a record that has not ended: they may still be written, or go elsewhere."""
        log = (name.parent.parent / "events.jsonl").as_posix()
        return name.parent.name in WEIGHTS and not self._over and not self._kept_back.get(log)

    def _bring(self, name: str, stamp: Stamp, read: Read) -> tuple[int, bool]:
        """Bring one file or its next pieces. Returns (bytes that came, whether it is here)."""
        path, stamp = self._path(name), (stamp[0], stamp[1])
        if path.name in OURS and path.is_file():
            self._here[name] = stamp
            return 0, True
        part = path.with_name(f".{path.name}.part")
        if self._parts.get(name) != stamp:
            part.unlink(missing_ok=True)
            self._parts[name] = stamp
        came = 0
        while True:
            offset = part.stat().st_size if part.is_file() else 0
            found = read(name, offset, PIECE)
            # Gone or replaced: the next news tell what there is instead.
            if found is None or tuple(found[0]) != stamp:
                part.unlink(missing_ok=True)
                return came, False
            came += len(found[1])
            if offset == 0 and len(found[1]) == stamp[0]:
                write_whole(path, self._named_here(found[1]) if path.suffix in TEXTS else found[1])
                break
            with part.open("ab") as file:
                file.write(found[1])
            if offset + len(found[1]) == stamp[0]:
                os.replace(part, path)
                break
            if came >= ROUND:
                return came, False
        self._here[name] = stamp
        if _names_another(name):
            self._drop_older(path)
        return came, True

    def _drop_older(self, state: Path) -> None:
        """Remove the data of checkpoints before the one that has just come."""
        with contextlib.suppress(ValueError, KeyError):
            current = json.loads(state.read_text(encoding="utf-8"))["file"]
            for old in state.parent.glob("step-*.safetensors"):
                if old.name != current:
                    old.unlink(missing_ok=True)

    def _drop_checkpoints(self, files: Mapping[str, Stamp]) -> None:
        """Remove the checkpoints of records that are done, which have none there any more either."""
        for folder in {PurePosixPath(name).parent for name in files if is_log(name)}:
            states = Record(self.root / folder).events("state")
            if states and states[-1]["state"] == "done":
                shutil.rmtree(self.root / folder / CHECKPOINT, ignore_errors=True)


def _names_another(name: str) -> bool:
    """Whether the file is the state.json of a checkpoint, which comes after the data that it names."""
    path = PurePosixPath(name)
    return path.name == "state.json" and path.parent.name == CHECKPOINT


def _ends(line: bytes) -> bool:
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return event.get("kind") == "state" and event.get("state") not in ACTIVE
