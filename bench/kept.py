"""Writes what SmolLM2 says of the bundled capitals before a run, as it comes with the product.

    python -m bench.kept                       as a LoRA run reads it and as one of every weight does, some 2 minutes

A user's run of one epoch is carried out as always. Each value that is kept by content on the way and is of the start
alone is copied to assets/results/kept, with the commit and the command that made it (ORIGINS). Expected before
measuring: under 200 kB; a first run in a store as fast as a second (6 s less on two cores).
"""

import argparse
import gzip
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.defaults import carry_out, default_config
from bench.record import header
from unlearn.measure import score_cache
from unlearn.models import smollm2
from unlearn.models.load import weights_hash
from unlearn.store import content
from unlearn.store.disk import read_json, write_json
from unlearn.store.runs import RunStore

MODEL, METHOD = "smollm2", "undial"
TUNINGS = ("lora", "full")
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


def main() -> None:
    """Carry out a run of each tuning, and copy what was kept of its start."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--tunings", nargs="+", default=list(TUNINGS), choices=TUNINGS)
    options.add_argument("--out", type=Path, default=score_cache.SHIPPED)
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    top = header(args.allow_dirty)
    files = noted({weights_hash(smollm2.path(), None)})
    with tempfile.TemporaryDirectory() as folder:
        # What ships already would be taken for what is read now.
        score_cache.SHIPPED = Path(folder) / "none"
        for tuning in args.tunings:
            config = replace(default_config(MODEL, METHOD, 0), tuning=tuning, epochs=1, probes=0)
            run, _ = carry_out(RunStore(Path(folder)), config)
            if run.state != "done":
                raise SystemExit(f"the run ended {run.state}: {run.reason}")
        print(f"{ship(files, args.out, top):,} bytes in {args.out}")


if __name__ == "__main__":
    main()
