"""This module keeps observations by their content. The same model with the same texts gives the same answers,
so it is read once.

A file a (weights hash, data hash, number format, versions) under the store's .cache folder, the oldest dropped
beyond KEEP. A key names everything that the numbers depend on; a file that cannot be read is ignored.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar, cast

from unlearn.metrics.base import Observation
from unlearn.store.disk import write_json, write_whole
from unlearn.store.shapes import JsonView

KEEP = 24
# The most files of small values, which evaluations read beside the observations.
KEEP_VALUES = 400
# Raise this number when observe() changes what it records.
FORMAT = 6


def read(store: Path, identity: JsonView) -> list[Observation] | None:
    """Return the observations with this identity, or None without them."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        rows = json.loads(_path(store, identity).read_text(encoding="utf-8"))
        return [Observation(**{**row, "tokens": tuple(row["tokens"])}) for row in rows]
    return None


def write(store: Path, identity: Mapping[str, object], observations: Sequence[Observation]) -> None:
    """Keep the observations under this identity. A full disk does not fail the run, and numbers that JSON
    cannot hold are not kept.
    """
    if not all(math.isfinite(token["lp"]) for o in observations for token in o.tokens):
        return
    path = _path(store, identity)
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        write_json(path, [asdict(o) for o in observations])
        for old in sorted(path.parent.glob("*.json"), key=lambda p: p.stat().st_mtime)[:-KEEP]:
            old.unlink()


Value = TypeVar("Value")


def remember(store: Path, identity: Mapping[str, object], read: Callable[[], Value]) -> Value:
    """Return the kept value for this identity, or the result of read(), a plain JSON value. A value that is
    not finite is not kept.
    """
    path = _path(store, identity, "values")
    with contextlib.suppress(OSError, ValueError):
        return cast(Value, json.loads(path.read_text(encoding="utf-8")))
    value = read()
    with contextlib.suppress(OSError, ValueError):
        text = json.dumps(value, allow_nan=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
        for old in sorted(path.parent.glob("*.json"), key=lambda p: p.stat().st_mtime)[:-KEEP_VALUES]:
            old.unlink()
    return value


def _path(store: Path, identity: Mapping[str, object], folder: str = "") -> Path:
    whole = {**identity, "format": FORMAT, "torch": version("torch"), "transformers": version("transformers")}
    name = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:24]
    return store / ".cache" / folder / f"{name}.json"
