"""What stands over every recorded result: commit, versions, machine, command, date; nothing from a dirty tree.

A number in the README is only as good as the way back to it. Dirty means tracked files under unlearn/ or bench/ that
differ from the commit: a page's uncommitted colour changes no measurement. load is what else the machine was doing:
wall seconds under a load above the number of cores say little, CPU seconds still do.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unlearn.store.disk import write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "assets" / "results"
VERSIONS = ("torch", "transformers", "peft", "datasets", "tokenizers", "numpy")
MEASURED = ("unlearn", "bench", "assets/models")


def header(allow_dirty: bool = False, **more: Any) -> dict[str, Any]:
    """Everything but the numbers. SystemExit when the tree is dirty and that was not allowed."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *MEASURED)
    if changed and not allow_dirty:
        raise SystemExit(f"the tree is dirty; commit first or give --allow-dirty:\n{changed}")
    words = [f"bench.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
    return {
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "dirty": bool(changed),
        "versions": {name: version(name) for name in VERSIONS} | {"python": platform.python_version()},
        "machine": {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]},
        "command": "python -m " + " ".join(words),
        "date": time.strftime("%Y-%m-%d"),
    } | more


def write_result(path: Path, value: Mapping[str, Any]) -> None:
    """Whole or not at all, made readable by a diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)


def origin(result: Mapping[str, Any]) -> str:
    """The line under a table: how these numbers were made."""
    machine = result["machine"]
    seeds = f"seeds {', '.join(map(str, result['seeds']))}; " if "seeds" in result else ""
    dirty = " with local changes" if result["dirty"] else ""
    busy = f" at load {machine['load']:.0f}" if machine["load"] > machine["cores"] else ""
    return (
        f"<sub>`{result['command']}`; {seeds}{machine['cpu']}, {machine['cores']} cores{busy}, torch "
        f"{result['versions']['torch']}; commit {result['commit']}{dirty}, {result['date']}.</sub>"
    )


def cpu_name() -> str:
    """As the system names it; the architecture where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
