"""Measures the CPU seconds that pages and lists cost with many runs in the store.

    python -m bench.runs_many                     prints; with --out assets/results/runs_many.json records (clean tree)
    python -m bench.runs_many --counts 20,300     other stores

A store is made of copies of the recorded run, cut short, each with an id, a title and scores of its own. The pages'
scripts are run by Streamlit's own test runner, twice before they are measured, and compiled once as in a server, which
has imported torch. A watcher is a tab that shows Runs while a run is at work: the CPU time of a look over the time from
one look to the next, while the run takes its steps and while each look finds something that has to be drawn. The list
of 10,000 runs is asked for in processes of their own: once without the index, and once with the one that the first has
left. Expected before measuring: at most 60 ms a page with 1,000 runs, and 2 % of a core for a watcher.
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
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench.record import ROOT, header, origin, write_result
from unlearn.store.config import RunConfig
from unlearn.store.disk import read_json, read_lines, write_json
from unlearn.store.environment import RUNS
from unlearn.store.home import ASSETS
from unlearn.store.runs import Run, RunStore

PAGES = ("start", "runs", "compare", "tokens")
COUNTS = (20, 300, 1000)
LISTED = 10_000
# Milliseconds that a page may take.
BUDGET = 60
# Percent of a core that a watcher may take.
SHARE = 2.0
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


def opened(page: str) -> Any:
    """Return the page in Streamlit's test runner, as a server has it that was there for a while."""
    from streamlit.runtime.scriptrunner.script_cache import ScriptCache
    from streamlit.testing.v1 import AppTest, local_script_runner

    compiled = ScriptCache()
    local_script_runner.ScriptCache = lambda: compiled  # type: ignore[assignment,misc]
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=120)
    app.run()
    # A fresh server imports torch beside its first pages, which would be counted as theirs.
    for thread in threading.enumerate():
        if thread.name == "preload":
            thread.join()
    app.switch_page(f"../pages/{page}.py").run()
    return app


def lap(app: Any) -> float:
    """Return the CPU milliseconds of one run of the page's script."""
    start = time.process_time()
    app.run()
    spent = 1000 * (time.process_time() - start)
    if app.exception:
        raise SystemExit(app.exception[0].message)
    return spent


def visits(page: str, rounds: int) -> float:
    """Return the median CPU milliseconds of a visit, after two that are not measured."""
    app = opened(page)
    return round(statistics.median([lap(app) for _ in range(rounds + 2)][2:]), 1)


@contextlib.contextmanager
def looking(app: Any) -> Iterator[None]:
    """Within the `with` block running the app is what the browser of a watcher asks for: the fragment drawn last."""
    from streamlit.runtime.scriptrunner import RerunData
    from streamlit.testing.v1 import local_script_runner

    last = list(app._fragment_storage._fragments)[-1]
    local_script_runner.RerunData = partial(RerunData, fragment_id_queue=[last])  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        local_script_runner.RerunData = RerunData  # type: ignore[misc]


def watcher(run: Run, rounds: int) -> dict[str, float]:
    """Return what a watcher of Runs costs while this run is at work, which the caller holds: milliseconds of a look and
    seconds between two, and the same of a look that has the page drawn anew.
    """
    run.append("state", state="running")
    app = opened("runs")
    looks, draws = [], []
    with looking(app):
        for step in range(1, rounds + 3):
            run.append("step", step=step, of=100, terms={}, seconds=0.1 * step)
            looks.append(lap(app))
    for at in range(rounds + 2):
        run.append("eval", when="after", scores={"forget": {"exact": at / 100, "n": 100}})
        # Long enough ago.
        app.session_state["runs.drawn"] = 0.0
        with looking(app):
            draws.append(lap(app))
    return {
        "watcher_ms": round(statistics.median(looks[2:]), 1),
        "watcher_every_s": round(app.session_state["runs.every"], 1),
        "watcher_draw_ms": round(statistics.median(draws[2:]), 1),
        "watcher_draw_every_s": round(app.session_state["runs.apart"], 1),
    }


def pages(root: Path, rounds: int) -> dict[str, float]:
    """Return the milliseconds of each page, visited in this process one after the other, so that caches are
    as in a server, and what watcher() says.
    """
    os.environ[RUNS.name] = str(root)
    found = {page: visits(page, rounds) for page in PAGES}
    run = RunStore(root).create(RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo"))
    with run.held():
        return found | watcher(run, rounds)


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
    heads = [*PAGES, "a watcher of Runs", "who sees it change"]
    lines = ["| runs | " + " | ".join(heads) + " |", "|--:|" + "--:|" * len(heads)]
    for count, found in result["pages_ms"].items():
        cells = [f"{found[page]:.0f} ms" + (" (over)" if found[page] > BUDGET else "") for page in PAGES]
        for kind in ("watcher", "watcher_draw"):
            # Of a table that was recorded before a watcher could see no change.
            if f"{kind}_ms" in found:
                watched = found[f"{kind}_ms"] / 10 / found[f"{kind}_every_s"]
                cells.append(f"{watched:.1f} % of a core" + (" (over)" if watched > SHARE else ""))
        lines.append(f"| {int(count):,} | " + " | ".join(cells) + " |")
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
