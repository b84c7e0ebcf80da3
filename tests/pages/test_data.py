"""The Data page: browse, search, one row and what lies close, leaks, splits, links; bad links and bad tables."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.test_methods import sheets
from unlearn.data import split
from unlearn.data.base import ROLES, TITLES
from unlearn.data.catalogue import from_config, load
from unlearn.data.files.read import read_table
from unlearn.data.similar import Similar
from unlearn.data.tables import dataset_from_tables
from unlearn.data.write import keep

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    """Where the app keeps what is uploaded to it."""
    import streamlit as st

    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    monkeypatch.setenv("UNLEARN_ROOTS", "")
    st.cache_data.clear()
    return tmp_path / ".uploads"


def opened(**query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    app.run()
    for key, value in query.items():
        app.query_params[key] = value
    app.switch_page("../pages/data.py").run()
    assert not app.exception, app.exception
    return app


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.error, app.warning, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def param(app: AppTest, name: str) -> str:
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]


def tables(app: AppTest, column: str):
    return [table.value for table in app.dataframe if column in table.value.columns]


def upload(folder: Path, name: str, rows: list[tuple[str, str]]) -> str:
    """A table as the uploader keeps it; its place below the uploads."""
    lines = "\n".join(json.dumps({"question": q, "answer": a}) for q, a in rows)
    return str(keep(lines.encode(), name, folder).relative_to(folder))


def test_it_shows_every_role_with_rows_and_tokens(uploads, monkeypatch):
    from transformers import AutoTokenizer  # before the app's own thread imports it

    drawn = sheets(monkeypatch)

    def told() -> list[list[str]]:
        return [[cell["parts"][0][0] for cell in row["cells"]] for row in drawn["data.facts"]["rows"]]

    app = opened(data="capitals")
    data = load("capitals")
    assert [row[0] for row in told()] == [
        f"{TITLES[role]}, {len(data.rows(role)):,} rows" for role in ROLES if data.rows(role)
    ]
    assert [row[-1] for row in told()] == [ROLES[role] for role in ROLES if data.rows(role)]
    assert "None of the 22 rows to forget is told in “To keep” or “General” or “Close to it”" in words(app)

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "assets" / "models" / "tiny-authors")
    app.selectbox(key="data.tokenizer").set_value("tiny-authors").run()
    texts = [row.prompt + row.target for row in data.rows("forget")]
    wanted = sum(len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts)
    assert told()[0][1] == f"{wanted:,}"


@pytest.mark.slow
def test_a_page_without_torch():
    import subprocess
    import sys

    code = (
        "import sys, threading\n"
        "start = threading.Thread.start\n"
        "threading.Thread.start = lambda self: None if self.name == 'preload' else start(self)\n"
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('ui/main.py', default_timeout=60).run()\n"
        "app.query_params['item'] = 'forget:1'\n"
        "app.switch_page('../pages/data.py').run()\n"
        "assert not app.exception and app.dataframe and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_search_and_roles_narrow_the_table(uploads):
    app = opened(data="capitals")
    app.text_input(key="data.search").set_value("paris").run()
    assert list(tables(app, "subject")[0]["row"]) == ["To forget 1", "In other words 1", "In other words 6"]
    app.pills(key="data.roles").set_value(["paraphrase"]).run()
    assert list(tables(app, "subject")[0]["row"]) == ["In other words 1", "In other words 6"]
    assert param(app, "search") == "paris"
    assert param(app, "role") == "paraphrase"
    app.text_input(key="data.search").set_value("no such thing").run()
    assert "No row has this text" in words(app)
    assert not app.exception


def test_a_link_shows_a_row_in_full_with_what_lies_closest(uploads):
    app = opened(data="capitals", item="forget:1")
    said = words(app)
    data = load("capitals")
    row = data.rows("forget")[0]
    for text in (
        row.question,
        row.lead,
        f"**{row.answer}**",
        *row.wrong,
        "Which city is the capital of France? Paris",
    ):
        assert text in said
    (near,) = tables(app, "similarity")
    outside = [i for i in Similar(data).items if i.role not in ("forget", "paraphrase")]
    (wanted,) = Similar(data).nearest([split.Item("forget", 0)], outside, 10)
    assert list(near["similarity"]) == pytest.approx([one.similarity for one in wanted])
    assert list(near["row"]) == [f"{TITLES[one.item.role]} {one.item.index + 1}" for one in wanted]
    assert f"10 of n = {len(outside)} rows" in said
    assert param(app, "item") == "forget:1"


def test_another_dataset_forgets_the_row_of_the_first(uploads):
    app = opened(data="authors", item="retain:250")  # not in the table, so nothing is unticked
    app.selectbox(key="data").set_value("capitals").run()
    assert not app.error
    assert "item" not in app.query_params


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"data": "nonsense"}, "data: name must be one of authors"),
        ({"data": "capitals", "item": "forget:999"}, "must lie in [1, 22], got '999'"),
        ({"data": "capitals", "item": "<b>:1"}, "the role before the colon must be among forget"),
        ({"forget": "../../../etc/passwd"}, "must lie inside"),
        ({"forget": "/etc/passwd"}, "must lie inside"),
        ({"forget": "gone/x.csv"}, "does not exist"),
        (
            {
                "data": "capitals",
                "by": "subject",
                "subjects": "France",
                "aside": "20",
                "role": "magic",
                "share": "x",
            },
            "",
        ),
        ({"data": "capitals", "by": "random", "share": "500", "seed": "-3"}, ""),
    ],
)
def test_a_bad_link_is_answered_in_words(uploads, query, error):
    app = opened(**query)
    assert error in words(app)
    assert bool(app.error) == bool(error)


def test_text_of_a_table_is_never_markup_and_leaks_are_said(uploads):
    forget = upload(
        uploads,
        "f.jsonl",
        [("Where was <b>Ann</b> **Lee** born?", ":red[Oslo]"), ("Who is Bo Ek?", "a cook")],
    )
    retain = upload(
        uploads, "r.jsonl", [("Is rain wet?", "yes"), ("Where was <b>Ann</b> Lee born?", ":red[Oslo]")]
    )
    app = opened(forget=forget, retain=retain, item="forget:1")
    shown = [str(m.value) for m in app.markdown]
    assert any(r"Where was \<b\>Ann\</b\> \*\*Lee\*\* born?" in text for text in shown)
    assert any(r"\:red\[Oslo\]" in text for text in shown)
    warnings = [str(w.value) for w in app.warning]
    assert any(w.startswith("**1 forget row is told outside") for w in warnings)
    assert "Row 2 of “To keep” tells it too." in warnings
    assert param(app, "forget") == forget  # the link leads back here, and names no folder of this machine
    assert str(uploads) not in str(dict(app.query_params))


def test_a_set_with_nothing_but_rows_to_forget(uploads):
    app = opened(forget=upload(uploads, "f.jsonl", [("A?", "b"), ("C?", "d")]), item="forget:1")
    assert "nothing to compare with" in words(app)
    app.session_state["split.open"] = True
    app.run()
    app.segmented_control(key="split.way").set_value("random").run()
    assert "1 row to forget; to keep 1." in words(app)


def test_nothing_chosen_says_what_to_do(uploads):
    app = opened(data="authors")
    app.selectbox(key="data").set_value("own").run()
    assert "give the rows to forget" in words(app)
    assert not app.exception
    assert "data" not in app.query_params  # or a refresh would show what was left


def test_a_wrong_table_is_an_error_in_words(uploads):
    bad = uploads / "x" / "bad.csv"
    bad.parent.mkdir(parents=True)
    bad.write_text("a,b,c\n1,2,3\n4,5,6\n")
    assert "bad.csv: columns must be called question and answer" in words(opened(forget="x/bad.csv"))


@pytest.mark.slow
def test_a_split_goes_to_unlearn_as_it_is(uploads, monkeypatch):
    monkeypatch.setattr("ui.shell.guard", lambda: None)  # AppTest is a fresh server each run: it loses clicks
    app = opened(data="authors", by="subject", subjects="Enorosk Tamborrin", aside="2")
    data = load("authors")
    groups = split.of_subjects(data, ["Enorosk Tamborrin"])
    wanted = split.split(
        data, groups, name="authors-split-enorosk-tamborrin", neighbours=2, similar=Similar(data)
    )
    assert f"9 rows to forget; to keep {len(wanted.rows('retain'))}" in words(app)
    assert "--split authors-split-enorosk-tamborrin --subject 'Enorosk Tamborrin' --aside 2" in words(app)
    assert not (uploads / "splits").exists()  # nothing is written before it is used
    app.button(key="split.use").click().run()
    assert not app.exception
    kept = app.session_state["data.kept"]
    assert all(Path(path).is_relative_to(uploads / "splits") for path in kept.values())
    assert from_config(kept).hash() == wanted.hash()
    assert app.title[0].value == "Unlearn"
    assert "Taken from a split: authors-split-enorosk-tamborrin.jsonl" in words(app)
    (launch,) = (button for button in app.button if button.label == "Launch")
    assert not launch.disabled


def test_a_table_goes_to_unlearn_unsplit(uploads, monkeypatch):
    monkeypatch.setattr("ui.shell.guard", lambda: None)  # as above
    table = upload(uploads, "f.jsonl", [("A?", "b"), ("C?", "d")])
    app = opened(forget=table)
    app.button(key="data.use").click().run()
    assert app.title[0].value == "Unlearn"
    assert app.session_state["data.kept"] == {"forget": str(uploads / table)}


def test_found_and_random_rows_split_and_download_what_an_upload_reads(uploads):
    app = opened(data="capitals", search="paris", by="found")
    assert "1 row to forget" in words(app)
    app.text_input(key="data.search").set_value("capital of s").run()
    data = load("capitals")
    pool = [row for role in split.POOL for row in data.rows(role) if "capital of s" in row.question.lower()]
    assert f"{len(pool)} rows to forget" in words(app)
    assert "--search 'capital of s'" in words(app)
    app.segmented_control(key="split.way").set_value("random").run()
    app.number_input(key="split.share").set_value(25).run()
    (chosen,) = split.at_random(data, 0.25, 0)
    assert f"{len(chosen)} rows to forget" in words(app)
    assert param(app, "share") == "25"
    app.segmented_control(key="split.way").set_value("ticked").run()
    assert "Tick rows in the table above" in words(app)


def test_the_download_is_read_back(uploads):
    from functools import partial

    from unlearn.data import write

    data = load("snippets")
    content = partial(write.to_jsonl, data.rows("retain"), "retain set")()
    assert dataset_from_tables("x", {"forget": read_table(content, "retain.jsonl")}).rows(
        "forget"
    ) == data.rows("retain")
