"""bench/app: what the app costs the person in front of it and the run behind it; the budgets of the README.

    python -m bench.app [--rounds 5]

A real server on a port of its own, a real browser (nice 19, so that it competes as little as a colleague's laptop
would), the bundled model. Server-side times are those of whole script runs as the server's own agent interface sees
them. What was expected before measuring: first paint 2 s with torch not yet mapped; page switches 30 ms idle and
100 ms beside a run; 20 kB a live tick; stop within a step; six watchers cost less than the noise.
"""

import argparse
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
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.record import RESULTS, ROOT, header, origin, write_result
from unlearn.runs import Run, RunStore

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PAGES = ("", "launch", "runs", "compare", "tokens", "methods")
BUDGETS = {
    "first_paint_s": (2.5, "First paint of a fresh server"),
    "switch_idle_ms": (60, "Page switch, server side, idle"),
    "switch_busy_ms": (150, "Page switch, server side, beside a run"),
    "tick_kb": (60, "One live tick of a watched run"),
    "token_click_s": (0.3, "Click on a token to its chart"),
    "stop_seen_s": (1.0, "Stop acknowledged on screen"),
    "stop_steps": (1, "Optimiser steps done after Stop"),
    "watchers_slow_percent": (5, "Training slowed by six watchers"),
    "reattach_s": (3, "Reload to the run's live view"),
}
STEP = re.compile(r"step (\d+) of")


class Server:
    """The app in a process of its own, with an empty store."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.store = f"http://127.0.0.1:{self.port}", RunStore(root)
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)]
        command += ["--server.enableAgentApi", "true"]
        env = os.environ | {"UNLEARN_RUNS": str(root), "OMP_WAIT_POLICY": "PASSIVE"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: self.answers("/_stcore/health"), 60, every=0.02)

    def answers(self, path: str) -> bool:
        try:
            urllib.request.urlopen(self.url + path, timeout=1)
        except OSError:
            return False
        return True

    def has_torch(self) -> bool:
        """Whether the server has mapped torch's library: it must not, for a first paint."""
        return "libtorch_cpu" in Path(f"/proc/{self.process.pid}/maps").read_text()

    def script_ms(self, session: str, page: str) -> float:
        """Milliseconds of one whole run of a page's script, measured around the server's agent interface."""
        began = time.perf_counter()
        self.interact({"session_id": session, "page": page})
        return 1000 * (time.perf_counter() - began)

    def interact(self, body: Mapping[str, Any]) -> dict[str, Any]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/_stcore/agent/interact", data, {"Content-Type": "application/json"}
        )
        return json.loads(urllib.request.urlopen(request, timeout=120).read())


def wait_for(ready: Callable[[], Any], seconds: float, every: float = 0.05) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(every)
    raise SystemExit(f"waited {seconds} s in vain")


@contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    os.environ["PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD"] = "1"
    with sync_playwright() as playwright:
        nice = shutil.which("nice")
        wrapper = Path(tempfile.mkdtemp()) / "chromium"
        wrapper.write_text(f'#!/bin/sh\nexec {nice} -n 19 {shutil.which("chromium")} "$@"\n')
        wrapper.chmod(0o755)
        made = playwright.chromium.launch(executable_path=str(wrapper), args=ARGS)
        yield made
        made.close()


def first_paint(server: Server, chromium: Any) -> dict[str, Any]:
    page = chromium.new_page()
    began = time.perf_counter()
    page.goto(server.url, wait_until="commit")
    page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
    seconds, early = time.perf_counter() - began, not server.has_torch()
    page.close()
    return {"first_paint_s": seconds, "torch_absent_at_first_paint": early}


def switches(server: Server, rounds: int) -> float:
    """Median over pages and rounds, after one visit to each."""
    session = server.interact({})["session_id"]
    for page in PAGES:
        server.script_ms(session, page)
    return statistics.median(server.script_ms(session, page) for _ in range(rounds) for page in PAGES)


def launch(page: Any, server: Server, epochs: int) -> Run:
    page.goto(f"{server.url}/launch?model=tiny-authors&data=authors&method=gd")
    field = page.get_by_label("Epochs", exact=True)
    field.wait_for(timeout=60_000)
    field.fill(str(epochs))
    field.press("Enter")
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"[?&]run="), timeout=60_000)
    run = server.store.get(re.search(r"run=([\w-]+)", page.url)[1])
    wait_for(lambda: len(run.events("step")) > 5, 120)
    return run


def step_seconds(run: Run, seconds: float) -> float:
    """Median time from one step's event to the next while we wait."""
    first = len(run.events("step"))
    time.sleep(seconds)
    times = [event["time"] for event in run.events("step")[first:]]
    return statistics.median(b - a for a, b in pairwise(times))


def watchers(run: Run, server: Server, chromium: Any, rounds: int) -> float:
    """Per cent that six watching tabs add to a training step; without and with them in turn."""
    ratios = []
    for _ in range(rounds):
        alone = step_seconds(run, 12)
        pages = [chromium.new_page() for _ in range(6)]
        for page in pages:
            page.goto(f"{server.url}/launch?run={run.id}")
        for page in pages:
            page.get_by_text(STEP).first.wait_for(timeout=60_000)
        time.sleep(3)
        watched = step_seconds(run, 12)
        for page in pages:
            page.close()
        time.sleep(2)
        ratios.append(watched / ((alone + step_seconds(run, 12)) / 2))
    return 100 * (statistics.median(ratios) - 1)


def ticks(run: Run, server: Server, chromium: Any) -> float:
    """Kilobytes that one live redraw sends."""
    page, sizes = chromium.new_page(), []
    page.on(
        "websocket",
        lambda ws: ws.on("framereceived", lambda data: sizes.append((time.monotonic(), len(data)))),
    )
    page.goto(f"{server.url}/launch?run={run.id}")
    page.get_by_text(STEP).first.wait_for(timeout=60_000)
    time.sleep(4)
    start, before = time.monotonic(), sum(s for _, s in sizes)
    time.sleep(20)
    total, span = sum(s for _, s in sizes) - before, time.monotonic() - start
    page.close()
    return total / (span / 2) / 1000


def reattach(page: Any) -> float:
    began = time.perf_counter()
    page.reload(wait_until="commit")
    page.get_by_text(STEP).first.wait_for(timeout=60_000)
    return time.perf_counter() - began


def stop(page: Any, run: Run) -> dict[str, float]:
    """Seconds until the screen says so, and steps that were still taken."""
    button = page.get_by_role("button", name="Stop and keep")
    button.wait_for()
    before = len(run.events("step"))
    began = time.perf_counter()
    button.click()
    page.get_by_text(re.compile("[Ss]topp")).first.wait_for(timeout=60_000)
    seen = time.perf_counter() - began
    wait_for(lambda: run.state == "stopped", 60)
    within = [
        e
        for e in run.events("step")[before:]
        if e["time"] > time.time() - (time.perf_counter() - began - 0.2)
    ]
    return {"stop_seen_s": seen, "stop_steps": float(len(within))}


def token_click(server: Server, chromium: Any, run: Run, rounds: int) -> float:
    """From the click on a token to the chart that is about it."""
    page = chromium.new_page()
    page.goto(f"{server.url}/tokens?run={run.id}&role=forget&row=0")
    page.get_by_test_id("stPlotlyChart").first.wait_for(timeout=60_000)
    page.wait_for_timeout(3000)
    cells, main = page.locator("button.cell"), page.get_by_test_id("stMain")
    laps = []
    for lap in range(rounds + 1):
        before = main.inner_text()
        began = time.perf_counter()
        cells.nth(1 + lap % 2).click()
        wait_for(lambda text=before: main.inner_text() != text, 10, 0.01)
        laps.append(time.perf_counter() - began)
        page.wait_for_timeout(500)
    page.close()
    return statistics.median(laps[1:] or laps)


def measure(rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        server = Server(Path(folder))
        try:
            found |= first_paint(server, chromium)
            wait_for(server.has_torch, 60)
            time.sleep(8)
            page = chromium.new_page()
            done = launch(page, server, 3)
            wait_for(lambda: done.state == "done", 120)
            found["switch_idle_ms"] = switches(server, rounds)
            found["token_click_s"] = token_click(server, chromium, done, rounds)
            run = launch(page, server, 900)
            found["switch_busy_ms"] = switches(server, rounds)
            found["tick_kb"] = ticks(run, server, chromium)
            found["reattach_s"] = statistics.median(reattach(page) for _ in range(rounds))
            page.goto("about:blank")
            found["watchers_slow_percent"] = watchers(run, server, chromium, rounds)
            page.goto(f"{server.url}/launch?run={run.id}")
            found |= stop(page, run)
        finally:
            server.process.terminate()
            server.process.wait(20)
    return found


def table(result: Mapping[str, Any]) -> str:
    """README table: budget and figure."""
    lines = ["| | budget | measured |", "|---|---:|---:|"]
    for key, (budget, title) in BUDGETS.items():
        unit = {"s": " s", "ms": " ms", "kb": " kB", "percent": " %", "steps": ""}[key.rsplit("_", 1)[1]]
        value = result["figures"][key]
        lines.append(f"| {title} | ≤ {budget:g}{unit} | {value:.3g}{unit} |")
    return "\n".join([*lines, "", origin(result)])


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", type=Path, default=RESULTS / "app.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    top = header(args.allow_dirty)
    figures = measure(args.rounds)
    print(json.dumps(figures, indent=1))
    write_result(args.out, top | {"figures": figures})


if __name__ == "__main__":
    main()
