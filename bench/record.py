"""Writes recorded results with their header, and the line under each table. Nothing comes from a dirty tree.

The header itself (commit, versions, machine, command, date) is unlearn.store.provenance's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn.store.disk import write_json
from unlearn.store.home import HOME as ROOT
from unlearn.store.provenance import RESULTS, header

__all__ = ["RESULTS", "ROOT", "header", "origin", "write_result"]


def write_result(path: Path, value: Mapping[str, Any]) -> None:
    """Write a result whole or not at all, in a form that a diff can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)


def origin(result: Mapping[str, Any]) -> str:
    """Return the line under a table, which says how these numbers were made."""
    machine = result["machine"]
    seeds = f"seeds {', '.join(map(str, result['seeds']))}; " if "seeds" in result else ""
    dirty = " with local changes" if result["dirty"] else ""
    busy = f" at load {machine['load']:.0f}" if machine["load"] > machine["cores"] else ""
    return (
        f"<sub>`{result['command']}`; {seeds}{machine['cpu']}, {machine['cores']} cores{busy}, torch "
        f"{result['versions']['torch']}; commit {result['commit']}{dirty}, {result['date']}.</sub>"
    )
