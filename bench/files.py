"""Writes the file tree of docs/architecture.md, with the first sentence of each file.

So the tree cannot name a file that is gone, nor describe one otherwise than it describes itself.
"""

import ast
import re
import subprocess
from pathlib import Path

from bench.record import ROOT

OTHERS = {
    "app.py": None,
    "assets/models/": "the bundled models, each with its exact retrain",
    "assets/data/": "the texts of the snippets dataset, with their licence",
    "assets/recorded/": "a recorded run for the Start page",
    "assets/results/": "what the benchmarks found; the tables of README.md and docs/ are made from it",
    "tests/": "golden values, promises, a real run end to end, every page, a real browser",
    "docs/": "the long version of the README; its tables are written by bench/tables",
    "LOG.md": "decisions and experiments, negatives included",
    "CHANGELOG.md": "what changed for whoever uses it",
    "CONTRIBUTING.md": "how to add a method, and what a change needs",
}
LONGEST = 96


def phrase(path: Path) -> str:
    """Return a method's plain sentence, or the first sentence of a module's docstring.

    A citation ends it early.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "sentence":
            return shorten(ast.literal_eval(node.value).rstrip("."))
    text = " ".join((ast.get_docstring(tree) or "").split())
    # This removes an aside in brackets, but not a formula's brackets.
    bare = re.sub(r"(?<=\w)\s\([^()]*\)", "", text)
    first = re.split(r"\.\s|;| {4}", bare, maxsplit=1)[0].rstrip(". ")
    return shorten(first.split(":")[0] if re.search(r"arXiv|et al|§", first) else first)


def shorten(text: str) -> str:
    """Return the text, cut at a word where it is longer than LONGEST."""
    return text if len(text) <= LONGEST else text[: LONGEST - 2].rsplit(" ", 1)[0] + " …"


def tracked(folder: str) -> list[Path]:
    """Return the folder's own Python files, as git knows them. Where there is no git, all that lie there."""
    listed = subprocess.run(
        ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    paths = [ROOT / line for line in listed] or sorted((ROOT / folder).glob("*.py"))
    return [p for p in paths if p.parent == ROOT / folder and p.suffix == ".py" and p.name != "__init__.py"]


def folders() -> list[str]:
    """Return the rooms that hold Python files, in the order of the one-line rule.

    The pages and their parts come after them.
    """
    listed = subprocess.run(
        ["git", "ls-files", "unlearn", "ui", "pages", "bench"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    return list(dict.fromkeys(str(Path(line).parent) for line in listed if line.endswith(".py")))


def table() -> str:
    """Return the tree as one block of text."""
    lines = []
    for name, words in OTHERS.items():
        lines.append(f"{name:28} {words or phrase(ROOT / name)}")
    for folder in folders():
        own = tracked(folder)
        lines += ["", f"{folder}/", *(f"  {path.name:26} {phrase(path)}" for path in own)] if own else []
    return "```text\n" + "\n".join(lines) + "\n```"
