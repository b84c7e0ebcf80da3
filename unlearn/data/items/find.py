"""This module finds the items of a benchmark by its name."""

from collections.abc import Callable
from pathlib import Path

from unlearn.data.benchmarks import is_benchmark
from unlearn.data.items import muse, rwku, tofu
from unlearn.data.items.base import Items

FAMILIES: dict[str, Callable[[str, Path | None], Items]] = {
    "tofu": tofu.items,
    "muse": muse.items,
    "rwku": rwku.items,
}


def items_of(name: str, folder: Path | None = None) -> Items:
    """Return the items of the benchmark of this name, from its place on the hub or a folder of the same layout.

    There are none where the name is no benchmark's, or its metrics are another harness' (WMDP). ValueError where none
    of its parts can be read.
    """
    family = name.partition("-")[0].partition(":")[0]
    if not is_benchmark(name) or family not in FAMILIES:
        return Items({})
    found = FAMILIES[family](name, folder)
    if not found.parts:
        raise ValueError(f"benchmark: none of the parts of {name} can be read ({' '.join(found.notes)})")
    return found
