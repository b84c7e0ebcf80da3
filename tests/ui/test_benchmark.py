"""A benchmark is chosen on the page by its name, and read from a folder of its layout."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]
TOFU = ROOT / "tests" / "data" / "tofu"


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    monkeypatch.setenv("UNLEARN_ROOTS", str(TOFU))
    code = "import streamlit as st\nfrom ui import forget_set\nst.session_state['out'] = forget_set.choose_data()"
    return AppTest.from_string(code, default_timeout=60).run()


def test_a_benchmark_in_a_folder(app):
    app.session_state["benchmark.tofu-forget01"] = str(TOFU)
    app.selectbox(key="data").set_value("tofu-forget01").run()
    assert not app.exception
    assert app.session_state["out"] == {"name": "tofu-forget01", "hub_folder": str(TOFU)}
    assert app.multiselect(key="requests.tofu-forget01").options == ["1", "2"]


def test_a_folder_that_is_not_allowed_is_refused(app, tmp_path):
    outside = tmp_path.parent
    app.session_state["benchmark.tofu-forget01"] = str(outside)
    app.selectbox(key="data").set_value("tofu-forget01").run()
    assert "must lie inside" in str(app.exception[0].value)
