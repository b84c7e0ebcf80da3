"""This module keeps observations by their content. The same model with the same texts gives the same answers,
so it is read once.

A file a (weights hash, data hash, number format, versions) under the store's .cache folder, the oldest dropped
beyond KEEP. A key names everything that the numbers depend on; a file that cannot be read is ignored.

What a bundled benchmark asks of its start and of its exact retrain takes minutes and is the same for everybody, so
it comes with the product (SHIPPED, made by bench/tofu/ship.py) under the same names: other weights, rows, devices or
versions have another name, and are read anew.
"""

import contextlib
import gzip
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

from unlearn.metrics.base import Observation
from unlearn.store import content
from unlearn.store.home import ASSETS
from unlearn.store.shapes import JsonView

SHIPPED = ASSETS / "results" / "kept"
# The file beside them that says what each of them depends on.
NAMES = "names.json"
KEEP = 24
# The most files of small values, which evaluations read beside the observations.
KEEP_VALUES = 400
# Raise this number when observe() changes what it records, or a name comes to stand for something else: until 6 a
# retrained model was read in 32 bits under the name of a run in 16.
FORMAT = 7


def read(store: Path, identity: JsonView) -> list[Observation] | None:
    """Return the observations with this identity, or None without them."""
    path = _path(store, identity)
    with contextlib.suppress(TypeError, KeyError, AttributeError):
        found = [Observation(**{**row, "tokens": tuple(row["tokens"])}) for row in _kept(path)]
        with contextlib.suppress(OSError):
            # What is asked for again is dropped last: a search of a hundred runs begins from one model.
            os.utime(path)
        return found
    return None


def write(store: Path, identity: Mapping[str, object], observations: Sequence[Observation]) -> None:
    """Keep the observations under this identity. A full disk does not fail the run, and numbers that JSON
    cannot hold are not kept.
    """
    if not all(math.isfinite(token["lp"]) for o in observations for token in o.tokens):
        return
    with contextlib.suppress(OSError):
        # Its fields are plain JSON values already; dataclasses.asdict() copies each of them first.
        content.keep(_path(store, identity), [vars(o) for o in observations], KEEP)


Value = TypeVar("Value")


def remember(store: Path, identity: Mapping[str, object], read: Callable[[], Value]) -> Value:
    """Return the kept value for this identity, or the result of read(), a plain JSON value. A value that is
    not finite is not kept.
    """
    path = _path(store, identity, "values")
    if (found := _kept(path)) is not None:
        return cast(Value, found)
    value = read()
    with contextlib.suppress(OSError, ValueError):
        # Raises ValueError for what is not finite.
        json.dumps(value, allow_nan=False)
        content.keep(path, value, KEEP_VALUES)
    return value


def holds(store: Path, identity: Mapping[str, object]) -> bool:
    """Return whether remember() has a value for this identity."""
    return _kept(_path(store, identity, "values")) is not None


def _kept(path: Path) -> Any:
    """The value of the store, or else the one that comes with the product; None without both."""
    if (found := content.kept(path)) is not None:
        return found
    with contextlib.suppress(OSError, ValueError, EOFError):
        with gzip.open(SHIPPED / f"{path.name}.gz", "rt", encoding="utf-8") as file:
            return json.load(file)
    return None


def _path(store: Path, identity: Mapping[str, object], folder: str = "") -> Path:
    whole = {**identity, "format": FORMAT, "torch": version("torch"), "transformers": version("transformers")}
    return content.place(store / ".cache" / folder, whole)
