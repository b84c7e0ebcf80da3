"""Measures what sleeping OpenMP threads, and their number, change beside a busy process.

    python -m bench.threads

A forward and backward pass, over and over, in child processes that differ in how OpenMP's threads wait and in how many
there are: as torch has it, with OMP_WAIT_POLICY=PASSIVE alone, and as the app and the command line set it
(unlearn.compute.memory.prefer_passive_threads). Alone, and beside a process that computes without end on each core but
one. The work is one of a large model (a linear map of 512 tokens, 576 → 1536 → 576), in all settings, and one of a
small model (the bundled one whole, four texts of 32 tokens), as the app sets it: the case for which compute/threads.py
takes one thread. One round after the other through all settings, so that a ratio compares neighbours in time. Expected
before measuring: beside a busy process two threads that spin are many times slower than one, and two that sleep are
not; the small model takes 1.5 to 2 times as long on two threads.
Writes assets/results/threads.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.record import RESULTS, ROOT, header, origin, write_result

WAITS = {
    "as torch has it": "",
    "PASSIVE alone": "import os; os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'",
    "as set here": "from unlearn.compute.memory import prefer_passive_threads; prefer_passive_threads()",
}
LARGE, SMALL = "a large map", "the bundled model"
MADE = {
    LARGE: """
x = torch.randn(512, 576, requires_grad=True)
up, down = (torch.randn(a, b, requires_grad=True) for a, b in ((576, 1536), (1536, 576)))

def step():
    (x @ up).relu().matmul(down).square().mean().backward()
""",
    SMALL: """
from transformers import AutoModelForCausalLM
from unlearn.store.home import ASSETS
model = AutoModelForCausalLM.from_pretrained(ASSETS / "models" / "tiny-authors")
ids = torch.randint(0, model.config.vocab_size, (4, 32))

def step():
    model(input_ids=ids, labels=ids).loss.backward()
""",
}
WORK = """
{wait}
import json, sys, time
import torch
threads, seconds = int(sys.argv[1]), float(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(0)
{made}
step()
wall, cpu, count = time.perf_counter(), time.process_time(), 0
while count < 3 or time.perf_counter() - wall < seconds:
    step()
    count += 1
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({{"wall": wall / count, "cpu": cpu / count, "steps": count}}))
"""
BUSY = "while True: pass"


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Run so many processes of one thread within the block, which compute without end."""
    made = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in made:
            process.kill()
            process.wait()


def lap(wait: str, threads: int, seconds: float, work: str = LARGE) -> dict[str, float]:
    """Return {"wall", "cpu": seconds a step, "steps"} of a child process whose threads wait in this way."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))
    }
    words = [sys.executable, "-c", WORK.format(wait=WAITS[wait], made=MADE[work]), str(threads), str(seconds)]
    found = subprocess.run(words, cwd=ROOT, env=clean, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def measure(counts: Sequence[int], rounds: int, seconds: float, busy: int) -> list[dict[str, Any]]:
    """Return one row for each setting: {"work", "wait", "threads", "neighbours", "wall", "cpu": medians over
    the rounds, "laps"}.
    """
    settings = [
        (work, wait, threads, others)
        for work in MADE
        for others in (0, busy)
        for threads in counts
        for wait in (WAITS if work == LARGE else list(WAITS)[-1:])
    ]
    laps: dict[Any, list[dict[str, float]]] = {setting: [] for setting in settings}
    for _ in range(rounds):
        for work, wait, threads, others in settings:
            with neighbours(others):
                laps[work, wait, threads, others].append(lap(wait, threads, seconds, work))
    return [
        {
            "work": work,
            "wait": wait,
            "threads": threads,
            "neighbours": others,
            "wall": statistics.median(one["wall"] for one in told),
            "cpu": statistics.median(one["cpu"] for one in told),
            "laps": told,
        }
        for (work, wait, threads, others), told in laps.items()
    ]


def table(result: Mapping[str, Any]) -> str:
    """Return a table of the wall time a step of every setting, also as a multiple of one thread beside the
    same neighbours.
    """
    lines = [
        "| Work | Beside it | Threads | OpenMP waits | Wall time a step | ÷ one thread | CPU time a step |",
        "|---|---|--:|---|--:|--:|--:|",
    ]
    rows = result["rows"]
    for row in rows:
        one = next(
            r
            for r in rows
            if r["threads"] == 1 and all(r.get(k) == row.get(k) for k in ("work", "wait", "neighbours"))
        )
        beside = f"{row['neighbours']} busy" if row["neighbours"] else "nothing"
        lines.append(
            f"| {row.get('work', LARGE)} | {beside} | {row['threads']} | {row['wait']} | {1e3 * row['wall']:,.4g} ms | "
            f"{row['wall'] / one['wall']:.2f} | {1e3 * row['cpu']:,.4g} ms |"
        )
    return "\n".join(lines) + "\n\n" + origin(result)


def main(words: Sequence[str] | None = None) -> None:
    """Measure the settings of threads and record them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, max(2, cores)])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each child process")
    parser.add_argument("--busy", type=int, default=max(1, cores - 1), help="processes beside it")
    parser.add_argument("--out", type=Path, default=RESULTS / "threads.json")
    parser.add_argument("--allow-dirty", action="store_true")
    args = parser.parse_args(words)
    top = header(args.allow_dirty)
    began = time.perf_counter()
    rows = measure(sorted({1, *args.threads}), args.rounds, args.seconds, args.busy)
    found = top | {"rows": rows, "seconds": round(time.perf_counter() - began)}
    print(table(found))
    write_result(args.out, found)


if __name__ == "__main__":
    main()
