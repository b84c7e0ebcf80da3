"""A person's own table: what the form says of rows to keep is what the chosen methods do without them."""

import pytest

from ui.data.own import needing
from unlearn.data.base import Dataset, Row
from unlearn.methods import METHODS


def test_required_is_what_refuses_a_table_without_rows_to_keep():
    data = Dataset(name="mine", title="Mine", roles={"forget": (Row(question="What is red?", answer="red"),)})
    refused = set()
    for method in METHODS.values():
        try:
            method.from_knobs({}).rows("tiny-authors", data)
        except ValueError:
            refused.add(method.title)
    assert refused == {*needing(METHODS)}
    assert needing(["npo", "ga", "none such"]) == [METHODS["npo"].title]


@pytest.mark.slow
def test_the_form_says_so(tmp_path, monkeypatch):
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))

    def form(methods):
        import streamlit as st

        from ui.data import own

        monkey = st.session_state
        monkey["data.forget.way"] = "paste"
        monkey["data.forget.paste"] = "question,answer\nWhat is red?,red\nWhat is two?,two"
        own.own_data(methods)

    for methods, word in ((("npo", "ga"), "required by NPO"), (("ga",), "recommended")):
        app = AppTest.from_function(form, args=(methods,), default_timeout=60).run()
        assert not app.exception
        labels = [one.label for one in app.get("button_group")]
        assert f"Rows to keep ({word})" in labels
