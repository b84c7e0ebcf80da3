"""The fields of a person's own files: what is given stays until it is taken away."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROWS = b"question,answer\nWho?,Ada\nWhere?,Here\n"


def page() -> None:
    import streamlit as st

    from ui.data.own import own_data

    st.session_state["made"] = own_data()


@pytest.fixture
def app(tmp_path, monkeypatch) -> AppTest:
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    return AppTest.from_function(page, default_timeout=60).run()


def given(app: AppTest, role: str, name: str | None) -> AppTest:
    """Upload a file for a role, or take it away again."""
    field = app.file_uploader(key=f"data.{role}.upload")
    field.set_value((name, ROWS, "text/csv") if name else None)
    app.run()
    assert not app.exception, app.exception
    return app


def test_the_file_to_keep_stays_while_another_one_to_forget_is_chosen(app):
    given(app, "forget", "old.csv")
    given(app, "retain", "keep.csv")
    assert {"forget", "retain"} <= set(app.session_state["made"])
    given(app, "forget", None)
    assert app.session_state["made"] == {}
    given(app, "forget", "new.csv")
    made = app.session_state["made"]
    assert [Path(made[role]).name for role in ("forget", "retain")] == ["new.csv", "keep.csv"]
