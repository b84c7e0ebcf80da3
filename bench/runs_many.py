"""Measures the CPU seconds that pages and lists cost with many runs in the store.

    python -m bench.runs_many                     prints; with --out assets/results/runs_many.json records (clean tree)
    python -m bench.runs_many --counts 20,300     other stores

A store is made of copies of the recorded run, cut short, each with an id, a title and scores of its own. The pages'
scripts are run by Streamlit's own test runner, twice before they are measured, and compiled once as in a server. A
watcher is a tab that shows Runs while a run is at work: the CPU time of the page over the time from one drawing to the
next. The list of 10,000 runs is asked for in processes of their own: once without the index, and once with the one that
the first has left. Expected before measuring: at most 60 ms a page with 1,000 runs, and 2 % of a core for a watcher.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.record import ROOT, header, origin, write_result
from unlearn.store.config import RunConfig
from unlearn.store.disk import read_json, read_lines, write_json
from unlearn.store.environment import RUNS
from unlearn.store.home import ASSETS
from unlearn.store.runs import RunStore

PAGES = ("start", "runs", "compare", "tokens")
COUNTS = (20, 300, 1000)
LISTED = 10_000
# Milliseconds that a page may take.
BUDGET = 60
# The number of the recorded run's steps, and of its samples for each role and model, that a copy has.
STEPS, ROWS = 12, 3
LIST = """
import sys, time
from pathlib import Path
from unlearn.store.runs import RunStore
began, wall = time.process_time(), time.perf_counter()
found = RunStore(Path(sys.argv[1])).summaries()
states = [run.state for run in found]
print(len(found), time.process_time() - began, time.perf_counter() - wall)
"""


def recorded() -> Path:
    """Return the folder of the run that ships with the app."""
    return sorted((ASSETS / "recorded").glob("*/config.json"))[0].parent


def make_store(root: Path, count: int, seed: int = 0) -> None:
    """Make so many finished runs under root. What they share is on the disk once."""
    rng, source = random.Random(seed), recorded()
    root.mkdir(parents=True, exist_ok=True)
    steps = 0
    events = []
    for event in read_lines(source / "events.jsonl"):
        steps += event["kind"] == "step"
        if event["kind"] not in ("step", "probe") or steps <= STEPS:
            events.append(event)
    samples = [s for s in read_lines(source / "samples.jsonl") if s["index"] < ROWS]
    probes = list(read_lines(source / "probes.jsonl"))[:3]
    shared = {"samples.jsonl": samples, "probes.jsonl": probes}
    for name, lines in shared.items():
        (root / f".{name}").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    config, results = read_json(source / "config.json"), read_json(source / "results.json")
    methods = ("npo", "gd", "ga", "undial", "simnpo")
    for at in range(count):
        method = methods[at % len(methods)]
        when = time.strftime("%Y%m%d-%H%M%S", time.localtime(1.79e9 + 60 * at))
        folder = root / f"{when}-{method}-{at % 65536:04x}"
        folder.mkdir()
        for name in shared:
            os.link(root / f".{name}", folder / name)
        value = round(rng.random(), 4)
        for event in events:
            if event["kind"] == "eval" and event["when"] == "after":
                event["scores"]["forget"]["exact"] = value
        results["scores"]["after"]["forget"]["exact"] = value
        (folder / "events.jsonl").write_text(
            "".join(json.dumps(event) + "\n" for event in events), encoding="utf-8"
        )
        write_json(folder / "meta.json", {"owner": "", "title": f"Run {at}" if at % 3 else ""})
        write_json(folder / "results.json", results)
        write_json(folder / "config.json", config | {"method": method, "title": "", "seed": at})


def visits(page: str, rounds: int) -> tuple[float, float]:
    """Return the median CPU milliseconds of one run of the page's script, after two that are not measured, and the
    seconds after which a page with a run at work draws itself again.
    """
    from streamlit.runtime.scriptrunner.script_cache import ScriptCache
    from streamlit.testing.v1 import AppTest, local_script_runner

    compiled = ScriptCache()
    local_script_runner.ScriptCache = lambda: compiled  # type: ignore[assignment,misc]
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=120)
    app.run()
    app.switch_page(f"../pages/{page}.py").run()
    laps = []
    for _ in range(rounds + 2):
        start = time.process_time()
        app.run()
        laps.append(1000 * (time.process_time() - start))
        if app.exception:
            raise SystemExit(f"{page}: {app.exception[0].message}")
    every = 0.0
    with contextlib.suppress(KeyError):
        every = app.session_state["runs.every"]
    return round(statistics.median(laps[2:]), 1), round(every, 1)


def pages(root: Path, rounds: int) -> dict[str, float]:
    """Return the milliseconds of each page, visited in this process one after the other, so that caches are
    as in a server. Beside them stands what a watcher of Runs costs, as "watcher_ms" and "watcher_every_s".
    """
    os.environ[RUNS.name] = str(root)
    found = {page: visits(page, rounds)[0] for page in PAGES}
    run = RunStore(root).create(RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo"))
    with run.held():
        run.append("state", state="running")
        found["watcher_ms"], found["watcher_every_s"] = visits("runs", rounds)
    return found


def in_process(words: list[str]) -> str:
    """Run Python with these words in a process of its own and return its last line."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip().splitlines()[-1]


def listing(root: Path) -> dict[str, float]:
    """Measure what `runs` asks, every run with its state, in a process of its own."""
    count, spent, wall = in_process(["-c", LIST, str(root)]).split()
    return {"runs": int(count), "cpu_s": round(float(spent), 3), "wall_s": round(float(wall), 3)}


def measure(counts: list[int], listed: int, rounds: int) -> dict[str, Any]:
    """Return the milliseconds of pages for each number of runs, and of a long list."""
    with tempfile.TemporaryDirectory() as scratch:
        found: dict[str, Any] = {"pages_ms": {}, "list": {}}
        for count in counts:
            root = Path(scratch) / str(count)
            make_store(root, count)
            words = ["-m", "bench.runs_many", "--pages-of", str(root), "--rounds", str(rounds)]
            found["pages_ms"][str(count)] = json.loads(in_process(words))
        if listed:
            root = Path(scratch) / "listed"
            make_store(root, listed)
            found["list"]["first"] = listing(root)
            found["list"]["again"] = listing(root)
    return found


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with the milliseconds of each page by number of runs, the watcher, and the long list."""
    lines = ["| runs | " + " | ".join(PAGES) + " | a watcher of Runs |", "|--:|" + "--:|" * (len(PAGES) + 1)]
    for count, found in result["pages_ms"].items():
        cells = [f"{found[page]:.0f} ms" + (" (over)" if found[page] > BUDGET else "") for page in PAGES]
        watched = found["watcher_ms"] / 10 / found["watcher_every_s"]
        lines.append(f"| {int(count):,} | " + " | ".join(cells) + f" | {watched:.1f} % of a core |")
    told = [
        f"{value['runs']:,} runs and their states, {when}: {value['cpu_s']:.2f} s CPU"
        for when, value in result["list"].items()
    ]
    return "\n".join(
        [*lines, "", f"CPU time; a page may take {BUDGET} ms. List of {'; '.join(told)}. {origin(result)}"]
    )


def main() -> None:
    """Measure the pages and print the figures or record them."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--counts", default=",".join(map(str, COUNTS)), help="numbers of runs, with commas")
    p.add_argument(
        "--listed", type=int, default=LISTED, help="runs in the store that is only listed; 0 for none"
    )
    p.add_argument("--rounds", type=int, default=7, help="visits of each page that are measured")
    p.add_argument("--out", type=Path, help="write the record here; the tree must be clean")
    p.add_argument("--pages-of", type=Path, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.pages_of:
        print(json.dumps(pages(args.pages_of, args.rounds)))
        return
    about = header() if args.out else {}
    found = measure([int(n) for n in args.counts.split(",") if n], args.listed, args.rounds)
    for count, values in found["pages_ms"].items():
        print(f"{count:>6} runs: " + ", ".join(f"{page} {ms:.1f}" for page, ms in values.items()))
    for when, value in found["list"].items():
        print(
            f"list of {value['runs']} runs and their states, {when}: {value['cpu_s']} s CPU, {value['wall_s']} s"
        )
    if args.out:
        write_result(args.out, about | found)


if __name__ == "__main__":
    main()
