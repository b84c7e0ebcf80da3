"""Measures what a command needs before it answers, and a run before its first step, in CPU and wall seconds.

    python -m bench.start

Each lap is a process of its own on one core, as a person calls it: the list of commands, the list of methods, a run
that is refused for a bad setting, and a run of the bundled model in an empty store, of which its first step and its
last line are timed. So the run asks what the model knows, scores it before, and reads every text of its reference
anew. A budget is met when the CPU seconds meet it: that is the wait on a core that does nothing else. Expected before
measuring: half a second for the first three, four until the first step, where it took 5.2 CPU seconds. Median of the
laps; the medians of the two clocks may come from different laps.
Writes assets/results/start.json.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.record import RESULTS, ROOT, header, origin, write_result
from unlearn.store.runs import RunStore

RUN = ("run", "--model", "tiny-authors", "--method", "npo")
COMMANDS = {
    "--help": ("--help",),
    "methods": ("methods",),
    "a refused run": (*RUN, "--lr", "-1"),
}
# Seconds that are allowed, by what is measured.
BUDGETS = {"--help": 0.5, "methods": 0.5, "a refused run": 0.5, "first step of a run": 4.0}
FIRST, LAST = "first step of a run", "last line of that run"
POLL = 0.005


def lap(words: Sequence[str], folder: Path) -> dict[str, dict[str, float]]:
    """Carry out one command on one core and return {moment: {"wall", "cpu"}}: the end, and a run's first step."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "UNLEARN_RUNS": str(folder)}
    core = min(os.sched_getaffinity(0))
    began = time.perf_counter()
    found: dict[str, dict[str, float]] = {}
    child = subprocess.Popen(
        [sys.executable, "-m", "unlearn", *words],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    watched, first = psutil.Process(child.pid), has_step(folder) if "run" in words else None
    while not exited(child.pid):
        if first is not None and FIRST not in found and next(first):
            found[FIRST] = {"wall": time.perf_counter() - began, "cpu": cpu(watched)}
        time.sleep(POLL)
    found["end"] = {"wall": time.perf_counter() - began, "cpu": cpu(watched)}
    child.wait()
    return found


def exited(pid: int) -> bool:
    """Return whether the child has ended. It is left unread, so that its times can still be asked for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def cpu(process: psutil.Process) -> float:
    """Return the CPU seconds that a process has used, its own and the system's for it."""
    times = process.cpu_times()
    return times.user + times.system


def has_step(folder: Path) -> Any:
    """Yield again and again whether a run in the folder has done its first step."""
    store = RunStore(folder)
    while True:
        yield any(run.events("step") for run in store.list())


def measure(rounds: int) -> list[dict[str, Any]]:
    """Return a row for each moment: its laps and their medians."""
    laps: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, words in COMMANDS.items():
            with tempfile.TemporaryDirectory() as folder:
                laps.setdefault(name, []).append(lap(words, Path(folder))["end"])
        with tempfile.TemporaryDirectory() as folder:
            found = lap(RUN, Path(folder))
        if FIRST not in found:
            raise SystemExit("the run did not train; try it by hand: python -m unlearn " + " ".join(RUN))
        laps.setdefault(FIRST, []).append(found[FIRST])
        laps.setdefault(LAST, []).append(found["end"])
    return [
        {"what": name, "budget": BUDGETS.get(name), "laps": mine}
        | {clock: statistics.median(one[clock] for one in mine) for clock in ("wall", "cpu")}
        for name, mine in laps.items()
    ]


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with the seconds of each moment, and whether the budget was met."""
    lines = ["| | budget | wall s | CPU s | met |", "|---|--:|--:|--:|---|"]
    for row in result["rows"]:
        budget = f"≤ {row['budget']:g} s" if row["budget"] else ""
        met = "" if not budget else "yes" if row["cpu"] <= row["budget"] else "no"
        name = f"`{row['what']}`" if row["what"] in ("--help", "methods") else row["what"]
        lines.append(f"| {name} | {budget} | {row['wall']:.2f} | {row['cpu']:.2f} | {met} |")
    return "\n".join([*lines, "", f"Median of {result['rounds']}, on one core. {origin(result)}"])


def main() -> None:
    """Measure and record."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", type=Path, default=RESULTS / "start.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    result = header(args.allow_dirty, rounds=args.rounds) | {"rows": measure(args.rounds)}
    write_result(args.out, result)
    print(table(result))


if __name__ == "__main__":
    main()
