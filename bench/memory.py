"""Measures what a process keeps after each of twenty runs, and after a run that was stopped.

    python -m bench.memory

Runs of the bundled model in one process, each with a seed of its own and nothing kept warm. After each: models and
bytes of tensors that still live, and resident memory once free blocks were handed back. The first runs load code
and meet shapes for which oneDNN writes its own, of a bounded number (unlearn/compute/products.py); growth is the
median slope over all pairs of runs in the second half, bytes a run. Expected before measuring: none.
Writes assets/results/memory.json.
"""

import argparse
import gc
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

import psutil  # noqa: E402
import torch  # noqa: E402

from bench.record import RESULTS, header, origin, write_result  # noqa: E402
from unlearn.compute.memory import give_back  # noqa: E402
from unlearn.store.runs import RunConfig, RunStore  # noqa: E402
from unlearn.work.execute import execute  # noqa: E402


def live_tensors() -> int:
    """Return the bytes of all tensors that are still held, with shared storage counted once."""
    stores = {}
    for value in gc.get_objects():
        if type(value) in (torch.Tensor, torch.nn.Parameter):
            storage = value.untyped_storage()
            stores[storage.data_ptr()] = storage.nbytes()
    return sum(stores.values())


def live_models() -> int:
    """Return the number of language models that are still held. The one under an adapter counts once."""
    from transformers import GenerationMixin

    return sum(issubclass(type(value), GenerationMixin) for value in gc.get_objects())


def kept_bytes() -> dict[str, int]:
    """Return what the process keeps now: models, bytes of tensors, and resident bytes."""
    give_back()
    resident = psutil.Process().memory_info().rss
    return {"models": live_models(), "tensors": live_tensors(), "resident": resident}


def growth(after: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Return the bytes that each run adds, {"tensors", "resident"}: the median over all pairs of the second
    half's runs (Theil and Sen).
    """
    steady = list(enumerate(after))[(len(after) - 1) // 2 :]
    return {
        name: statistics.median((b[name] - a[name]) / (j - i) for (i, a), (j, b) in combinations(steady, 2))
        for name in ("tensors", "resident")
    }


def measure(
    config: Mapping[str, Any], runs: int, folder: Path, roots: Sequence[Path] | None = None
) -> dict[str, Any]:
    """Return kept() after each run (two or more), their growth, and kept() after a run stopped at its third
    step.
    """
    store, found = RunStore(folder), []
    for seed in range(runs):
        run = store.create(RunConfig(**(dict(config) | {"seed": seed})))
        if execute(run, roots=roots) is None:
            raise SystemExit(f"run {seed}: {run.state}: {run.reason}")
        found.append(kept_bytes())
    run = store.create(RunConfig(**(dict(config) | {"seed": runs})))
    execute(run, should_stop=lambda: len(run.events("step")) >= 3, roots=roots)
    return {"after": found, "growth": growth(found), "after_stop": kept_bytes() | {"state": run.state}}


def table(result: Mapping[str, Any]) -> str:
    """Return a table of models, live tensors and resident memory after some runs, and after Stop."""
    after = result["after"]
    rows = {
        "first run": after[0],
        "second": after[1],
        f"run {len(after) // 2}": after[len(after) // 2 - 1],
        f"run {len(after)}": after[-1],
        "Stop": result["after_stop"],
    }
    lines = ["| After | Models | Live tensors | Resident |", "|---|--:|--:|--:|"]
    lines += [
        f"| {name} | {row['models']} | {row['tensors'] / 2**20:.1f} MiB | {row['resident'] / 2**20:.0f} MiB |"
        for name, row in rows.items()
    ]
    grown = {name: f"{value / 2**20:+.2f} MiB" for name, value in result["growth"].items()}
    lines.append(f"| growth a run, second half | | {grown['tensors']} | {grown['resident']} |")
    return "\n".join(lines) + "\n\n" + origin(result)


def main(words: Sequence[str] | None = None) -> None:
    """Measure the memory and record it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--model", default="tiny-authors")
    parser.add_argument("--method", default="npo")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.json")
    parser.add_argument("--allow-dirty", action="store_true")
    args = parser.parse_args(words)
    top = header(args.allow_dirty)
    config = {"model": args.model, "data": {"name": "authors"}, "method": args.method, "epochs": args.epochs}
    with tempfile.TemporaryDirectory() as folder:
        found = measure(config | {"probes": 2, "batch_size": 8}, args.runs, Path(folder))
    for number, row in enumerate(found["after"], 1):
        print(number, f"{row['models']} models", f"{row['resident'] / 2**20:.1f} MiB resident")
    print("growth a run", found["growth"], "stop", found["after_stop"])
    write_result(args.out, top | found)


if __name__ == "__main__":
    main()
