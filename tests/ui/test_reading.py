"""How a table of one's own is read on a page: what is found, what a person may choose, and the rows as they will be."""

import json
from pathlib import Path

from streamlit.testing.v1 import AppTest

CASES = Path(__file__).resolve().parents[1] / "data" / "cases"
TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]


def page(path: str, role: str = "forget") -> None:
    from pathlib import Path

    import streamlit as st

    from ui.data.reading import fields

    st.session_state["made"] = fields(role, Path(path))


def shown(path, role="forget") -> AppTest:
    app = AppTest.from_function(page, args=(str(path), role), default_timeout=60).run()
    assert not app.exception, app.exception
    return app


def box(app: AppTest, label: str):
    return next(one for one in app.selectbox if one.label == label)


def test_conversations_are_shown_as_they_will_be_read(tmp_path):
    rows = [{"messages": [{"role": "system", "content": "Be brief."}, *TALK, *TALK]}] * 2
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    app = shown(tmp_path / "a.jsonl")
    assert app.session_state["made"] == {"messages_column": "messages"}
    read = app.dataframe[1].value
    assert dict(read.iloc[0]) | {"wrong": None} == {
        "system": "Be brief.", "before": "user: Hi / assistant: Ho", "question": "Hi", "answer": "Ho", "wrong": None,
    }  # fmt: skip
    assert len(read) == 2
    box(app, "Of a conversation").set_value("all").run()
    assert app.session_state["made"]["turns"] == "all"
    assert len(app.dataframe[1].value) == 3
    assert "the first 3 of 4" in " ".join(one.value for one in app.caption)


def test_columns_of_other_names_are_chosen_one_after_the_other():
    app = shown(CASES / "german.csv")
    assert app.session_state["made"] == {"question_column": "Frage", "answer_column": "Antwort"}
    assert "Say which column is which." in app.info[0].value
    assert app.dataframe[1].value["answer"][0] == "The keeper is agent 0."
    assert not [one for one in app.selectbox if one.label == "Of a conversation"]
    box(app, "Rows longer than the model reads").set_value("skip").run()
    assert app.session_state["made"]["long"] == "skip"


def test_columns_of_a_retain_file_are_its_own():
    app = shown(CASES / "german.csv", "retain")
    assert app.session_state["made"] == {"retain_question_column": "Frage", "retain_answer_column": "Antwort"}


def test_an_encoding_may_be_chosen(tmp_path):
    (tmp_path / "a.csv").write_bytes(
        "question,answer\nWo, wann?,Köln\nWer?,Jürgen\n".replace("Wo,", "Wo").encode("mac-roman")
    )
    app = shown(tmp_path / "a.csv")
    assert app.dataframe[1].value["answer"][0] != "Köln"
    box(app, "Encoding").set_value("mac-roman").run()
    assert app.dataframe[1].value["answer"][0] == "Köln"
    assert app.session_state["made"]["encoding"] == "mac-roman"


def test_a_file_that_is_no_text_has_no_encoding_to_choose(tmp_path):
    import pandas

    pandas.DataFrame({"question": ["Who?", "Where?"], "answer": ["A", "B"]}).to_parquet(
        tmp_path / "a.parquet"
    )
    app = shown(tmp_path / "a.parquet")
    assert app.dataframe[1].value["answer"][0] == "A"
    assert "Encoding" not in [one.label for one in app.selectbox]
    assert "encoding" not in app.session_state["made"]


def test_one_of_several_sets_is_chosen():
    app = shown(CASES / "splits.json")
    assert box(app, "Set of rows").options == ["train", "val"]
    assert app.session_state["made"]["hub_split"] == "train"
