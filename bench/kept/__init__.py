"""What a start says of bundled rows before a run, as it comes with the product (assets/results/kept).

A user's run is carried out as always, and each value that is kept by content on the way and is of the start is copied,
with the commit and the command that made it: bench.kept for SmolLM2 and the capitals, bench.tofu.ship for TOFU.
"""

import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unlearn.measure import score_cache
from unlearn.store import content
from unlearn.store.disk import read_json, write_json

# The file that says of each value how it was made.
ORIGINS = "origins.json"


def noted(models: Iterable[str]) -> dict[Path, Mapping[str, Any]]:
    """Return an object that will hold {file: what it depends on} of all values that are asked for of these models."""
    files: dict[Path, Mapping[str, Any]] = {}
    place, wanted = content.place, frozenset(models)

    def noting(folder: Path, identity: Mapping[str, Any], digits: int = content.DIGITS) -> Path:
        path = place(folder, identity, digits)
        if identity.get("model") in wanted:
            files[path] = identity
        return path

    # This process does nothing else, and the product needs no such door.
    content.place = noting
    return files


def ship(files: Mapping[Path, Mapping[str, Any]], out: Path, top: Mapping[str, Any]) -> int:
    """Copy those of the values that were kept to the folder, with their origin, and return how many bytes they take."""
    out.mkdir(parents=True, exist_ok=True)
    names, origins, written = read_json(out / score_cache.NAMES), read_json(out / ORIGINS), 0
    for path, identity in sorted(files.items()):
        if path.is_file():
            # No name and no time in the file: the same values are the same bytes.
            packed = gzip.compress(path.read_bytes(), 9, mtime=0)
            (out / f"{path.name}.gz").write_bytes(packed)
            names[path.stem], origins[path.stem] = dict(identity), dict(top)
            written += len(packed)
    for name, known in ((score_cache.NAMES, names), (ORIGINS, origins)):
        write_json(out / name, {stem: known[stem] for stem in sorted(known)})
    return written
