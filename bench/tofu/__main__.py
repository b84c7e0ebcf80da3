"""Measures every method at its defaults on TOFU, on a real model with a truth, with the metrics that researchers read.

    python -m bench.tofu                               all that is missing, in the order of the table
    python -m bench.tofu --methods npo undial --data tofu-forget01 --seeds 1
    python -m bench.tofu --on ray:HEAD:6379            the runs on other machines, several at once; see docs/scale.md
    python -m bench.tofu --other-seed FOLDER           the row of a retrain of another seed: its merged model

On smollm2-tofu: forget01 with every method (EIGHT of them with three seeds, the others with one), then forget10 with
the EIGHT. Each run goes the way of a user's run, with the settings that `unlearn run` would take; then come TOFU's own
metrics and some of ours. A finished row is written at once and not measured again, so the bench may be cut and begun
anew; the table says what is missing. What was hoped for before measuring: NPO and UnDIAL forget to the retrain's level
at a utility within 5 % of the start's; GA loses the utility; no method reaches the retrain's KL.
Writes assets/results/tofu.json.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.record import RESULTS, header, write_result
from bench.tofu.lines import lines
from bench.tofu.rows import (
    FIRST,
    RETRAIN,
    SEEDS,
    START,
    WHOLE,
    Key,
    elsewhere,
    key,
    measure,
    merged,
    other_seed,
    rows_of,
    wanted,
)
from unlearn.commands import where
from unlearn.methods import METHODS
from unlearn.store.disk import cache_dir
from unlearn.store.engine import Engine
from unlearn.store.runs import RunStore


def main() -> None:
    """Measure what is missing and write each row when it is done."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--methods", nargs="+", choices=list(METHODS), default=())
    options.add_argument("--data", nargs="+", choices=(FIRST, WHOLE), default=())
    options.add_argument("--seeds", type=int, default=len(SEEDS))
    options.add_argument("--again", action="store_true", help="measure also what has a row")
    options.add_argument(
        "--other-seed", type=Path, help="the folder of a retrain without forget01 of another seed"
    )
    options.add_argument("--runs", type=Path, help="the folder of the runs (default: in the product's cache)")
    where.add(options)
    options.add_argument("--out", type=Path, default=RESULTS / "tofu.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    rows: list[Any] = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
    store = RunStore(args.runs or cache_dir() / "bench-tofu")
    if args.other_seed:
        top = header(args.allow_dirty, seeds=[1])
        rows = merged(rows, [other_seed(FIRST, args.other_seed, store) | {"origin": top}])
        write_result(args.out, {"rows": rows})
        return
    missing = [
        one
        for one in wanted(args.methods, args.data, args.seeds)
        if args.again or one not in {key(row) for row in rows}
    ]

    def top_of(one: Key) -> dict[str, Any]:
        return header(args.allow_dirty, seeds=[one[2]])

    with where.engine_at(where.place_of(args), store.root) as engine:
        for top, found in measured(engine, store, missing, top_of):
            told = [row | {"origin": top} for row in found]
            # A run in 32 bits is beside a retrained model in 32 bits; the table's own stay those of most rows.
            known = [key(row) for row in rows if row["method"] in (START, RETRAIN)]
            rows = merged(rows, [row for row in told if key(row) not in known])
            write_result(args.out, {"rows": rows})
            print("\n".join(lines([row for row in told if "failed" not in row])), flush=True)


def measured(
    engine: Engine | None, store: RunStore, missing: Sequence[Key], top_of: Callable[[Key], dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield (top, rows) of each run as it ends: one after the other here, or carried out by the engine.

    top_of: gives the commit and the machine, and is asked before a run begins, since it refuses a tree with changes.
    """
    if engine is None:
        for one in missing:
            top = top_of(one)
            yield top, measure(store, *one)
        return
    tops = {one: top_of(one) for one in missing}
    for one, run in elsewhere(engine, store, missing):
        yield tops[one], rows_of(run, one, None)


if __name__ == "__main__":
    main()
