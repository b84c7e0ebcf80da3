"""Every public thing says in its first sentence what it is or returns, in words that a stranger can follow."""

import ast
import re
from pathlib import Path

from unlearn.data.base import ROLES, TITLES

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


def texts(tree: ast.Module):
    """Each text of a module that is no docstring: (its line, what is written of it)."""
    owners = (ast.Module, ast.FunctionDef, ast.ClassDef)
    bodies = [node.body[0] for node in ast.walk(tree) if isinstance(node, owners) and node.body]
    aside = {id(first.value) for first in bodies if isinstance(first, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part for part in node.values if isinstance(part, ast.Constant)]
            aside |= set(map(id, parts))
            yield node.lineno, "".join(str(part.value) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in aside:
            yield node.lineno, node.value


def test_the_rows_that_no_model_saw_are_called_never_seen_everywhere():
    """Their name in files, approximate, may stand beside it; only what is about the word itself lacks the other."""
    about_the_word = (
        "Approximate retraining",
        "approximate against exact",
        "Unlearning of this kind is approximate",
    )
    bad = [
        f"{path.relative_to(ROOT)}:{line} {text}"
        for path in FILES
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if " " in text and re.search(r"\bapproximate\b|\bunseen (texts|ones|rows)\b", text, re.I)
        if "never seen" not in text and not text.startswith(about_the_word)
    ]
    assert not bad


def test_each_role_has_a_name_for_people_and_no_page_has_its_own():
    assert set(TITLES) == set(ROLES)
    own = re.compile(r"role\.capitalize|\{role\} \{count|[\"'](?:Never seen|Close to it|In other words)[\"']")
    bad = [str(path.relative_to(ROOT)) for path in FILES if own.search(path.read_text(encoding="utf-8"))]
    assert bad == ["unlearn/data/base.py"]


CHOICES = ("pills", "segmented_control", "selectbox", "multiselect")


def test_a_choice_of_rows_is_offered_by_their_names_for_people():
    bad = []
    for path in FILES:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                continue
            if (
                call.func.attr in CHOICES
                and len(call.args) > 1
                and "role" in ast.unparse(call.args[1]).lower()
            ):
                given = {word.arg: ast.unparse(word.value) for word in call.keywords}
                if not re.search("TITLES|title|PURPOSE", given.get("format_func", "")):
                    bad.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert not bad
