"""JSON on disk so that a crash at any moment spoils nothing that was finished.

Events are lines, each written in one call and read only when complete; everything else is written beside its place
and renamed into it.
"""

import contextlib
import json
import math
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def append_line(path: Path, value: Mapping[str, Any]) -> None:
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


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Complete, well-formed lines only."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    for line in text[: text.rfind(b"\n") + 1].split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(value := json.loads(line), dict):
                yield value


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all: written beside, then renamed."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        scratch.write_text(
            json.dumps(plain(value), ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8"
        )
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


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
