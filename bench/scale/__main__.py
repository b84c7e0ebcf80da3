"""Measures what Ray adds to a run, how many empty records go through it a second, and what a queued one holds.

    python -m bench.scale            prints; with --out assets/results/scale.json records (clean tree)
    python -m bench.scale --runs 4 --empty 200 --queued 500

Ray is started on this machine. Overhead: the seconds from submission to end of a short run of tiny-authors on a carrier
that has done one before, less those of execute() in this process, which has done one before too; both are computed by
turns. Empty records are stress tests of nothing, of which only the way there and back remains. Hoped for before
measuring: at most 1.5 s a run, 20 empty records a second, 100 kB of this process a queued record.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.record import header, write_result
from unlearn.engines.elsewhere import opened
from unlearn.engines.place import Place
from unlearn.engines.remote import Remote
from unlearn.store.runs import Record, Run, RunConfig, RunStore
from unlearn.work import stress
from unlearn.work.execute import execute

ROOTS = [Path("/")]
SHORT = RunConfig(
    model="tiny-authors",
    data={"name": "authors", "requests": [1]},
    method="gd",
    epochs=1,
    batch_size=4,
    probes=0,
)


def wait(engine: Remote, records: list[Record]) -> None:
    """Wait until the engine has none of the records any more."""
    while any(engine.where(record) for record in records):
        time.sleep(0.005)


def seconds(do: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def overhead(engine: Remote, store: RunStore, count: int) -> dict[str, Any]:
    """Return the seconds of runs here and there, by turns, after one of each to warm up."""

    def here() -> None:
        run = store.create(SHORT)
        with run.held():
            execute(run, roots=ROOTS)

    def there() -> None:
        run = store.create(SHORT)
        engine.submit(run)
        wait(engine, [run])

    here()
    there()
    laps = [(seconds(here), seconds(there)) for _ in range(count)]
    plain, ray = (statistics.median(column) for column in zip(*laps, strict=True))
    return {"plain": plain, "ray": ray, "overhead": ray - plain, "laps": laps}


def empty(engine: Remote, run: Run, count: int) -> dict[str, Any]:
    """Return how many records that ask for nothing go there and back a second."""
    records: list[Record] = [stress.create(run) for _ in range(count)]

    def there() -> None:
        engine.submit(*records, perform=stress.perform)
        wait(engine, records)

    spent = seconds(there)
    assert all(record.state == "done" for record in records)
    return {"count": count, "seconds": spent, "per_second": count / spent}


def queued(run: Run, store: RunStore, count: int) -> dict[str, Any]:
    """Return the bytes of this process that a queued record holds, while one carrier does nothing else."""
    records: list[Record] = [stress.create(run) for _ in range(count)]
    process = psutil.Process()
    with opened(Place(on="ray", at_once=1), store, ROOTS) as engine:
        before = process.memory_info().rss
        engine.submit(*records, perform=stress.perform)
        held = process.memory_info().rss - before
        wait(engine, records)
        after = process.memory_info().rss - before
    return {"count": count, "bytes_each": held / count, "bytes_each_at_the_end": after / count}


def main() -> None:
    """Measure all three and print or record them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--empty", type=int, default=200)
    parser.add_argument("--queued", type=int, default=500)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = header(allow_dirty=args.out is None) if args.out else {}
    with contextlib.ExitStack() as stack:
        store = RunStore(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        bare = store.create(SHORT)
        bare.append("state", state="done")
        with opened(Place(on="ray", at_once=1), store, ROOTS) as engine:
            found["run"] = overhead(engine, store, args.runs)
            found["empty"] = empty(engine, bare, args.empty)
        found["queued"] = queued(bare, store, args.queued)
    print(f"a run: {found['run']['plain']:.2f} s here, {found['run']['overhead']:+.2f} s on Ray")
    print(f"empty records: {found['empty']['per_second']:.0f} a second")
    print(f"a queued record: {found['queued']['bytes_each'] / 1e3:.0f} kB")
    if args.out:
        write_result(args.out, found)


if __name__ == "__main__":
    main()
