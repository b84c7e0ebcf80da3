"""Measures what a whole run costs beside its steps, by phase, in CPU seconds on one core.

    python -m bench.run                                        both runs: every weight, and LoRA as it is the default
    python -m bench.run --runs lora --forget a.jsonl --retain b.jsonl

Each run is a process of its own: SmolLM2-135M, NPO, 20 steps on one thread. The clock is the process's own CPU time, so
that a busy neighbour is not counted, and neither is waiting for the disk. "whole" begins before torch is imported.
Expected before measuring: with LoRA the probes, which took 1.5 times the steps, at most a tenth of them beside the
first and the last; with every weight no checkpoint within two minutes, where one every 20 s took 0.4 of the steps.
Rows: 40 to forget and 40 to keep of the bundled authors, unless files are given. Writes assets/results/run.json.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.record import RESULTS, header, origin, write_result  # noqa: E402
from unlearn.data.catalogue import load  # noqa: E402
from unlearn.store.runs import RunStore  # noqa: E402

RUNS = {"full": ("--tuning", "full"), "lora": ("--tuning", "lora")}
# The 40 rows give 5 steps an epoch.
COMMON = ("--model", "smollm2", "--method", "npo", "--epochs", "4", "--batch-size", "8")
ROWS = 40


def carry_out(words: Sequence[str]) -> dict[str, Any]:
    """Carry out one run in this process, in a store of its own, and return its phases, what was beside the
    steps, and its memory.
    """
    import tempfile

    # This process carries out one run only, and its phases, probes and checkpoints count CPU seconds.
    time.perf_counter = time.process_time
    from unlearn.__main__ import parser
    from unlearn.commands.options import config_of
    from unlearn.work.execute import execute

    with tempfile.TemporaryDirectory() as folder:
        run = RunStore(Path(folder)).create(config_of(parser().parse_args(["run", *words])))
        lock = run.hold()
        execute(run)
        lock.release()
        if run.state != "done":
            raise SystemExit(f"{run.state}: {run.reason}")
        return phase_seconds(run.results()) | {"whole": time.process_time(), "steps": len(run.events("step"))}


def phase_seconds(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seconds of each phase, with those of the training split into steps and the rest."""
    phases, beside = dict(results["phases"]), results["beside"]
    training = phases.pop("training")
    seconds = {"steps": training - sum(beside.values())} | beside | phases
    return {"seconds": seconds, "peak_memory": results["peak_memory"], "dtype": results["dtype"]}


def own_rows(folder: Path) -> list[str]:
    """Write files of the first rows of the bundled authors, and return the words that name them."""
    words = []
    for role in ("forget", "retain"):
        rows = load("authors").fit_rows(role)[:ROWS]
        path = folder / f"{role}.jsonl"
        path.write_text(
            "".join(json.dumps({"question": r.question, "answer": r.answer}) + "\n" for r in rows)
        )
        words += [f"--{role}", str(path)]
    return words


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with CPU seconds, one line for each phase, the runs side by side."""
    runs = result["runs"]
    names = list(dict.fromkeys(name for run in runs for name in run["seconds"]))
    heads = [f"{run['run']}, {run['dtype']}" for run in runs]
    lines = ["| CPU s | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(runs)]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(f"{run['seconds'].get(name, 0):.1f}" for run in runs) + " |")
    lines.append("| **whole** | " + " | ".join(f"**{run['whole']:.1f}**" for run in runs) + " |")
    lines.append("| peak, MiB | " + " | ".join(f"{run['peak_memory'] / 2**20:,.0f}" for run in runs) + " |")
    return "\n".join([*lines, "", origin(result)])


def main() -> None:
    """Measure each run in a process of its own, on one thread.

    With --child, carry out one run in this process.
    """
    import tempfile

    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    options.add_argument("--forget", type=Path)
    options.add_argument("--retain", type=Path)
    options.add_argument("--out", type=Path, default=RESULTS / "run.json")
    options.add_argument("--allow-dirty", action="store_true")
    options.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        print(json.dumps(carry_out(args.child)))
        return
    top, found = header(args.allow_dirty), []
    with tempfile.TemporaryDirectory() as folder:
        words = own_rows(Path(folder))
        if args.forget and args.retain:
            words = ["--forget", str(args.forget.resolve()), "--retain", str(args.retain.resolve())]
        roots = os.pathsep.join({str(Path(path).parent) for path in words[1::2]})
        environment = os.environ | {"OMP_NUM_THREADS": "1", "UNLEARN_ROOTS": roots}
        for name in args.runs:
            command = [sys.executable, "-m", "bench.run", "--child", *COMMON, *RUNS[name], *words]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            found.append({"run": name} | json.loads(done.stdout.splitlines()[-1]))
            write_result(args.out, top | {"runs": found})
    print(table(top | {"runs": found}))


if __name__ == "__main__":
    main()
