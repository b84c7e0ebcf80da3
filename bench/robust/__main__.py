"""Measures whether AltPO, RepSelect, SAM and UNDO resist relearning better than plain methods at equal utility.

    python -m bench.robust                                  all that is missing, on the two tiny models
    python -m bench.robust --worlds smollm2-tofu --shipped  on the larger model, where a run takes minutes, at the
                                                            settings that ship, with nothing tried
    python -m bench.robust --ways npo undo --seeds 2
    python -m bench.robust --draw                           draw the pictures in docs from the record, measure nothing

Of each method one number is tried at its shipped value, a half and twice of it (the learning rate; RepSelect's budget;
of UNDO's share a half and a quarter), with a seed of its own, and chosen by one half of the rows as `unlearn tune`
chooses: nearest to the retrained model among those that keep 85 % of the utility. Then come the reported seeds, scored
on the other half, and each model is practised on a fifth of the forget facts, the retrained one beside it. A finished
row is written at once and not measured again. Writes assets/results/robust.json.

Expected before the record, after one seed of NPO, UNDO and RepSelect on tiny-authors had been looked at (the residue is
what lies between the retrained model, 0 %, and the original, 100 %, in the mean probability of the answers that are not
practised, at the worst of up to 30 steps). On tiny-authors the plain methods hold back and do not erase: NPO, SimNPO
and UnDIAL leave 25 to 50 %, GA+GD most. RepSelect leaves less than they do, since practice moves it hardly at all; UNDO
at equal utility does not, since its share must be small; SAM with NPO and AltPO cannot be told from the plain ones. On
tiny-snippets whole texts come back slowly with any method, so that little can be told apart. After AltPO more than 80 %
of the answers are of the right form, after NPO next to none, after IdkDPO a third or less, the rest being refusals; the
original reads AltPO's answers with the lowest perplexity of the three.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.record import RESULTS, header, write_result
from bench.robust.lines import draw, told
from bench.robust.rows import Bench
from bench.robust.ways import LARGER, SEEDS, WAYS, WORLDS, key, wanted
from unlearn.results.robust import CONTROL
from unlearn.store.disk import cache_dir
from unlearn.store.runs import RunStore


def main() -> None:
    """Measure what is missing and write each row when it is done."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--worlds", nargs="+", choices=(*WORLDS, LARGER), default=WORLDS)
    options.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=())
    options.add_argument("--seeds", type=int, default=len(SEEDS), help="how many, from 0 on")
    options.add_argument(
        "--shipped", action="store_true", help="take the settings that ship instead of trying three"
    )
    options.add_argument("--again", action="store_true", help="measure also what has a row")
    options.add_argument("--draw", action="store_true", help="draw the pictures in docs from the record")
    options.add_argument(
        "--store", type=Path, help="the folder of the runs (default: in the product's cache)"
    )
    options.add_argument("--out", type=Path, default=RESULTS / "robust.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    rows: list[Any] = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
    if args.draw:
        draw(rows)
        return
    bench = Bench(RunStore(args.store or cache_dir() / "bench-robust"), rows, shipped=args.shipped)
    for place in wanted(args.worlds, args.ways, args.seeds, shipped=args.shipped):
        if place.key in map(key, bench.rows) and not args.again:
            continue
        top = header(args.allow_dirty, seeds=[place.seed]) | {"command": told_as(args.shipped)}
        found = [row | {"origin": top} for row in bench.measure(place)]
        bench.rows = merged(bench.rows, found)
        write_result(args.out, {"rows": bench.rows})
        print("\n".join(map(told, found)), flush=True)
    bench.close()


def told_as(shipped: bool) -> str:
    """Return the command as the record says it."""
    return "python -m bench.robust" + " --shipped" * shipped


def merged(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the new ones in place of the old ones, in the order of the plan."""
    by_key = {key(row): dict(row) for row in [*old, *new]}
    worlds, ways = (*WORLDS, LARGER), (CONTROL, *WAYS)

    def order(at: tuple[Any, ...]) -> tuple[Any, ...]:
        kind, world, way, number = at
        return worlds.index(world), ("try", "run").index(kind), ways.index(way), number

    return [by_key[at] for at in sorted(by_key, key=order)]


if __name__ == "__main__":
    main()
