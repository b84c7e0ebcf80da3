"""Functions that write JSON to the disk so that a crash at any moment damages no finished file.

Events are lines, each written in one call and read only when complete; everything else is written beside its place
and renamed into it.
"""

import contextlib
import errno
import json
import math
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from unlearn.store import environment
from unlearn.store.scratch import beside, folder_beside
from unlearn.store.shapes import JsonObject

# The beginning, after a dot, of the name of a folder that has not got its own yet.
NEW = "new"
RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[A-Za-z0-9][A-Za-z0-9_-]{0,99}-[0-9a-f]{4}")


def is_run_id(name: object) -> bool:
    """Return whether a value is a valid name for the folder of a run or study. Only names that new_folder()
    makes are valid, so that no name can lead to another folder.
    """
    return isinstance(name, str) and RUN_ID.fullmatch(name) is not None


def cache_dir() -> Path:
    """Return the folder for downloaded models: UNLEARN_CACHE, or ~/.cache/unlearn-studio without it."""
    return environment.CACHE.path(Path.home() / ".cache" / "unlearn-studio")


def append_line(path: Path, value: Mapping[str, object]) -> None:
    """Append one JSON line to the file in a single write. A line that a crash has cut is closed first, so
    that the new line stays readable.
    """
    append_lines(path, [value])


def append_lines(path: Path, values: Iterable[Mapping[str, object]]) -> None:
    """Append one JSON line a value to the file, all in a single write."""
    append_text(path, "".join(json_text(value) + "\n" for value in values).encode())


def append_text(path: Path, line: bytes) -> None:
    """Append whole lines to the file in a single write, as append_line() does."""
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
    """Return the complete and well-formed lines of the file."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    yield from parsed(text[: text.rfind(b"\n") + 1])


def parsed(text: bytes) -> Iterator[JsonObject]:
    """Return the JSON objects among these lines and skip every line that holds none."""
    for line in text.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(value := json.loads(line), dict):
                yield value


class Tail:
    """A reader of a growing file of JSON lines that parses each line only once. Pages ask for a run's events
    several times a second.

    join: takes the kept value and the new lines, and returns the next kept value without changing the given
    one. none: the kept value before the first line. A file that was replaced, and not only extended, is read
    from its start. read() may be called from any thread.
    """

    # The last bytes that were read. They are compared before reading goes on, to notice a replaced file.
    SEAM = 64

    def __init__(self, path: Path, join: Callable[[Any, Iterator[JsonObject]], Any], none: Any = ()) -> None:
        self.path, self._join, self._none, self._lock = path, join, none, threading.Lock()
        self._start_anew()

    def _start_anew(self) -> None:
        self._seen: tuple[int, int, int] | None = None
        self._end, self._seam, self._kept = 0, b"", self._none

    def read(self) -> Any:
        """Return what join() has made of all complete lines so far. Without a file it is what join() makes of
        no lines. The caller must not change it.
        """
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

    def _added(self, file: BinaryIO) -> bytes:
        """What came after the lines that are known; everything where these are no longer there."""
        file.seek(self._end - len(self._seam))
        text = file.read()
        if text.startswith(self._seam) and (self._end == 0 or len(text) > len(self._seam)):
            return text[len(self._seam) :]
        self._start_anew()
        file.seek(0)
        return file.read()


def write_json(path: Path, value: object, indent: int | None = 1) -> None:
    """Write a value as a JSON file, completely or not at all. The text goes to a second file, which is then
    renamed. indent: None for a file that nobody reads by eye, which is written several times as fast.
    """
    write_whole(path, json_text(value, indent).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write the content of a file, completely or not at all. The bytes go to a second file, which is then
    renamed.
    """
    with beside(path) as scratch:
        scratch.write_bytes(content)


def new_folder(parent: Path, kind: str, fill: Callable[[Path], None] = lambda folder: None) -> Path:
    """Make and return the folder parent/<time>-<kind>-<four hex digits>. The names sort by time, and each
    name is used once. OSError, saying which folder cannot be written, where that is so.

    fill: writes what stands in the folder from the start. It is given a folder that gets its name afterwards, so nobody
    ever sees half of it.
    """
    with writing_to(parent), folder_beside(parent, NEW) as scratch:
        fill(scratch)
        while True:
            path = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}-{secrets.token_hex(2)}"
            # Another process may have taken the name, and the rename then fails.
            with contextlib.suppress(FileExistsError):
                if not path.exists():
                    rename_new(scratch, path)
                    return path


@contextlib.contextmanager
def writing_to(store: Path) -> Iterator[None]:
    """Make the folder of a store where it is missing, and turn what goes wrong with it into a sentence: OSError that
    says which folder cannot be written, and what to do.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        # One that says it already, such as a full disk in words.
        if error.strerror is None:
            raise
        reason = OSError(
            f"runs: the folder {store} cannot be written ({error.strerror}); name another with --runs or UNLEARN_RUNS."
        )
        reason.errno = error.errno
        raise reason from error


def rename_new(folder: Path, name: Path) -> None:
    """Rename a folder. FileExistsError where another folder with content has the name."""
    try:
        folder.rename(name)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(error.errno, error.strerror, str(name)) from error
        raise


def json_text(value: object, indent: int | None = None) -> str:
    """Return the value as JSON. What JSON cannot hold is written as json_safe() says."""
    try:
        # Nearly every value is fine as it is; a walk through it takes several times as long as writing it.
        return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(json_safe(value), ensure_ascii=False, indent=indent, allow_nan=False)


def json_safe(value: Any) -> Any:
    """Return a copy that JSON can hold. A number that is not finite becomes its name ("nan", "inf", "-inf"),
    and never null.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [json_safe(item) for item in value]
    return value


def read_json(path: Path) -> JsonObject:
    """Return the JSON object in the file, or an empty one where the file is missing or cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
