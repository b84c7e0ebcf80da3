"""Observations kept by content: the same model asked the same texts gives the same answers, so ask once.

A file a (weights hash, data hash, number format, versions) under the store's .cache folder, the oldest dropped
beyond KEEP. A key names everything that the numbers depend on; a file that cannot be read is ignored.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unlearn.metrics.base import Observation
from unlearn.runs import write_json

KEEP = 24
FORMAT = 2  # raise when observe() changes what it records


def read(store: Path, identity: Mapping[str, Any]) -> list[Observation] | None:
    """The observations of this identity, or None."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        rows = json.loads(_path(store, identity).read_text(encoding="utf-8"))
        return [Observation(**{**row, "tokens": tuple(row["tokens"])}) for row in rows]
    return None


def write(store: Path, identity: Mapping[str, Any], observations: Sequence[Observation]) -> None:
    """Keep them; a full disk is no reason to fail a run, and numbers that JSON has no word for are not kept."""
    if not all(math.isfinite(token["lp"]) for o in observations for token in o.tokens):
        return
    path = _path(store, identity)
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        write_json(path, [asdict(o) for o in observations])
        for old in sorted(path.parent.glob("*.json"), key=lambda p: p.stat().st_mtime)[:-KEEP]:
            old.unlink()


def _path(store: Path, identity: Mapping[str, Any]) -> Path:
    whole = {**identity, "format": FORMAT, "torch": version("torch"), "transformers": version("transformers")}
    name = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:24]
    return store / ".cache" / f"{name}.json"
