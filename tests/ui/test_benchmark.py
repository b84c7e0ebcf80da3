"""A benchmark is chosen on the page by its name, and read from a folder of its layout."""

import json
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


def test_one_person_of_rwku_and_what_is_missing(app, tmp_path, monkeypatch):
    where = tmp_path / "Target" / "1_Stephen_King"
    where.mkdir(parents=True)
    (where / "passage.json").write_text(json.dumps([{"text": f"passage {i}"} for i in range(3)]))
    monkeypatch.setenv("UNLEARN_ROOTS", str(tmp_path))
    app.selectbox(key="data").set_value("rwku").run()
    assert app.session_state["out"] == {}
    app.text_input(key="benchmark.rwku").set_value(str(tmp_path))
    app.text_input(key="data.rwku").set_value("1_Stephen_King").run()
    assert not app.exception
    assert app.session_state["out"] == {"name": "rwku:1_Stephen_King", "hub_folder": str(tmp_path)}
    from ui import forget_set

    warnings = forget_set.load(app.session_state["out"]).warnings
    assert any("forget_level1.json is not in" in text for text in warnings)
    app.text_input(key="data.rwku").set_value("../etc").run()
    assert "named like its folder" in str(app.exception[0].value)


def test_a_link_to_a_person_of_rwku_fills_the_fields(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    code = "from ui import forget_set\nforget_set.set_data({'name': 'rwku:2_Warren_Buffett', 'hub_folder': '/x'})"
    app = AppTest.from_string(code, default_timeout=60).run()
    assert not app.exception
    assert app.session_state["data"] == "rwku"
    assert app.session_state["data.rwku"] == "2_Warren_Buffett"
    assert app.session_state["benchmark.rwku"] == "/x"
