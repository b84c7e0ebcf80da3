"""Every public thing says in its first sentence what it is or returns, in words that a stranger can follow."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = [p for top in ("unlearn", "ui", "pages", "bench") for p in sorted((ROOT / top).rglob("*.py"))]
OTHER_DOCUMENTS = re.compile(r"\b(DESIGN|METHODS|EVALUATION|INTERFACES|FAULTS|ROOMS|SCALE|UI)(\.md| §)")


def public(tree: ast.Module):
    """The public functions and classes of a module, and the public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                own = [n for n in node.body if isinstance(n, ast.FunctionDef)]
                yield from (n for n in own if not n.name.startswith("_"))


def first_sentence(text: str) -> str:
    """The words up to the first full stop that a blank or the end follows."""
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


def test_every_public_thing_has_a_docstring():
    bare = []
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        bare += [
            f"{path.relative_to(ROOT)}:{n.lineno} {n.name}" for n in public(tree) if not ast.get_docstring(n)
        ]
        if path.name != "__init__.py" and not ast.get_docstring(tree):
            bare.append(str(path.relative_to(ROOT)))
    assert not bare


def test_first_sentences_are_sentences():
    bad = []
    for path in FILES:
        for node in public(ast.parse(path.read_text(encoding="utf-8"))):
            first = first_sentence(ast.get_docstring(node) or "")
            # What stands in brackets is a value and no sentence.
            words = re.sub(r"\{.*\}|\[[^]]*\]|`[^`]*`|\([^)]*\)", "", first)
            if not 3 <= len(first.split()) <= 40 or ";" in words:
                bad.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {first}")
    assert not bad


def test_no_text_cites_a_document_that_is_not_here():
    texts = [*FILES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    cited = [str(p.relative_to(ROOT)) for p in texts if OTHER_DOCUMENTS.search(p.read_text(encoding="utf-8"))]
    assert not cited
