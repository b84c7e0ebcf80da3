"""The Methods page: every method with its formula, settings and source; the gradient explorer with live knobs."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from robust_rows import rows
from streamlit.testing.v1 import AppTest

from unlearn.methods import AFTER, METHODS, OFFERED

APP = str(Path(__file__).resolve().parents[2] / "ui" / "main.py")


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    app = AppTest.from_file(APP, default_timeout=120)
    app.run()
    return app.switch_page("../pages/methods.py")


def sheets(monkeypatch):
    """What the pages draw as tables of texts, {key: data}; a component's content is seen in a browser only."""
    drawn = {}

    def draw(data, key, **_):
        drawn[key] = data[0]
        return SimpleNamespace(open=None)

    monkeypatch.setattr("ui.sheet._component", draw)
    return drawn


def numbers(app):
    """The explorer's table, {method: its row}."""
    frame = app.dataframe[0].value
    return {row["Method"]: row for row in frame.to_dict("records")}


def test_opens_with_the_first_method(page):
    page.run()
    assert not page.exception
    first = next(iter(OFFERED.values()))
    assert page.subheader[0].value == first.title
    assert first.formula in page.latex[0].value
    assert "def loss" in page.code[0].value


def test_every_method_is_told_whole(page, monkeypatch):
    drawn = sheets(monkeypatch)
    told = OFFERED | AFTER
    for name, method in told.items():
        page.query_params["method"] = name
        page.run()
        assert not page.exception, name
        assert page.subheader[0].value == method.title
        assert method.when.endswith(".")
        shown = " ".join(m.value for m in page.markdown)
        assert all(word in shown for word in ("When to use it", "How it fails", "Cost", method.url))
        settings = drawn[f"methods.settings.{name}"]
        names = ["Learning rate", "Epochs", "Batch size", *(k.label for k in method.knobs()), "Origin"]
        assert [row["cells"][0]["parts"][0][0] for row in settings["rows"]] == names
        heads = [column["title"] for column in settings["columns"]]
        assert settings["rows"][-1]["cells"][heads.index("Small, < 1 B")]["parts"][0][0] == method.origin(
            "small"
        )
        assert "_" not in " ".join(names)
        assert f"class {method.__name__}(" in page.code[0].value
        # A step after a run is begun on the run itself.
        links = " ".join(str(link.proto) for link in page.get("page_link"))
        assert ("Unlearn with it" in links) is not method.follows
    listed = drawn["methods.all"]["rows"]
    assert [row["cells"][0]["parts"][0][0] for row in listed] == [m.title for m in told.values()]
    assert [row["cells"][1]["parts"][0][0] for row in listed] == [m.sentence for m in told.values()]


def test_explorer_shows_or_explains_every_method(page):
    page.query_params["view"] = "explorer"
    page.run()
    assert not page.exception
    pills = next(p for p in page.button_group if p.label == "Methods")
    said = " ".join(m.value for m in page.markdown)
    assert len(pills.options) >= 10
    unfit = [m.title for m in METHODS.values() if f"**{m.title}.**" in said.replace("\\", "")]
    assert len(pills.options) + len(unfit) == len(METHODS)


def test_a_knob_and_the_slider_change_the_numbers(page):
    page.query_params["view"] = "explorer"
    page.run()
    before = numbers(page)
    assert set(before) == {"GA", "NPO", "UnDIAL"}
    assert before["UnDIAL"]["Nats down"] == "10"
    page.number_input(key="explore.undial.gamma").set_value(3.0).run()
    after = numbers(page)
    assert after["UnDIAL"]["Nats down"] == "3"
    assert after["UnDIAL"]["At rest at p"] != before["UnDIAL"]["At rest at p"]
    assert after["GA"] == before["GA"]
    page.slider(key="explore.shift").set_value(0.0).run()
    moved = numbers(page)
    assert float(moved["GA"]["p of the label now"]) > float(after["GA"]["p of the label now"])
    assert not page.exception


def test_from_a_method_to_its_gradient(page):
    page.query_params["method"] = "random"
    page.run()
    next(b for b in page.button if b.label == "See its gradient").click().run()
    assert not page.exception
    assert set(numbers(page)) == {"GA", "Random labels", "NPO", "UnDIAL"}


def test_a_bad_address_is_no_error(page):
    for name in ("method", "view", "text", "model"):
        page.query_params[name] = "moon"
    page.run()
    assert not page.exception
    page.query_params["view"] = "explorer"
    page.run()
    assert not page.exception


def test_what_resists_relearning_is_told_where_it_was_measured(page, monkeypatch):
    drawn = sheets(monkeypatch)
    monkeypatch.setattr("unlearn.results.robust.recorded", lambda: rows())
    page.run()
    assert not page.exception
    assert "What resists relearning" in [one.value for one in page.subheader]
    shown = " ".join(one.value for one in page.markdown)
    assert "UNDO after NPO leaves 25" in shown
    assert "40 points more than after NPO" in shown
    assert len(page.get("plotly_chart")) == 3
    assert len(drawn["methods.answers.tiny-authors"]["rows"]) == 8


def test_nothing_is_said_of_relearning_before_it_was_measured(page, monkeypatch):
    monkeypatch.setattr("unlearn.results.robust.recorded", lambda: [])
    page.run()
    assert not page.exception
    assert "What resists relearning" not in [one.value for one in page.subheader]
