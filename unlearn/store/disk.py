"""JSON on disk so that a crash at any moment spoils nothing that was finished.

Events are lines, each written in one call and read only when complete; everything else is written beside its place
and renamed into it.
"""

import contextlib
import json
import math
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from unlearn.store import environment
from unlearn.store.shapes import JsonObject

RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[A-Za-z0-9][A-Za-z0-9_-]{0,99}-[0-9a-f]{4}")


def is_run_id(name: object) -> bool:
    """Whether this is the name of a run's or a study's folder as new_folder() makes them: no path, no other folder."""
    return isinstance(name, str) and RUN_ID.fullmatch(name) is not None


def cache_dir() -> Path:
    """Where models are kept: UNLEARN_CACHE, otherwise ~/.cache/unlearn-studio."""
    return environment.CACHE.path(Path.home() / ".cache" / "unlearn-studio")


def append_line(path: Path, value: Mapping[str, object]) -> None:
    """One JSON line in one write; a line torn by a crash is closed first, so that it spoils only itself."""
    line = (json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n").encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        while line:
            line = line[os.write(descriptor, line) :]
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> Iterator[JsonObject]:
    """Complete, well-formed lines only."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    yield from parsed(text[: text.rfind(b"\n") + 1])


def parsed(text: bytes) -> Iterator[JsonObject]:
    """The objects among these lines; what is none is passed over."""
    for line in text.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(value := json.loads(line), dict):
                yield value


class Tail:
    """read_lines of a file that grows, each line parsed once: pages ask for a run's events several times a second.

    join: takes what is kept so far and the new lines, and returns what is kept from now on, without changing what it
    was given; none is what is kept of no lines. A file that is not the one before with something added is read from
    its start. read() may be called from any thread.
    """

    # Bytes before the end of what was read, looked at again before going on from there.
    SEAM = 64

    def __init__(self, path: Path, join: Callable[[Any, Iterator[JsonObject]], Any], none: Any = ()) -> None:
        self.path, self._join, self._none, self._lock = path, join, none, threading.Lock()
        self._start_anew()

    def _start_anew(self) -> None:
        self._seen: tuple[int, int, int] | None = None
        self._end, self._seam, self._kept = 0, b"", self._none

    def read(self) -> Any:
        """What is kept of all complete lines; look, do not change. Of no lines where there is no file."""
        with self._lock, contextlib.ExitStack() as stack:
            try:
                status = self.path.stat()
                now = (status.st_ino, status.st_size, status.st_mtime_ns)
                if now == self._seen:
                    return self._kept
                file = stack.enter_context(self.path.open("rb"))
            except OSError:
                self._start_anew()
                return self._kept
            text = self._added(file)
            new = text[: text.rfind(b"\n") + 1]
            self._kept = self._join(self._kept, parsed(new))
            self._seen, self._end = now, self._end + len(new)
            self._seam = (self._seam + new)[-self.SEAM :]
            return self._kept

    def _added(self, file: Any) -> bytes:
        """What came after the lines that are known; everything where these are no longer there."""
        file.seek(self._end - len(self._seam))
        text = file.read()
        if text.startswith(self._seam) and (self._end == 0 or len(text) > len(self._seam)):
            return text[len(self._seam) :]
        self._start_anew()
        file.seek(0)
        return file.read()


def write_json(path: Path, value: object) -> None:
    """Whole or not at all: written beside, then renamed."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=1, allow_nan=False)
    write_whole(path, text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """The file has this content, or what it had before: written beside, then renamed."""
    with beside(path) as scratch:
        scratch.write_bytes(content)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A file to write in its place, which takes the place when the block ends well and is removed when not."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def new_folder(parent: Path, kind: str) -> Path:
    """Make and return parent/<time>-<kind>-<four hex digits>; names sort by time, and no two are the same."""
    while True:
        path = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}-{secrets.token_hex(2)}"
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path


def plain(value: Any) -> Any:
    """JSON-safe copy: a non-finite number becomes its name ("nan", "inf", "-inf"), never a silent null."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def read_json(path: Path) -> JsonObject:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
