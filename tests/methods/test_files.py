"""A method's file reads as the paper: formula, loss, and only then what a page says of it; each source stands once."""

import ast
import re
from pathlib import Path

import pytest

import unlearn.methods
from unlearn.methods import METHODS

FAMILIES = Path(unlearn.methods.__file__).parent
FILES = {
    cls.name: FAMILIES.joinpath(*cls.__module__.split(".")[2:]).with_suffix(".py") for cls in METHODS.values()
}
FACTS = {
    "title",
    "paper",
    "sentence",
    "formula",
    "when",
    "cost",
    "risk",
    "origins",
    "tuned",
    "also",
    "collapses",
}


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_stands_before_the_texts(name):
    (cls,) = [n for n in ast.parse(FILES[name].read_text()).body if isinstance(n, ast.ClassDef)
              and n.name == METHODS[name].__name__]  # fmt: skip
    facts = [n.lineno for n in cls.body if isinstance(n, ast.Assign) and n.targets[0].id in FACTS]
    losses = [n.end_lineno for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == "loss"]
    assert len(facts) >= 6
    assert len(losses) == 1
    assert losses[0] < min(facts)


@pytest.mark.parametrize("name", METHODS)
def test_an_arxiv_number_stands_once_and_makes_the_link(name):
    text, method = FILES[name].read_text(), METHODS[name]
    numbers = re.findall(r"\b\d{4}\.\d{5}\b", text)
    assert numbers
    assert len(numbers) == len(set(numbers))
    assert method.url == f"https://arxiv.org/abs/{re.findall(r'[0-9]{4}[.][0-9]{5}', method.paper)[0]}"
