"""Writes recorded results with their header, and the line under each table. Nothing comes from a dirty tree.

The header itself (commit, versions, machine, command, date) is unlearn.store.provenance's.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn.store.disk import write_json
from unlearn.store.home import HOME as ROOT
from unlearn.store.provenance import RESULTS, header

__all__ = ["RESULTS", "ROOT", "header", "origin", "origins", "write_result"]

# More lines than these are folded.
MOST = 4


def write_result(path: Path, value: Mapping[str, Any]) -> None:
    """Write a result whole or not at all, in a form that a diff can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)


def origin(result: Mapping[str, Any]) -> str:
    """Return the line under a table, which says how these numbers were made."""
    return origins([result])


def origins(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the lines under a table: one for each way its numbers were made, in which only the load may differ."""
    made: dict[tuple[str, str], list[float]] = {}
    for result in results:
        machine = result["machine"]
        seeds = f"seeds {', '.join(map(str, result['seeds']))}; " if "seeds" in result else ""
        dirty = " with local changes" if result["dirty"] else ""
        parts = (
            f"<sub>`{result['command']}`; {seeds}{machine['cpu']}, {machine['cores']} cores",
            f", torch {result['versions']['torch']}; commit {result['commit']}{dirty}, {result['date']}.</sub>",
        )
        made.setdefault(parts, []).append(machine["load"] if machine["load"] > machine["cores"] else 0.0)
    lines = "<br>".join(f"{before}{_busy(loads)}{after}" for (before, after), loads in made.items())
    if len(made) <= MOST:
        return lines
    return f"<details><summary><sub>How each row was made</sub></summary>{lines}</details>"


def _busy(loads: Sequence[float]) -> str:
    few, most = (f"{value:.0f}" for value in (min(loads), max(loads)))
    return "" if most == "0" else f" at load {most}" if few == most else f" at load {few} to {most}"
