"""Measures what a store of 10,000 runs costs: the list, the page Runs, a filter of it, the chooser of Compare.

    python -m bench.scale.store                     prints; with --out assets/results/store.json records (clean tree)
    python -m bench.scale.store --runs 2000 --rounds 3

The store is that of bench.runs_many, with its copies of the recorded run. The list is asked for in a process of its
own, first without an index and then with it; pages are visited in one process, as a server does. Hoped for before
measuring: the list in 1 s where there is an index, the page Runs and a filter of it in 150 ms each.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.record import header, origin, write_result
from bench.runs_many import in_process, listing, make_store, opened, visits
from unlearn.store.environment import RUNS

COUNT = 10_000
LIST_SECONDS, PAGE_MS = 1.0, 150
WORDS = {
    "runs": "page Runs",
    "filtered": "page Runs, other words in its search field",
    "compare": "page Compare with its chooser",
    "start": "page Start",
}


def pages(rounds: int) -> dict[str, float]:
    """Return the CPU milliseconds of each page for the store of this process's environment."""
    found = {}
    for page in ("runs", "compare", "start"):
        found[page] = visits(page, rounds)
    found["filtered"] = typed(opened("runs"), rounds)
    return found


def typed(app: Any, rounds: int) -> float:
    """Return the median CPU milliseconds of the page when somebody types in its search field."""
    laps = []
    for word in islice(cycle(("npo", "Run 12", "gd author", "undial")), rounds):
        field = app.text_input(key="runs.search").set_value(word)
        began = time.process_time()
        field.run()
        laps.append(1000 * (time.process_time() - began))
        assert not app.exception
    return round(statistics.median(laps), 1)


def measure(count: int, rounds: int) -> dict[str, Any]:
    """Return what the list and the pages of a store with so many runs cost."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "runs"
        make_store(root, count)
        found: dict[str, Any] = {"list": {when: listing(root) for when in ("first", "again")}}
        words = ["-m", "bench.scale.store", "--pages-of", str(root), "--rounds", str(rounds)]
        return found | {"runs": count, "pages_ms": json.loads(in_process(words))}


def rows(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (what was measured, the figure, what was hoped for) of each part."""
    told = []
    first, again = (found["list"][when]["cpu_s"] for when in ("first", "again"))
    told.append(("list without an index (once, or after it was thrown away)", f"{first:.1f} s", "–"))
    kept = "" if again <= LIST_SECONDS else " (not kept)"
    told.append(("list in a new process", f"{again:.2f} s", f"at most {LIST_SECONDS:g} s{kept}"))
    for page, words in WORDS.items():
        value = found["pages_ms"][page]
        kept = "" if value <= PAGE_MS else " (not kept)"
        hoped = f"at most {PAGE_MS} ms{kept}" if page in ("runs", "filtered") else "–"
        told.append((words, f"{value:.0f} ms", hoped))
    return told


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with what a large store costs."""
    lines = [
        f"| a store of {result['runs']:,} runs, CPU time | measured | hoped for before |",
        "|---|--:|--:|",
    ]
    lines += [f"| {what} | {figure} | {hoped} |" for what, figure, hoped in rows(result)]
    return "\n".join([*lines, "", origin(result)])


def main() -> None:
    """Measure the store and print the figures or record them."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=COUNT)
    p.add_argument("--rounds", type=int, default=7, help="visits of each page that are measured")
    p.add_argument("--out", type=Path, help="write the record here; the tree must be clean")
    p.add_argument("--pages-of", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.pages_of:
        os.environ[RUNS.name] = args.pages_of
        print(json.dumps(pages(args.rounds)))
        return
    about = header() if args.out else {}
    found = measure(args.runs, args.rounds)
    for row in rows(found):
        print(": ".join(row[:2]), f"({row[2]})")
    if args.out:
        write_result(args.out, about | found)


if __name__ == "__main__":
    sys.exit(main())
