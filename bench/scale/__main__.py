"""Measures what Ray adds to a run, how many empty records go through it a second, and what a queued one holds.

    python -m bench.scale            prints; with --out assets/results/scale.json records (clean tree)
    python -m bench.scale --smollm2 0 --runs 3 --empty 200

Ray is started on this machine. Overhead: the seconds from submission to end of a run on a carrier that has done one
before, less those of execute() in this process, which has done one before too; both by turns, both on as many threads.
It is measured with a short run of tiny-authors and with one of SmolLM2 at its defaults. Empty records are stress tests
of nothing, all queued at once, of which only the way there and back remains. Hoped for before measuring: at most 1.5 s
a run and 5 % of a SmolLM2 run, 20 empty records a second, 100 kB of this process a queued record.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.record import header, write_result
from bench.scale import said
from unlearn.__main__ import parser
from unlearn.commands.options import config_of
from unlearn.compute import threads
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


def usual() -> RunConfig:
    """Return a run of SmolLM2 with the settings that the command line takes by itself."""
    return config_of(parser().parse_args(["run", "--model", "smollm2", "--method", "gd"]))


def wait(engine: Remote, records: list[Record]) -> None:
    """Wait until the engine has none of the records any more."""
    for record in records:
        while engine.where(record):
            time.sleep(0.005)


def seconds(do: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def overhead(engine: Remote, store: RunStore, config: RunConfig, count: int, warm: bool) -> dict[str, Any]:
    """Return the seconds of runs here and there, by turns. warm: after one of each that is not measured."""

    def here() -> None:
        run = store.create(config)
        with run.held():
            execute(run, roots=ROOTS)
        assert run.state == "done", run.reason

    def there() -> None:
        run = store.create(config)
        engine.submit(run)
        wait(engine, [run])
        assert run.state == "done", run.reason

    if warm:
        here()
        there()
    laps = [(seconds(here), seconds(there)) for _ in range(count)]
    plain, ray = (statistics.median(column) for column in zip(*laps, strict=True))
    return {"plain": plain, "ray": ray, "overhead": ray - plain, "laps": laps}


def empty(engine: Remote, run: Run, count: int) -> dict[str, Any]:
    """Return how many records that ask for nothing go there and back a second, and what each holds here meanwhile."""
    records: list[Record] = [stress.create(run) for _ in range(count)]
    process = psutil.Process()
    before = process.memory_info().rss

    def there() -> None:
        engine.submit(*records, perform=stress.perform)
        held.append(process.memory_info().rss - before)
        wait(engine, records)

    held: list[int] = []
    spent = seconds(there)
    assert all(record.state == "done" for record in records)
    after = process.memory_info().rss - before
    memory = {"bytes_each": held[0] / count, "bytes_each_at_the_end": after / count}
    return {"count": count, "seconds": spent, "per_second": count / spent} | memory


def main() -> None:
    """Measure all and print or record it."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=5, help="laps of the short run")
    p.add_argument(
        "--smollm2", type=int, default=1, help="laps of a run of SmolLM2, minutes each; 0 for none"
    )
    p.add_argument("--empty", type=int, default=500, help="empty records")
    p.add_argument("--out", type=Path)
    args = p.parse_args()
    found = header(allow_dirty=args.out is None) if args.out else {}
    cpus = min(2, os.cpu_count() or 1)
    threads.limit(cpus)
    with contextlib.ExitStack() as stack:
        store = RunStore(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        bare = store.create(SHORT)
        bare.append("state", state="done")
        engine = stack.enter_context(opened(Place(on="ray", at_once=1, cpus=cpus), store, ROOTS))
        # Memory first: what a run here has given back would take the records in without being seen.
        empty(engine, bare, 5)
        found["queued"] = empty(engine, bare, args.empty)
        found["run"] = overhead(engine, store, SHORT, args.runs, warm=True)
        found["empty"] = empty(engine, bare, args.empty)
        if args.smollm2:
            found["smollm2"] = overhead(engine, store, usual(), args.smollm2, warm=False)
    print("\n".join(said(found)))
    if args.out:
        write_result(args.out, found)


if __name__ == "__main__":
    main()
