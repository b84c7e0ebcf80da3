"""Environment variables: each is read in one place, listed in one table, and answered in a sentence when wrong."""

import ast
import re
from pathlib import Path

import pytest

from unlearn.store import environment
from unlearn.store.environment import Variable

ROOT = Path(__file__).resolve().parents[2]
NAMES = {variable.name for variable in environment.VARIABLES}
# They read or set one beside the module: compute cannot import store; these set it for the process that they start.
ALONE = {"unlearn/compute/products.py": "UNLEARN_PRODUCTS", "bench/products.py": "UNLEARN_PRODUCTS",
         "bench/app.py": "UNLEARN_RUNS", "bench/pictures.py": "UNLEARN_RUNS",
         "bench/run.py": "UNLEARN_ROOTS", "bench/start.py": "UNLEARN_RUNS",
         "bench/beside/peak.py": "UNLEARN_ROOTS"}  # fmt: skip


def asked_in(path):
    """Names of our variables that a file reads or sets itself, in os.environ or os.getenv."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Call, ast.Subscript, ast.Compare, ast.BinOp)) and "environ" in ast.unparse(
            node
        ):
            found |= set(re.findall(r"['\"](UNLEARN_[A-Z_]+)['\"]", ast.unparse(node)))
    return found


def files():
    tops = ("unlearn", "ui", "pages", "bench")
    return [*(p for top in tops for p in (ROOT / top).rglob("*.py")), ROOT / "app.py"]


def test_nobody_reads_a_variable_beside_the_module():
    asked = {path.relative_to(ROOT).as_posix(): names for path in files() if (names := asked_in(path))}
    assert asked == {name: {variable} for name, variable in ALONE.items()}


def test_every_name_in_the_source_is_in_the_table():
    said = {
        name
        for path in files()
        for name in re.findall(r"UNLEARN_[A-Z]+(?:_[A-Z]+)*", path.read_text(encoding="utf-8"))
    }
    assert said == NAMES
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert not [name for name in NAMES if f"| `{name}` |" not in text]
    assert all(variable.help.endswith(".") for variable in environment.VARIABLES)


ONE = Variable("UNLEARN_TRIED", "", "Tried here.")


@pytest.mark.parametrize(
    ("text", "number"),
    [("400", 400), ("6GiB", 6 * 2**30), ("800MB", 800_000_000), ("1.5 kB", 1500), ("2KiB", 2048), ("", None)],
)
def test_numbers_of_bytes(monkeypatch, text, number):
    monkeypatch.setenv(ONE.name, text)
    assert ONE.bytes() == number


@pytest.mark.parametrize("text", ["a lot", "-1", ".", "1..5", "6 GiBs"])
def test_what_is_no_number_of_bytes(monkeypatch, text):
    monkeypatch.setenv(ONE.name, text)
    with pytest.raises(
        ValueError, match="UNLEARN_TRIED: must be a number of bytes such as 6GiB or 800MB, got"
    ):
        ONE.bytes()


def test_folders(monkeypatch):
    monkeypatch.delenv(ONE.name, raising=False)
    assert (ONE.text(), ONE.paths(), ONE.path(Path("x"))) == ("", [], Path("x"))
    monkeypatch.setenv(ONE.name, "/a::/b")
    assert ONE.paths() == [Path("/a"), Path("/b")]
    ONE.add_path(Path("/b"))
    ONE.add_path(Path("/c"))
    assert ONE.text() == "/a:/b:/c"
    monkeypatch.setenv(ONE.name, "~/runs")
    assert ONE.path(Path("x")) == Path.home() / "runs"
