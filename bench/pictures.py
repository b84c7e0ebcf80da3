"""Takes the README's picture anew from the app that is here.

    python -m bench.pictures

The page Start with the recorded run that ships, in a real browser and with an empty store; nothing in it is drawn by
hand. Wants Debian's chromium. Writes assets/screenshot.png.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.record import ROOT

SIZE = {"width": 1360, "height": 1120}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# Milliseconds to wait after the replay's last step, until fonts and figure are drawn.
SETTLED = 4_000


@contextmanager
def server(runs: Path) -> Iterator[str]:
    """Run the app with this store for the time of the block, and give its address.

    SystemExit when it does not answer.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    env = os.environ | {"UNLEARN_RUNS": str(runs)}
    served = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise SystemExit("the app did not answer within a minute")
        yield url
    finally:
        served.terminate()
        served.wait(20)


def start_page(url: str, out: Path) -> None:
    """Take a picture of the page Start with its replay at the last step."""
    from playwright.sync_api import sync_playwright

    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("no browser here; Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        page = made.new_page(viewport=SIZE)
        page.goto(url)
        page.get_by_role("heading", name="Before and after").wait_for(timeout=120_000)
        slider = page.get_by_role("slider").first
        slider.wait_for(timeout=120_000)
        slider.focus()
        page.keyboard.press("End")
        slider.blur()
        page.wait_for_timeout(SETTLED)
        page.mouse.move(0, 0)
        page.screenshot(path=out)
        made.close()


def main() -> None:
    """Take the picture and write its file."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, default=ROOT / "assets" / "screenshot.png", help="file to write")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "runs") as url:
        start_page(url, args.out)


if __name__ == "__main__":
    main()
