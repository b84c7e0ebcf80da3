"""The verdict stands at the top of Compare and Stress, and on Runs above the table, in the words of the library."""

import pytest
from seed import seed_run

from tests.pages.test_compare import opened, store, words  # noqa: F401  (a fixture)
from ui import shell
from unlearn.results import conclusion
from unlearn.store.runs import Run


@pytest.mark.parametrize("page", ["compare", "stress"])
def test_the_verdict_is_said_first(store, page, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.shell.recorded", list)
    run = seed_run(store)
    (run.path / "model").mkdir()
    (run.path / "model" / "model.safetensors").write_bytes(b"x")
    shown = words(opened(page))
    found = conclusion.of_run(Run(run.path))
    for part in conclusion.PARTS:
        assert shell.plain(found[part]["sentence"]).replace(" %", "\u00a0%") in shown
    assert "not attacked" in shown


def test_a_chosen_run_says_its_verdict_above_the_table(store, monkeypatch):  # noqa: F811
    """A row of a table is chosen in a browser only, so the table's answer is put in its place."""
    import streamlit as st

    monkeypatch.setattr("ui.shell.recorded", list)
    run = seed_run(store)
    draw = st.dataframe

    def chosen(*given, **how):
        draw(*given, **how)
        return type("Picked", (), {"selection": type("Rows", (), {"rows": [0]})})

    monkeypatch.setattr(st, "dataframe", chosen)
    shown = words(opened("runs"))
    assert shell.plain(conclusion.of_run(Run(run.path))["kept"]["sentence"]).replace(" %", "\u00a0%") in shown
