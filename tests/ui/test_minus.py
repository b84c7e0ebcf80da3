"""Differences in tables have a real minus sign and are still numbers, by which a table can be sorted."""

import pytest
from pandas.io.formats.style import Styler
from streamlit.testing.v1 import AppTest

from tests.pages.test_compare import opened, store  # noqa: F401  (a fixture)
from tests.results.test_conclusion import planted
from ui import minus
from ui.compare.scores import _retrained_first
from ui.runs import table
from unlearn.results.compare import whole

ROWS = [{"run": "one", "Δ": -97.4}, {"run": "two", "Δ": None}, {"run": "three", "Δ": 3.0}]


def shown(styler: Styler) -> list[list[str]]:
    """What each cell says, as streamlit sends it."""
    drawn = styler._translate(False, False)
    return [[cell["display_value"] for cell in row if cell["type"] == "td"] for row in drawn["body"]]


def test_numbers_are_written_and_stay_numbers():
    made = minus.written(ROWS, {"Δ": whole})
    assert shown(made) == [["one", "−97"], ["two", "–"], ["three", "3"]]
    assert list(made.data["Δ"].dropna()) == [-97.4, 3.0]
    assert minus.written(ROWS, {}) is ROWS
    assert minus.written([], {"Δ": whole}) == []


def test_a_column_without_any_number_is_written_too():
    rows = [{"Δ": None}, {"Δ": None}]
    assert shown(minus.written(rows, {"Δ": whole})) == [["–"], ["–"]]


def test_differences_of_runs_have_it_and_absolute_values_need_none():
    lines = [None] * 3
    forms = table.forms(lines, table.BEFORE)
    assert [forms[name](-97.4) for name in ("forget", "retain")] == ["−97 pp"] * 2
    assert forms["perplexity"](-0.1234) == "−0.123"
    assert forms["perplexity"](0.1234) == "+0.123"
    assert table.forms(lines, table.ABSOLUTE) == {}
    assert table.forms([None] * (table.MOST_SIGNED + 1), table.BEFORE) == {}
    # A format of the column itself would be shown in place of what is written.
    assert table.columns(table.BEFORE, forms)["forget"]["type_config"]["format"] is None
    assert table.columns(table.BEFORE)["forget"]["type_config"]["format"] == "%+.0f pp"


def written_with_minus(app) -> bool:
    return any("−".encode() in one.proto.arrow_data.styler.display_values for one in app.dataframe)


@pytest.mark.slow
def test_the_table_of_runs_says_it(store):  # noqa: F811
    planted(store)
    assert written_with_minus(opened("runs"))


def _scores(folder):
    from pathlib import Path

    from ui.compare.scores import score_sheet
    from unlearn.store.runs import Run

    score_sheet([Run(Path(folder))])


def test_the_table_of_scores_says_it(store):  # noqa: F811
    run = planted(store)
    app = AppTest.from_function(_scores, args=(str(run.path),), default_timeout=60).run()
    assert not app.exception
    assert written_with_minus(app)


def test_the_retrained_model_stands_beside_the_original():
    order = ["role", "score", "n", "before", "a", "delta_a", "b", "delta_b", "retrained", "goal"]
    assert _retrained_first(order)[3:6] == ["before", "retrained", "a"]
    assert sorted(_retrained_first(order)) == sorted(order)
    assert _retrained_first(order[:8]) == order[:8]
