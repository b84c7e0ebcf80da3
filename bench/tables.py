"""Writes the tables of README.md and docs/ from recorded results and from the source.

    python -m bench.tables            rewrite the tables
    python -m bench.tables --check    exit 1 when one is stale

A block <!-- name --> … <!-- /name --> belongs to assets/results/name.json and to table() in bench/name.py, or to a
function in GENERATED, which reads the source. A block without recorded results is left alone, and a result without a
block is not an error.
"""

import argparse
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from bench import catalogue, claims, files, headline, settings
from bench.record import RESULTS, ROOT
from bench.scale import paper
from bench.tofu import lines

BLOCK = re.compile(r"<!-- (?P<name>[a-z_]+) -->\n(?P<body>.*?)<!-- /(?P=name) -->", re.DOTALL)
GENERATED: dict[str, Callable[[], str]] = {
    "files": files.table,
    "headline": headline.table,
    "claims_elsewhere": claims.elsewhere,
    "tofu_headline": lines.headline,
    "methods": catalogue.methods,
    "metrics": catalogue.metrics,
    "benchmark_metrics": catalogue.benchmark_metrics,
    "attacks": catalogue.attacks,
    "library": catalogue.library,
    "models": catalogue.models,
    "run_settings": settings.run_table,
    "data_settings": settings.data_table,
    "places": settings.place_table,
    "paper": paper.table,
    "environment": settings.environment_table,
    "caps": settings.caps_table,
}
# The modules of results that lie in a folder of bench/ under another name than bench.NAME.
ELSEWHERE = {"peak": "bench.beside.peak", "store": "bench.scale.store"}


def documents(root: Path = ROOT) -> list[Path]:
    """Return the texts that may hold blocks."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def rendered(text: str, results: Path = RESULTS) -> str:
    """Return the text with every block that has results written anew."""

    def block(found: re.Match[str]) -> str:
        name = found["name"]
        path = results / f"{name}.json"
        if name in GENERATED:
            table = GENERATED[name]()
        elif path.is_file():
            module = importlib.import_module(ELSEWHERE.get(name, f"bench.{name}"))
            table = module.table(json.loads(path.read_text(encoding="utf-8")))
        else:
            return found[0]
        return f"<!-- {name} -->\n{table.strip()}\n<!-- /{name} -->"

    return BLOCK.sub(block, text)


def stale(text: str, results: Path = RESULTS) -> list[str]:
    """Return the names of the blocks that differ from their results."""
    old, new = BLOCK.finditer(text), BLOCK.finditer(rendered(text, results))
    return [a["name"] for a, b in zip(old, new, strict=True) if a["body"] != b["body"]]


def main() -> int:
    """Write the tables, or with --check tell which are stale, and return the exit status."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--check", action="store_true", help="change nothing, exit 1 when a table is stale")
    args = options.parse_args()
    bad = False
    for path in documents():
        text = path.read_text(encoding="utf-8")
        names = stale(text)
        if args.check and names:
            bad = True
            remedy = "`python -m bench.tables` writes them anew."
            print(f"{path.relative_to(ROOT)}: stale: {', '.join(names)}; {remedy}", file=sys.stderr)
        elif names:
            path.write_text(rendered(text), encoding="utf-8")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
