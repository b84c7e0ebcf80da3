"""Writes what the start and its exact retrain say to TOFU's questions, as it comes with the product.

    python -m bench.tofu.ship                  forget01: a run of one epoch and an evaluation, some 10 minutes
    python -m bench.tofu.ship --data tofu-forget10 --store FOLDER

A user's run is carried out and evaluated as always; each value that is kept by content on the way and belongs to the
start or to the retrain is copied to assets/results/kept. A store where they were kept before makes it quick.
"""

import argparse
import gzip
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.defaults import carry_out
from bench.tofu.rows import FIRST, MODEL, default_config, other_seed
from unlearn.measure import judge, score_cache
from unlearn.models.catalogue import CATALOGUE, exact_retrain
from unlearn.models.load import weights_hash
from unlearn.store import content
from unlearn.store.disk import cache_dir, read_json, write_json
from unlearn.store.runs import RunStore


def noted(models: set[str]) -> dict[Path, Mapping[str, Any]]:
    """Return an object that will hold {file: what it depends on} of all values that are asked for of these models."""
    files: dict[Path, Mapping[str, Any]] = {}
    place = content.place

    def noting(folder: Path, identity: Mapping[str, Any], digits: int = content.DIGITS) -> Path:
        path = place(folder, identity, digits)
        if identity.get("model") in models:
            files[path] = identity
        return path

    # This process does nothing else, and the product needs no such door.
    content.place = noting
    return files


def main() -> None:
    """Carry out the run and the evaluation, and copy what was kept."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--data", default=FIRST)
    options.add_argument("--store", type=Path, default=cache_dir() / "bench-tofu")
    options.add_argument("--out", type=Path, default=score_cache.SHIPPED)
    args = options.parse_args()
    config = replace(default_config(args.data, "finetune", 0), epochs=1, probes=0)
    start, truth = CATALOGUE[MODEL].path(), exact_retrain(config)
    if truth is None:
        raise SystemExit(f"--data {args.data}: it has no exact retrain. Give tofu-forget01 or tofu-forget10.")
    files = noted({weights_hash(start, None), weights_hash(truth, None)})
    store = RunStore(args.store)
    run, _ = carry_out(store, config)
    if run.state != "done":
        raise SystemExit(f"the run ended {run.state}: {run.reason}")
    # A LoRA run reads all its models in 16 bits, one of every weight in 32: both are asked for.
    evidence, _ = judge.evidence_of(run)
    for when in ("before", "retrained"):
        for part in evidence.parts:
            evidence.answered(when, part)
    # The start stands in for the model after a run, so that nothing is read for a third one.
    other_seed(args.data, start, store, tuning="full")
    args.out.mkdir(parents=True, exist_ok=True)
    known, written = read_json(args.out / score_cache.NAMES), 0
    for path, identity in sorted(files.items()):
        if path.is_file():
            # No name and no time in the file: the same values are the same bytes.
            packed = gzip.compress(path.read_bytes(), 9, mtime=0)
            (args.out / f"{path.name}.gz").write_bytes(packed)
            known[path.stem], written = dict(identity), written + len(packed)
    write_json(args.out / score_cache.NAMES, {name: known[name] for name in sorted(known)})
    print(f"{len(known)} values in {args.out}; {written:,} bytes of them written now")


if __name__ == "__main__":
    main()
