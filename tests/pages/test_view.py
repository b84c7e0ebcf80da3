"""What a person looks at travels: the chosen run from page to page, tabs and filters with the address."""

import json

import pytest
from seed import seed_run
from streamlit.runtime.state.query_params_proxy import QueryParamsProxy
from streamlit.testing.v1 import AppTest

from tests.pages.test_compare import ROOT, store, words  # noqa: F401  (a fixture)
from ui import shell

PAGES = {"compare": "pick.a", "tokens": "pick.run", "stress": "pick.run"}


@pytest.fixture
def two(store, monkeypatch):  # noqa: F811
    """Two finished runs with weights, the older one first."""
    monkeypatch.setattr("ui.shell.recorded", list)
    runs = [seed_run(store), seed_run(store, lr=2e-3)]
    for run in runs:
        weights(run)
    return sorted(runs, key=lambda run: run.id)


def weights(run):
    (run.path / "model").mkdir()
    (run.path / "model" / "model.safetensors").write_bytes(b"x")


def begun() -> AppTest:
    return AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60).run()


def visit(app, page, **query):
    """Go to a page by the menu (no query: it empties the address) or by a link."""
    for name in list(app.query_params):
        del app.query_params[name]
    for name, value in query.items():
        app.query_params[name] = value
    app.switch_page(f"../pages/{page}.py").run()
    assert not app.exception, app.exception
    return app


def address(app):
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


def test_the_chosen_run_goes_along_and_is_named_large(two):
    old, new = two
    app = visit(begun(), "compare")
    assert app.selectbox(key="pick.a").value == new.id
    app.selectbox(key="pick.a").set_value(old.id).run()
    for page in ("tokens", "stress", "compare"):
        visit(app, page)
        assert app.selectbox(key=PAGES[page]).value == old.id
        assert address(app)["a" if page == "compare" else "run"] == old.id
        assert shell.plain(shell.run_label(old)) in [head.value for head in app.subheader]
    app.selectbox(key="pick.a").set_value(new.id).run()
    assert visit(app, "stress").selectbox(key="pick.run").value == new.id


def test_tab_and_filters_stand_in_the_address_and_one_link_is_the_whole_view(two):
    old, _ = two
    link = {"a": old.id, "tab": "Answers", "rows": "retain", "fell": "0.5", "show": "forgotten"}
    app = visit(begun(), "compare", **link)
    assert app.segmented_control(key="answers.role").value == "retain"
    assert app.number_input(key="answers.least").value == 0.5
    app = visit(begun(), "compare", a=old.id)
    app.segmented_control(key="answers.role").set_value("retain").run()
    app.number_input(key="answers.least").set_value(0.25).run()
    assert address(app) == {"a": old.id, "rows": "retain", "fell": "0.25"}
    app = visit(visit(app, "tokens"), "compare")
    assert address(app) == {"a": old.id, "rows": "retain", "fell": "0.25"}
    # A link without them means a page without them.
    app = visit(visit(app, "tokens"), "compare", a=old.id)
    assert app.segmented_control(key="answers.role").value == "forget"
    app = visit(begun(), "tokens", run=old.id, role="retain", row="2", **{"as": "logit"})
    assert app.selectbox(key="pick.row").value == "2"
    assert app.segmented_control(key="tokens.quantity").value == "logit"


def test_an_address_from_before_the_last_click_undoes_nothing(two):
    old, new = two
    app = visit(begun(), "compare")
    before = dict(app.query_params)
    app.selectbox(key="pick.a").set_value(old.id).run()
    app.query_params.clear()
    app.query_params.update(before)
    app.segmented_control(key="answers.role").set_value("retain").run()
    assert app.selectbox(key="pick.a").value == old.id
    assert address(app) == {"a": old.id, "rows": "retain"}
    assert new.id not in json.dumps(address(app))


def test_a_choice_is_told_to_a_browser_that_still_tells_the_address_of_before(two, monkeypatch):
    """Chosen and taken back at once: the browser shows the first choice in its address and does not tell it yet."""
    old, _ = two
    app = visit(begun(), "compare", a=old.id)
    app.segmented_control(key="answers.role").set_value("retain").run()
    app.query_params.clear()
    app.query_params["a"] = old.id
    told, tell = [], QueryParamsProxy.from_dict
    monkeypatch.setattr(
        QueryParamsProxy, "from_dict", lambda self, given: (told.append(dict(given)), tell(self, given))[1]
    )
    app.segmented_control(key="answers.role").set_value("forget").run()
    assert app.segmented_control(key="answers.role").value == "forget"
    assert told == [{"a": old.id}]
    # Whoever only looks is not written to.
    app.run()
    assert told == [{"a": old.id}]


def test_the_browsers_back_leads_to_the_view_before(two):
    old, new = two
    app = visit(begun(), "compare", a=new.id)
    app.selectbox(key="pick.a").set_value(old.id).run()
    app.query_params.clear()
    app.query_params["a"] = new.id
    app.run()
    assert app.selectbox(key="pick.a").value == new.id


def test_a_run_that_a_page_cannot_show_is_not_exchanged_without_a_word(two, store):  # noqa: F811
    third = seed_run(store)
    app = visit(begun(), "compare", a=third.id)
    visit(app, "stress")
    assert "keeps no weights to attack" in app.warning[0].value
    assert shell.plain(shell.run_label(third)) in app.warning[0].value
    assert visit(app, "compare").selectbox(key="pick.a").value == third.id
    visit(app, "tokens", run="20200101-000000-gd-dead")
    assert app.warning[0].value.startswith("There is no run here of the name in the address")
    assert "the newest run" not in app.warning[0].value


def test_words_that_mean_nothing_are_no_error(two):
    old, _ = two
    hostile = {"tab": "../x", "rows": "<b>", "show": "a|b", "fell": "1e999x", "b": "no", "score": "moon"}
    app = visit(begun(), "compare", a=old.id, **hostile)
    assert app.segmented_control(key="answers.role").value == "forget"
    assert app.number_input(key="answers.least").value is None
    visit(app, "tokens", run=old.id, role="moon", row="-1", against="x", **{"as": "y"})
    assert app.selectbox(key="tokens.role").value == "forget"
