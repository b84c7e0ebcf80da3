"""Types that say something: few values are of any type, and what mypy leaves unchecked is listed and explained."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Lines a thousand that say Any.
MOST_ANY = 8
TYPED = ("unlearn", "ui")


def lines_of(root: Path) -> list[str]:
    files = (path for top in TYPED for path in (root / top).rglob("*.py"))
    return [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]


def share_of_any(lines: list[str]) -> float:
    """Lines a thousand with the word Any, imports included."""
    return 1000 * sum(bool(re.search(r"\bAny\b", line)) for line in lines) / len(lines)


def test_few_values_are_of_any_type():
    assert share_of_any(["x: Any = 1", "company = 'Anyone'", "", "# ok"]) == 250
    assert share_of_any(lines_of(ROOT)) <= MOST_ANY


def test_an_exception_for_mypy_names_its_rule_and_its_reason():
    ignored = [line for line in lines_of(ROOT) if "type: ignore" in line]
    assert ignored
    assert not [line for line in ignored if not re.search(r"# type: ignore\[[a-z-]+\]  # \w+", line)]


def test_mypy_is_asked_for_the_whole_product_and_libraries_without_types_are_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert set(TYPED) <= set(settings["files"])
    assert settings["disallow_untyped_defs"]
    assert "ignore_missing_imports" not in settings
    assert all("*" not in name.split(".")[0] for one in settings["overrides"] for name in one["module"])
    assert "$(BIN)/mypy" in (ROOT / "Makefile").read_text(encoding="utf-8")
