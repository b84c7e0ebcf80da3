"""Measures what a search for settings is worth beside the shipped settings, a grid and the tuning guide.

    python -m bench.tune                       all that is missing, the search and the shipped settings first
    python -m bench.tune --worlds tiny-authors --ways grid --seeds 2
    python -m bench.tune --worlds smollm2-tofu
    python -m bench.tune --seconds 20 --out trial.json --allow-dirty

Two worlds: NPO on tiny-authors with 180 CPU seconds a search and a grid, five seeds; GA+GD on smollm2-tofu (TOFU's
forget01) with 600, one seed. The tuning guide of Yao et al. (one epoch, batch a quarter of the forget set, the learning
rate upwards) ends by itself. Each finds settings by one half of the rows and is then carried out with a new seed and
scored on the other half. Minutes are those of one idle core, counted in CPU seconds, so that a busy machine makes it
slower and not worse. A finished row is written at once and not measured again; a search, a grid or a guide that was cut
short is gone on with. Writes assets/results/tune.json.

Expected before measuring: the shipped settings were tuned by hand on these very rows, so the search gains
little: nearer to the retrained model by 0.02 to 0.05 in probability (NPO at its defaults ends below the retrained
model's), at a utility within two points, and an interval over five seeds that may hold 0. The grid with as much time
comes as near as the shipped settings and not nearer. The guide takes nothing or ends far off, since one epoch of NPO on
so small a model either forgets too little or loses general text. On smollm2-tofu four or five settings fit into the
budget, too few for a search to learn from: the first, which ships, or one near it is taken, and the grid finds the
same; the guide needs three to five trials of one epoch and keeps less.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bench.record import RESULTS, header, write_result
from bench.tune.lines import line, table
from bench.tune.rows import cells_of, measure
from bench.tune.worlds import SEEDS, WAYS, WORLDS, key, wanted
from unlearn.store.disk import cache_dir
from unlearn.store.runs import RunStore


def main() -> None:
    """Measure what is missing and write each row when it is done."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--worlds", nargs="+", choices=tuple(WORLDS), default=())
    options.add_argument("--ways", nargs="+", choices=WAYS, default=())
    options.add_argument("--seeds", type=int, default=len(SEEDS))
    options.add_argument(
        "--seconds", type=float, help="CPU seconds of a search or a grid (default: the world's)"
    )
    options.add_argument("--again", action="store_true", help="measure also what has a row")
    options.add_argument(
        "--store", type=Path, help="the folder of the runs (default: in the product's cache)"
    )
    options.add_argument("--out", type=Path, default=RESULTS / "tune.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    rows: list[Any] = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
    store = RunStore(args.store or cache_dir() / "bench-tune")
    for one in wanted(args.worlds, args.ways, args.seeds):
        if one in map(key, rows) and not args.again:
            continue
        name, way, seed = one
        top = header(args.allow_dirty, seeds=[seed]) | {"command": "python -m bench.tune"}
        row = measure(store, WORLDS[name], way, seed, args.seconds or WORLDS[name].seconds) | {"origin": top}
        by_key = {key(row): row for row in [*rows, row]}
        rows = [by_key[place] for place in wanted() if place in by_key]
        write_result(args.out, {"rows": rows})
        cells_of(store, WORLDS[name], way, seed).path.unlink(missing_ok=True)
        print(line([row for row in rows if row["world"] == name], way), flush=True)
    print(table({"rows": rows}))


if __name__ == "__main__":
    main()
