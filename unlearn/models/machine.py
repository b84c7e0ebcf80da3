"""This module measures once which library multiplies fastest on this machine. It also measures how many
tokens the output head takes together.

It is kept in the cache folder and the same in every process.

Measured anew in each process the two can come out as equals, once this way and once that, and two runs of the same
seed would differ in the last bits. Another processor or build of torch is measured again.
"""

import contextlib
from functools import cache
from importlib.metadata import version

from unlearn.compute import chunks, products
from unlearn.store import environment
from unlearn.store.disk import cache_dir, read_json, write_json
from unlearn.store.provenance import cpu_name

FILE = "products.json"
# The file with the number of tokens that go through the output head together (unlearn/compute/chunks.py).
HEAD_FILE = "head.json"


def choose_products(began_with: str = "") -> str:
    """Let this process multiply as a run did that began with that library, else as this machine does best.

    Returns a sentence where the run's library cannot be had. UNLEARN_PRODUCTS has the last word.
    """
    used = products.use(began_with if began_with in products.LIBRARIES else _of_machine())
    _choose_head_rows(used)
    if not began_with or used == began_with:
        return ""
    return f"The run began with products by {began_with} and goes on with {used}: the last bits may differ."


@cache
def choose_once() -> None:
    """The same for a process that has carried out no run: the first model that is loaded asks for it."""
    choose_products()


def _of_machine() -> str | None:
    """The library that was found to be faster here before; found and kept where none was. None: it is not asked."""
    if environment.PRODUCTS.text():
        return None
    machine = f"{cpu_name()}, torch {version('torch')}"
    path = cache_dir() / FILE
    kept = read_json(path).get(machine)
    if kept in products.LIBRARIES:
        return str(kept)
    found = products.use(None)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {machine: found})
    return found


def _choose_head_rows(library: str) -> None:
    """Let the head take as many tokens at once as was found to be enough here, by this library; else find out."""
    machine = f"{cpu_name()}, torch {version('torch')}, {library}"
    path = cache_dir() / HEAD_FILE
    known = read_json(path)
    kept = known.get(machine)
    if kept in chunks.ROWS:
        chunks.use(int(kept))
        return
    found = chunks.use(None)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, known | {machine: found})
