"""bench/tables: the README's tables, written from the recorded results.

    python -m bench.tables            rewrite the tables
    python -m bench.tables --check    exit 1 when one is stale

A block <!-- name --> … <!-- /name --> in README.md belongs to assets/results/name.json and to table() in
bench/name.py; the block `files` is the file tree. A block without recorded results is left alone, and a result
without a block is not an error.
"""

import argparse
import importlib
import json
import re
import sys
from pathlib import Path

from bench import files
from bench.record import RESULTS, ROOT

BLOCK = re.compile(r"<!-- (?P<name>[a-z_]+) -->\n(?P<body>.*?)<!-- /(?P=name) -->", re.DOTALL)


def rendered(text: str, results: Path = RESULTS) -> str:
    """The text with every block that has results written anew."""

    def block(found: re.Match[str]) -> str:
        name = found["name"]
        path = results / f"{name}.json"
        if name == "files":
            return f"<!-- files -->\n{files.table()}\n<!-- /files -->"
        if not path.is_file():
            return found[0]
        table = importlib.import_module(f"bench.{name}").table(json.loads(path.read_text(encoding="utf-8")))
        return f"<!-- {name} -->\n{table.strip()}\n<!-- /{name} -->"

    return BLOCK.sub(block, text)


def stale(text: str, results: Path = RESULTS) -> list[str]:
    """Names of the blocks that differ from their results."""
    old, new = BLOCK.finditer(text), BLOCK.finditer(rendered(text, results))
    return [a["name"] for a, b in zip(old, new, strict=True) if a["body"] != b["body"]]


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--check", action="store_true")
    args = options.parse_args()
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    names = stale(text)
    if args.check and names:
        print(
            f"README.md: stale: {', '.join(names)}; `python -m bench.tables` writes them anew.",
            file=sys.stderr,
        )
        return 1
    if names and not args.check:
        readme.write_text(rendered(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
