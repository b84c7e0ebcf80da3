"""Measures what a full evaluation of a finished tiny-authors run takes, as a person waits for it.

    python -m bench.evaluate                        three repeats of each case
    python -m bench.evaluate --repeats 1 --out evaluate.json --allow-dirty

Each time is that of the whole command, imports included. What was hoped for before measuring, on two free cores: at
most 20 s from what the run itself left behind, under 3 s when nothing is left to compute.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.defaults import spread
from bench.record import RESULTS, ROOT, header, origin, write_result
from unlearn.store.runs import Run, RunStore

METHOD = "npo"


def command(*words: str) -> float:
    """Run `python -m unlearn …` and return the seconds that it takes."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "unlearn", *words],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def make_run(store: Path) -> Run:
    """Make a run as a person would start it, without live probes."""
    command("run", "--model", "tiny-authors", "--method", METHOD, "--probes", "0", "--runs", str(store))
    return RunStore(store).list()[0]


def forget_metrics(run: Run) -> None:
    """Remove the run's metrics.json, so that metrics are computed again."""
    (run.path / "metrics.json").unlink(missing_ok=True)


def cases(run: Run) -> dict[str, Callable[[], None]]:
    """Return {name: what is removed before the command}. Later cases find more of the work done."""
    cache = run.path.parent / ".cache"

    def from_nothing() -> None:
        forget_metrics(run)
        shutil.rmtree(cache, ignore_errors=True)

    def after_the_run() -> None:
        forget_metrics(run)
        shutil.rmtree(cache / "values", ignore_errors=True)

    return {
        "nothing cached": from_nothing,
        "just after the run": after_the_run,
        "values cached, metrics.json removed": lambda: forget_metrics(run),
        "nothing left to compute": lambda: None,
    }


def measure(repeats: int) -> dict[str, Any]:
    """Return the seconds of each case, and of each metric in the first one."""
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder))
        seconds: dict[str, list[float]] = {}
        for name, prepare in cases(run).items():
            for _ in range(repeats):
                prepare()
                seconds.setdefault(name, []).append(
                    command("evaluate", run.id, "--metrics", "all", "--runs", folder)
                )
            if name == "just after the run":
                record = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
        return {
            "seconds": {name: spread(values) for name, values in seconds.items()},
            "metrics": {name: found["seconds"] for name, found in record["metrics"].items()},
            "cost": record["cost"][-1],
        }


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with one line for each case."""
    lines = ["| full evaluation of a tiny-authors run | seconds |", "|---|--:|"]
    for name, found in result["seconds"].items():
        lines.append(f"| {name} | {found['mean']:.1f} ± {found['sd']:.1f} |")
    return "\n".join([*lines, "", origin(result)])


def main() -> None:
    """Measure the evaluation and record the seconds."""
    p = argparse.ArgumentParser(description="Time a full evaluation.")
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--out", type=Path, default=RESULTS / "evaluate.json")
    p.add_argument("--allow-dirty", action="store_true")
    args = p.parse_args()
    head = header(args.allow_dirty, load=os.getloadavg()[0], method=METHOD, repeats=args.repeats)
    result = head | measure(args.repeats)
    write_result(args.out, result)
    print(table(result))


if __name__ == "__main__":
    main()
