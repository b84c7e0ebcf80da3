"""A provenance header records where a figure comes from. It holds commit, versions, machine, command and
date.

A figure is only as good as the way back to it. Dirty means tracked files under unlearn/, bench/ or assets/models that
differ from the commit: a page's uncommitted colour changes no measurement. An installed product has no commit: its
version stands there instead. load is what else the machine was doing:
wall seconds under a load above the number of cores say little, CPU seconds still do.
"""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from unlearn.store.home import ASSETS, HOME, INSTALLED
from unlearn.store.shapes import JsonObject

RESULTS = ASSETS / "results"
VERSIONS = ("torch", "transformers", "peft", "datasets", "tokenizers", "numpy")
MEASURED = ("unlearn", "bench", "assets/models")


def header(allow_dirty: bool = False, **more: object) -> JsonObject:
    """Return everything that a file of figures states about their origin: commit, versions, machine, command,
    date. SystemExit when the tree is dirty and that was not allowed.
    """
    changed = "" if INSTALLED else _git("status", "--porcelain", "--untracked-files=no", "--", *MEASURED)
    if changed and not allow_dirty:
        raise SystemExit(f"the tree is dirty; commit first or give --allow-dirty:\n{changed}")
    words = [_module(), *sys.argv[1:]]
    return {
        "commit": commit(),
        "dirty": bool(changed),
        "versions": {name: version(name) for name in VERSIONS} | {"python": platform.python_version()},
        "machine": {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]},
        "command": "python -m " + " ".join(words),
        "date": time.strftime("%Y-%m-%d"),
    } | more


def _module() -> str:
    """The module that Python was started with, as `python -m` wants it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = spec.name if spec is not None else f"bench.{Path(sys.argv[0]).stem}"
    return name.removesuffix(".__main__")


def commit() -> str:
    """Return the commit of this checkout, or for an installed product its version, such as "installed 0.2.0"."""
    # A folder above an installed product may be another person's repository.
    if INSTALLED:
        return f"installed {version('unlearn-studio')}"
    return _git("rev-parse", "--short=12", "HEAD")


def cpu_name() -> str:
    """Return the processor's name as the system gives it, or its architecture where the system gives none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=HOME, capture_output=True, text=True, check=True
    ).stdout.strip()
