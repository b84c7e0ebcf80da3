"""Every table and every figure has words for those who cannot see it; those of a figure are its title, the result."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DRAWN = ("dataframe", "plotly_chart", "data_editor", "image")


def bare(source: str, drawn=DRAWN, word: str = "alt") -> list[int]:
    """The lines of a page's source that draw a table or a figure without this: words for it, unless said."""
    return [
        call.lineno
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in drawn
        if not any(one.arg == word for one in call.keywords)
    ]


def test_every_table_and_figure_of_the_app_has_words():
    files = [path for top in ("ui", "pages") for path in sorted((ROOT / top).rglob("*.py"))]
    assert len(files) > 50
    lacking = {str(path.relative_to(ROOT)): bare(path.read_text(encoding="utf-8")) for path in files}
    assert {path: lines for path, lines in lacking.items() if lines} == {}


def test_what_is_not_known_is_a_dash_in_every_table():
    files = [path for top in ("ui", "pages") for path in sorted((ROOT / top).rglob("*.py"))]
    lacking = {path.name: bare(path.read_text(encoding="utf-8"), DRAWN[:1], "placeholder") for path in files}
    assert {path: lines for path, lines in lacking.items() if lines} == {}


def test_a_choice_of_several_wraps_where_there_is_no_room():
    """Without it a row of choices is cut at the edge of its column, on a phone nearly always."""
    files = [path for top in ("ui", "pages") for path in sorted((ROOT / top).rglob("*.py"))]
    choices = ("pills", "segmented_control")
    lacking = {path.name: bare(path.read_text(encoding="utf-8"), choices, "wrap") for path in files}
    assert {path: lines for path, lines in lacking.items() if lines} == {}


def test_one_without_words_is_found():
    assert bare('st.dataframe(rows)\nst.dataframe(rows, alt="Rows")') == [1]
