"""Values kept by their content: a file's name is a hash of everything that its value depends on.

Scores, what a metric read, the outcomes of experiments and the trained stages of SISA are kept like this. A file that
cannot be read is as good as none, and a disk that is full fails nobody: the value is computed again the next time.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn.store.disk import write_json

DIGITS = 24


def name_of(identity: Mapping[str, object], digits: int = DIGITS) -> str:
    """Return the name of a value that depends on exactly these things, in whatever order they are named."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def place(folder: Path, identity: Mapping[str, object], digits: int = DIGITS) -> Path:
    """Return the JSON file for a value that depends on exactly these things."""
    return folder / f"{name_of(identity, digits)}.json"


def kept(path: Path) -> Any:
    """Return the plain JSON value that the file holds, or None where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None


def keep(path: Path, value: object, most: int = 0) -> None:
    """Write the value whole, and drop the oldest files of the folder beyond `most` (0: drop none).

    OSError where the disk refuses it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value, indent=None)
    if most:
        trim(path.parent, "*.json", files=most)


def trim(folder: Path, pattern: str, *, files: float = math.inf, size: float = math.inf) -> None:
    """Delete the oldest files of the folder beyond so many files, or beyond so many bytes in all."""
    newest = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for number, path in enumerate(newest, 1):
        size -= path.stat().st_size
        if number > files or size < 0:
            path.unlink()
