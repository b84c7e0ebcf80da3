"""This module reads TOFU's four sets: what its own metrics ask a model (Maini et al. 2024, arXiv 2401.06121).

Of retain and forget the first 300 items count, as in the logs that its authors published.
"""

from pathlib import Path

from unlearn.data.benchmarks import HUB, source_for
from unlearn.data.items.base import Items, Part

# Items of retain and forget that count, and tokens of a prompt with its answer.
FIRST, ROOM = 300, 200


def items(name: str, folder: Path | None) -> Items:
    """Return the four sets of tofu-forget01, 05 or 10."""
    source = source_for(name, folder, HUB["tofu"])
    sets = {
        "retain": "retain_perturbed",
        "real_authors": "real_authors_perturbed",
        "world_facts": "world_facts_perturbed",
        "forget": f"{name.partition('-')[2]}_perturbed",
    }
    parts = {}
    for title, config in sets.items():
        rows = source.maybe(config, f"TOFU's {title.replace('_', ' ')}")
        if title in ("retain", "forget"):
            rows = rows[:FIRST]
        if asked := tuple(row for row in rows if row.wrong):
            parts[f"tofu {title}"] = Part(asked, "questions", ROOM)
    return Items(parts, tuple(source.notes))
