"""Tells what is on this machine (versions, device, threads, disk, browser, extras) and what may cause
trouble.

Nothing is downloaded and no model is loaded. A line that begins with "!" is worth a look; none of them is an error, so
the exit status is 0 whenever the question could be answered.
"""

import argparse
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import unlearn
from unlearn.commands.parser import Command
from unlearn.models.load import pick_device
from unlearn.store.disk import cache_dir
from unlearn.store.home import HOME, INSTALLED
from unlearn.store.shapes import JsonObject

NAME = "unlearn-studio"
GIB = 2**30
# A run of SmolLM2 with all weights keeps 0.5 GiB, and as much again while it writes.
LITTLE_ROOM = 2 * GIB
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SAID = ("UNLEARN_", "OMP_", "GOMP_", "MKL_NUM_THREADS", "HF_HOME", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")
SECRET = re.compile("TOKEN|KEY|SECRET|PASSWORD")
LINE = re.compile(r"(?P<name>[\w.-]+)\s*(?P<range>[^;]*?)\s*(?:;.*extra == ['\"](?P<extra>[\w-]+)['\"].*)?$")
PIN = re.compile(r"^([\w-]+)==([\w.+]+)", re.MULTILINE)


def add(command: Command) -> None:
    """Declare the command doctor."""
    p = command(
        "doctor", doctor, "say what is here: versions, device, threads, disk, browser, extras", store=True
    )
    p.epilog = "A line that begins with ! is worth a look."


def doctor(args: argparse.Namespace) -> int:
    """Print what is on this machine, and a line for each thing that may cause trouble."""
    found = {"product": product(), "packages": packages(), "extras": extras(), "device": device(),
             "threads": threads(), "disk": disk(args.runs), "browser": browser()}  # fmt: skip
    notes = list(troubles(found))
    if args.json:
        print(json.dumps(found | {"notes": notes}))
        return 0
    for line in lines(found):
        print(line)
    for note in notes:
        print(f"! {note}")
    return 0


def product() -> JsonObject:
    """Return the product's own version and place, and Python's."""
    return {
        "version": unlearn.__version__,
        "installed": INSTALLED,
        "folder": str(HOME),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def needed() -> Iterator[tuple[str, str, str]]:
    """Yield (package, range, extra) of everything that pyproject.toml names.

    extra is empty for what all installations need.
    """
    try:
        named = requires(NAME) or []
    except PackageNotFoundError:
        named = _of_checkout()
    for text in named:
        if match := LINE.match(text):
            yield match["name"], match["range"], match["extra"] or ""


def _of_checkout() -> list[str]:
    """Return the requirements as a wheel's metadata would have them, from pyproject.toml beside the code."""
    import tomllib

    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = [
        f"{line} ; extra == '{name}'"
        for name, own in project["optional-dependencies"].items()
        for line in own
    ]
    return [*project["dependencies"], *extra]


def packages() -> dict[str, JsonObject]:
    """Return {package: {"here", "range", "fits", "pinned"}}.

    pinned is the tested version, where a checkout states it.
    """
    pins: dict[str, str] = {}
    if (tested := HOME / "requirements.txt").is_file():
        pins = dict(PIN.findall(tested.read_text(encoding="utf-8")))
    return {
        name: {"here": here, "range": span, "fits": fits(here, span), "pinned": pins.get(name)}
        for name, span, extra in needed()
        if not extra
        for here in [version_of(name)]
    }


def extras() -> dict[str, dict[str, str | None]]:
    """Return {extra: {package: its version here, or None}}."""
    found: dict[str, dict[str, str | None]] = {}
    for name, _, extra in needed():
        if extra:
            found.setdefault(extra, {})[name] = version_of(name)
    return found


def version_of(name: str) -> str | None:
    """Return the installed version of a package. It is None where the package is not here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def fits(here: str | None, span: str) -> bool:
    """Return whether the version lies in the range.

    Where nothing can compare them, return whether there is a version.
    """
    try:
        from packaging.specifiers import SpecifierSet
    # packaging comes with transformers, and a person may ask the doctor because nothing is installed.
    except ImportError:
        return here is not None
    return here is not None and SpecifierSet(span).contains(here, prereleases=True)


def device() -> JsonObject:
    """Return how torch was built and what it can compute on. It is {"error"} where torch cannot be imported."""
    try:
        import torch

        chosen = pick_device()
    # Any error is caught, because a person asks the doctor about a broken installation.
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    gpus = [
        {"name": torch.cuda.get_device_name(i), "bytes": torch.cuda.get_device_properties(i).total_memory}
        for i in range(torch.cuda.device_count())
    ]
    return {
        "chosen": chosen,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": gpus,
        "bfloat16": torch.cuda.is_bf16_supported() if gpus else None,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "libraries": {
            "mkl": torch.backends.mkl.is_available(),
            "onednn": torch.backends.mkldnn.is_available(),
        },
    }


def threads() -> JsonObject:
    """Return the cores, the threads that torch would use, the load, and what the environment says about them."""
    torch = sys.modules.get("torch")
    cores: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    told = {k: v for k, v in sorted(os.environ.items()) if k.startswith(SAID) and not SECRET.search(k)}
    return {
        "cores": allowed,
        "torch": torch.get_num_threads() if torch else None,
        "load": load,
        "environment": told,
    }


def disk(runs: Path) -> JsonObject:
    """Return the folders that are written to, with the bytes free there and whether they can be written."""
    places = {"runs": runs.absolute(), "cache": cache_dir()}
    return {name: room(path) for name, path in places.items()}


def room(path: Path) -> JsonObject:
    """Return the free bytes of a folder and whether it can be written.

    Of a folder that does not exist yet, its nearest parent counts.
    """
    there = next(p for p in (path, *path.parents) if p.exists())
    return {"path": str(path), "free": shutil.disk_usage(there).free, "writable": os.access(there, os.W_OK)}


def browser() -> str | None:
    """Return the path of the browser that the tests use. It is None where there is none."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def troubles(found: JsonObject) -> Iterator[str]:
    """Yield a sentence with a remedy for everything that may cause trouble."""
    for name, one in found["packages"].items():
        if not one["fits"]:
            have = f"{one['here']} is here" if one["here"] else "it is not here"
            yield f'{name}: must be {one["range"]}, {have}; `pip install "{name}{one["range"]}"` mends it.'
    if error := found["device"].get("error"):
        yield f"torch: cannot be imported ({error}); install it again: pip install --force-reinstall torch."
    for name, one in found["disk"].items():
        if not one["writable"]:
            yield f"{name}: {one['path']} cannot be written; name another with UNLEARN_{name.upper()}."
        if one["free"] < LITTLE_ROOM:
            yield f"{name}: {one['path']} has {one['free'] / GIB:.1f} GiB free; a larger model needs more."
    own = found["threads"]
    if own["load"] is not None and own["load"] > own["cores"]:
        yield f"threads: the load is {own['load']:.1f} on {own['cores']} cores; times will be longer than stated."


def lines(found: JsonObject) -> Iterator[str]:
    """Yield the report for a person, one fact on each line."""
    own, torch, cpu = found["product"], found["device"], found["threads"]
    yield f"{NAME} {own['version']}, {'installed' if own['installed'] else 'checkout'} in {own['folder']}"
    yield f"Python {own['python']} on {own['system']}"
    if "error" not in torch:
        gpus = ", ".join(f"{g['name']} ({g['bytes'] / GIB:.0f} GiB)" for g in torch["gpus"]) or "no GPU"
        build = f"CUDA {torch['cuda']}" if torch["cuda"] else "no CUDA"
        yield f"torch {torch['torch']} ({build}); computes on {torch['chosen']}; {gpus}; CPU with {torch['cpu']}"
    yield f"threads: {cpu['torch']} of torch on {cpu['cores']} cores, load {cpu['load']}"
    yield from (f"  {name}={value}" for name, value in cpu["environment"].items())
    for name, one in found["disk"].items():
        yield f"{name}: {one['path']}, {one['free'] / GIB:.1f} GiB free"
    yield f"browser for the tests: {found['browser'] or 'none (Debian: apt-get install chromium)'}"
    for name, one in found["packages"].items():
        other = one["pinned"] and str(one["here"]).split("+")[0] != one["pinned"]
        yield f"  {name} {one['here'] or 'missing'}" + (f" (tested with {one['pinned']})" if other else "")
    for extra, parts in found["extras"].items():
        here = ", ".join(f"{name} {number or 'missing'}" for name, number in parts.items())
        yield f"extra {extra}: {here}"
