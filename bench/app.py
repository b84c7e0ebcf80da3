"""Measures what the app costs a person and a run, against the budgets in docs/speed.md.

    python -m bench.app [--rounds 5]

A real server on a port of its own with twenty finished runs, the bundled model. What a person sees (first paint, a
click, a reload, Stop) is timed in a real browser that shares the cores with server and training, as on one laptop. What
the server does (page switches, live ticks, six watchers) is asked for over its own websocket (bench.client), from the
asking to the end of the script, with no browser there: a browser's drawing is not the server's cost. A page switch is
judged by the slowest page. Training with and without watchers is compared by the mean time of a step, windows in turn;
a median would hide the steps that a redraw falls into.
What was expected before measuring: first paint 2 s with torch not yet mapped; page switches 30 ms idle and 60 ms beside
a run; 20 kB a live tick; stop within a step; six watchers cost two per cent.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.client import Tab, tabs
from bench.record import RESULTS, ROOT, header, origin, write_result
from unlearn.store.disk import write_json
from unlearn.store.runs import Run, RunConfig, RunStore

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# The number of runs in the store, which are copies of the recorded one.
FINISHED = 20
WATCHERS = 6
# Seconds of one window with or without watchers.
WINDOW = 10.0
LONG = {"model": "tiny-authors", "data": {"name": "authors"}, "method": "gd", "lr": 1e-5, "epochs": 900}
STEP = re.compile(r"step (\d+) of")
# Each figure, with its budget and what it is.
BUDGETS = {
    "first_paint_s": (2.5, "First paint of a fresh server, before torch is there"),
    "switch_idle_ms": (60, "Page switch, server side, slowest page, idle"),
    "switch_busy_ms": (150, "Page switch, server side, slowest page, beside a run"),
    "tick_kb": (60, "One live tick of a watched run, every 2 s"),
    "token_click_s": (0.3, "Click on a token to its chart"),
    "stop_seen_s": (1.0, "Stop acknowledged on screen"),
    "stop_steps": (1, "Optimiser steps that end after Stop"),
    "watchers_slow_percent": (5, "Training slowed by six watchers"),
    "reattach_s": (3, "Reload to the run's live view"),
}
UNITS = {"s": " s", "ms": " ms", "kb": " kB", "percent": " %", "steps": ""}


class Server:
    """The app in a process of its own. Its CPU time is read from outside, apart from the training's threads."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.store = f"http://127.0.0.1:{self.port}", RunStore(root)
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)]
        env = os.environ | {"UNLEARN_RUNS": str(root), "OMP_WAIT_POLICY": "PASSIVE"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.answers, 60, every=0.02)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)

    def answers(self) -> bool:
        """Return whether the server answers yet."""
        try:
            urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1)
        except OSError:
            return False
        return True

    def has_torch(self) -> bool:
        """Return whether the server has loaded torch's library, which it must not for a first paint."""
        return "libtorch_cpu" in Path(f"/proc/{self.process.pid}/maps").read_text()

    def clock(self) -> tuple[float, dict[str, float]]:
        """Return the CPU seconds of the process so far, and of each living thread but the first."""
        pid, threads = self.process.pid, {}
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                try:
                    threads[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
                # The thread ended while it was looked at.
                except OSError:
                    continue
        return time.clock_gettime((~pid << 3) | 2), threads

    def pages_cpu(self, before: tuple[float, dict[str, float]]) -> float:
        """Return the CPU seconds that pages took since then: the event loop, and script threads, which live
        for one script.

        The threads that were there then and are there now are the runner's and torch's.
        """
        total, threads = self.clock()
        stayed = sum(seconds - before[1][name] for name, seconds in threads.items() if name in before[1])
        return total - before[0] - stayed


def wait_for(ready: Callable[[], Any], seconds: float, every: float = 0.05) -> Any:
    """Return what ready() gives as soon as it is true. SystemExit when that takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(every)
    raise SystemExit(f"waited {seconds} s in vain")


def fill(store: RunStore) -> None:
    """Make twenty finished runs, and one whose settings are those of a long training."""
    recorded = next(iter(RunStore(ROOT / "assets" / "recorded").list()))
    for i in range(FINISHED):
        folder = store.root / f"20260101-{i:06}-npo-{i:04x}"
        shutil.copytree(recorded.path, folder)
        write_json(folder / "meta.json", {"owner": "", "title": f"Run {i}"})
    run = store.create(RunConfig(**LONG), title="long")
    run.append("state", state="stopped", reason="only its settings matter")


# -- in a browser ----------------------------------------------------------------------------------------------


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a real browser, closed at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        yield made
        made.close()


def first_paint(root: Path, chromium: Any) -> tuple[float, bool]:
    """Return the seconds from asking a new server to the page's title, and whether torch was absent then.

    The browser was never there before.
    """
    with Server(root) as server:
        context = chromium.new_context()
        page = context.new_page()
        began = time.perf_counter()
        page.goto(server.url, wait_until="commit")
        page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
        found = time.perf_counter() - began, not server.has_torch()
        context.close()
    return found


def token_click(server: Server, page: Any, rounds: int) -> float:
    """Return the median seconds from the click on a token to the words of its figure."""
    run = next(run for run in server.store.list() if run.state == "done")
    page.goto(f"{server.url}/tokens?run={run.id}&role=forget&row=0")
    page.get_by_test_id("stPlotlyChart").nth(1).wait_for(timeout=60_000)
    page.wait_for_timeout(3000)
    cells, chart = page.locator("button.cell"), page.get_by_test_id("stPlotlyChart").first
    laps = []
    for lap in range(rounds + 2):
        before = chart.text_content()
        began = time.perf_counter()
        cells.nth(lap % 2).click()
        # The first click is not counted, because its token may already be chosen.
        if lap:
            wait_for(lambda text=before: chart.text_content() != text, 60, 0.01)
            laps.append(time.perf_counter() - began)
        page.wait_for_timeout(2000)
    return statistics.median(laps[1:])


def reattach(page: Any) -> float:
    """Return the seconds from a reload to the words that show the run's step."""
    began = time.perf_counter()
    page.reload(wait_until="commit")
    page.get_by_text(STEP).first.wait_for(timeout=60_000)
    return time.perf_counter() - began


def stop(server: Server, page: Any, run: Run) -> tuple[float, int]:
    """Return the seconds from the click until the screen shows it, and the number of steps that ended after
    the runner was told.
    """
    page.goto(f"{server.url}/launch?run={run.id}")
    button = page.get_by_role("button", name="Stop and keep")
    button.wait_for(timeout=60_000)
    page.wait_for_timeout(3000)
    began = time.perf_counter()
    button.click()
    page.get_by_text(re.compile("Stopping after this step|^stopped$")).first.wait_for(timeout=60_000)
    seen = time.perf_counter() - began
    wait_for(lambda: run.state == "stopped", 60)
    told = next(e["time"] for e in run.events("note") if e.get("asked") == "stop")
    return seen, sum(event["time"] > told for event in run.events("step"))


# -- over the websocket ----------------------------------------------------------------------------------------


async def launch(server: Server) -> Run:
    """Press Launch on a page that has the long run's settings, and return the run when it trains."""
    known = {run.id for run in server.store.list()}
    source = next(run for run in server.store.list() if run.title == "long")
    async with Tab(server.port) as tab:
        await tab.visit("launch", f"clone={source.id}")
        await tab.press("Launch")
    run = next(run for run in server.store.list() if run.id not in known)
    while len(run.events("step")) < 10:
        if run.state not in ("queued", "running"):
            raise SystemExit(f"the run is {run.state}: {run.reason}")
        await asyncio.sleep(0.1)
    return run


async def switches(server: Server, rounds: int) -> dict[str, dict[str, float]]:
    """Return for each page the median milliseconds of a switch to it and of the CPU in it, garbage collection
    included.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    async with Tab(server.port) as tab:
        await tab.visit("")
        for page in tab.pages:
            await tab.visit(page)
        for page in [name for _ in range(rounds) for name in tab.pages]:
            await asyncio.sleep(0.1)
            before = server.clock()
            seen = await tab.visit(page)
            await asyncio.sleep(0.1)
            lap = 1000 * seen.seconds, 1000 * server.pages_cpu(before)
            found.setdefault(page or "start", []).append(lap)
    return {
        page: dict(zip(("ms", "cpu_ms"), map(statistics.median, zip(*laps, strict=True)), strict=True))
        for page, laps in found.items()
    }


async def pace(server: Server, run: Run) -> tuple[float, float]:
    """Return (seconds a step, CPU seconds of pages a second) over one window."""
    steps, began, before = len(run.events("step")), time.perf_counter(), server.clock()
    await asyncio.sleep(WINDOW)
    seconds = time.perf_counter() - began
    return seconds / (len(run.events("step")) - steps), server.pages_cpu(before) / seconds


async def watched(server: Server, run: Run, rounds: int) -> dict[str, Any]:
    """Return what six tabs on the run's page cost.

    Windows without and with them take turns, and what each tick sent is counted.
    """
    alone, together, ticks, cpu = [(await pace(server, run))[0]], [], [], []
    for _ in range(rounds):
        async with tabs(server.port, WATCHERS) as watching:
            for tab in watching:
                await tab.visit("launch", f"run={run.id}")
            await asyncio.sleep(2)
            seen = [len(tab.runs) for tab in watching]
            step, busy = await pace(server, run)
            new = [tick for tab, first in zip(watching, seen, strict=True) for tick in tab.runs[first:]]
        if len(new) < WATCHERS:
            raise SystemExit("the watchers saw no live ticks: is the run still going on?")
        together.append(step)
        ticks += [tick.size for tick in new]
        cpu.append(1000 * busy * WINDOW / len(new))
        await asyncio.sleep(1)
        alone.append((await pace(server, run))[0])
    slower = [t / statistics.mean(alone[i : i + 2]) for i, t in enumerate(together)]
    return {
        "tick_kb": statistics.median(ticks) / 1000,
        "tick_cpu_ms": statistics.median(cpu),
        "watchers_slow_percent": 100 * (statistics.median(slower) - 1),
        "watchers_slow_rounds": [100 * (ratio - 1) for ratio in slower],
        "step_ms_alone": [1000 * s for s in alone],
        "steps_at_last_tick": len(run.events("step")),
    }


def slowest(pages: Mapping[str, Mapping[str, float]]) -> float:
    """Return the milliseconds of the slowest page."""
    return max(page["ms"] for page in pages.values())


def measure(rounds: int) -> dict[str, Any]:
    """Measure every figure of BUDGETS and return them with what they come from."""
    found: dict[str, Any] = {"finished_runs": FINISHED}
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        root = Path(folder)
        fill(RunStore(root))
        paints = [first_paint(root, chromium) for _ in range(3)]
        found["first_paint_s"] = statistics.median(seconds for seconds, _ in paints)
        found["torch_absent_at_first_paint"] = all(absent for _, absent in paints)
        with Server(root) as server:
            page = chromium.new_page()
            page.goto(server.url)
            wait_for(server.has_torch, 60)
            time.sleep(8)
            found["token_click_s"] = token_click(server, page, rounds)
            page.goto("about:blank")
            found["pages_idle"] = outside(switches(server, rounds))
            run = outside(launch(server))
            found["pages_busy"] = outside(switches(server, rounds))
            found |= outside(watched(server, run, rounds))
            page.goto(f"{server.url}/launch?run={run.id}")
            page.get_by_text(STEP).first.wait_for(timeout=60_000)
            found["reattach_s"] = statistics.median(reattach(page) for _ in range(rounds))
            stops = [stop(server, page, run)]
            stops += [stop(server, page, outside(launch(server))) for _ in range(2)]
    found["stop_seen_s"] = statistics.median(seen for seen, _ in stops)
    found["stop_steps"] = max(steps for _, steps in stops)
    found |= {f"switch_{when}_ms": slowest(found[f"pages_{when}"]) for when in ("idle", "busy")}
    return found


def outside(task: Any) -> Any:
    """Run a coroutine in a thread of its own, because the browser's driver holds this thread's event loop."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, task).result()


def table(result: Mapping[str, Any]) -> str:
    """Return the table for docs: budget, figure, and whether it was met."""
    figures = result["figures"]
    lines = ["| | budget | measured | met |", "|---|---:|---:|---|"]
    for key, (budget, title) in BUDGETS.items():
        unit, value = UNITS[key.rsplit("_", 1)[1]], figures[key]
        met = value <= budget and (key != "first_paint_s" or figures["torch_absent_at_first_paint"])
        lines.append(f"| {title} | ≤ {budget:g}{unit} | {value:.3g}{unit} | {'yes' if met else '**no**'} |")
    words = f"{figures['finished_runs']} finished runs in the store; one tick costs the server "
    words += f"{figures['tick_cpu_ms']:.3g} ms of CPU time."
    return "\n".join([*lines, "", f"{words} {origin(result)}"])


def main() -> None:
    """Measure the app and record the figures."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", type=Path, default=RESULTS / "app.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    top = header(args.allow_dirty, rounds=args.rounds)
    figures = measure(args.rounds)
    print(json.dumps(figures, indent=1))
    write_result(args.out, top | {"figures": figures})


if __name__ == "__main__":
    main()
