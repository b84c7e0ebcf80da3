"""Writes what the start and its exact retrain say to TOFU's questions, as it comes with the product.

    python -m bench.tofu.ship                  forget01: a run of one epoch and an evaluation, some 10 minutes
    python -m bench.tofu.ship --data tofu-forget10 --store FOLDER

A user's run is carried out and evaluated as always; each value that is kept by content on the way and belongs to the
start or to the retrain is copied to assets/results/kept, with its origin. A store where they were kept before makes it
quick.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from bench.defaults import carry_out
from bench.kept import noted, ship
from bench.record import header
from bench.tofu.rows import FIRST, MODEL, default_config, other_seed
from unlearn.measure import judge, score_cache
from unlearn.models.catalogue import CATALOGUE, exact_retrain
from unlearn.models.load import weights_hash
from unlearn.store.disk import cache_dir
from unlearn.store.runs import RunStore


def main() -> None:
    """Carry out the run and the evaluation, and copy what was kept."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--data", default=FIRST)
    options.add_argument("--store", type=Path, default=cache_dir() / "bench-tofu")
    options.add_argument("--out", type=Path, default=score_cache.SHIPPED)
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    top = header(args.allow_dirty)
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
    written = ship(files, args.out, top)
    print(f"{written:,} bytes written to {args.out}")


if __name__ == "__main__":
    main()
