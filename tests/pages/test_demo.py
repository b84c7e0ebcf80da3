"""A demo through its pages: no path or hub id by any way, each cap where a person meets it, and votes of a class."""

import io
import os
import re
import time
import zipfile

import pytest
from seed import config, seed_run
from streamlit.testing.v1 import AppTest

from tests.pages.test_compare import opened
from tests.pages.test_lesson import begun
from ui import actions, known, runactions, shell
from ui.demo import visitor
from unlearn.engines import thread
from unlearn.models.entries import CATALOGUE
from unlearn.results import classroom
from unlearn.store.caps import VISITOR
from unlearn.store.runs import RunStore
from unlearn.work.visitors import admission, rules, spent

ME, YOU = f"{VISITOR}me", f"{VISITOR}you"
# Each opens a whole page, several of them more than once.
pytestmark = pytest.mark.slow
SHOWN = ("start", "lesson", "launch", "runs", "compare", "tokens", "stress", "sweep", "sequence", "data")


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    import streamlit as st

    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path / "store"))
    monkeypatch.setenv("UNLEARN_ROOTS", "")
    monkeypatch.setenv("UNLEARN_DEMO", "1")
    monkeypatch.setattr(visitor, "_token", lambda: "me")
    st.cache_data.clear()
    return RunStore(tmp_path / "store")


@pytest.fixture
def caps(monkeypatch):
    return lambda text: monkeypatch.setenv("UNLEARN_CAPS", text)


def errors(app: AppTest) -> str:
    return "\n".join(element.value for element in app.error).replace("\\", "")


def told(app: AppTest) -> str:
    """Everything that the server sent for this page, tables and hidden parts too."""
    return "\n".join(str(getattr(node, "proto", "")) for place in (app.main, app.sidebar) for node in place)


# -- paths and hub ids ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", SHOWN)
def test_no_page_tells_a_folder_of_this_machine(store, tmp_path, monkeypatch, page):
    table = admission.keep_table(b"question,answer\nWho?,Me\nWhere?,Here\n", "mine.csv", store, ME)
    reason = f"a file could not be read: {store.root}/x and {tmp_path}/y"
    run = seed_run(store, owner=ME, data={"forget": str(table), "retain": str(table)})
    failed = seed_run(store, "running", owner=ME, data={"forget": str(table)})
    failed.append("state", state="failed", reason=reason)
    (store.root / "20200101-000000-gd-dead").mkdir()
    (store.root / "20200101-000000-gd-dead" / "config.json").write_text("{")
    tab = {"tab": "Settings"} if page == "compare" else {}
    for shown in (run, failed):
        app = opened(page, run=shown.id, a=shown.id, **tab)
        assert str(tmp_path) not in told(app)
    if page in ("start", "launch", "compare"):
        # Whoever owns the machine reads them.
        monkeypatch.setenv("UNLEARN_DEMO", "")
        assert str(tmp_path) in told(opened(page, run=failed.id, a=run.id, **tab))


REFUSED = {
    (
        "launch",
        "model",
        "HuggingFaceTB/SmolLM2-135M",
    ): "the model must be among tiny-authors, tiny-snippets, ",
    ("launch", "model", "/etc"): "the model must be among",
    ("launch", "model", "smollm2"): "the model must be among",
    ("launch", "data", "tofu-forget10"): "the forget set must be among",
    ("data", "data", "muse-news"): "the forget set must be among",
    ("data", "hub", "locuslab/TOFU"): "hub is not read here; choose a bundled forget set, or upload",
}


@pytest.mark.parametrize("asked", REFUSED)
def test_a_link_to_models_and_rows_of_others_is_refused(store, asked):
    page, word, value = asked
    app = opened(page, **{word: value})
    assert errors(app).startswith("demo: ")
    assert REFUSED[asked] in errors(app)


def test_a_link_to_a_file_tells_neither_rows_nor_folders(store, tmp_path):
    (tmp_path / "secret.csv").write_text("question,answer\nWho?,the-secret\n")
    for given in ("../secret.csv", str(tmp_path / "secret.csv"), "../../secret.csv"):
        app = opened("data", forget=given)
        assert errors(app)
        assert "the-secret" not in told(app)
        assert str(tmp_path) not in errors(app).replace(given, "")


@pytest.mark.parametrize("changes", [{"model": "owner/name"}, {"retrained": "/models/other"}])
def test_a_run_of_the_hosts_own_model_is_not_repeated(store, changes):
    run = seed_run(store, **changes)
    app = opened("launch", clone=run.id)
    assert errors(app).startswith("demo: ")
    assert app.selectbox(key="model").value == "tiny-authors"
    filled = opened("launch", {"config.fill": config(**changes)})
    assert errors(filled).startswith("demo: ")


def test_the_forms_offer_no_path_and_no_hub(store):
    app = opened(
        "launch", {"model": "hub", "model.hub": "owner/name", "data": "hub", "data.hub.hub": "owner/rows"}
    )
    assert app.selectbox(key="model").options == [CATALOGUE[name].title for name in rules.models()]
    assert len(app.selectbox(key="data").options) == len(rules.datasets()) + 1
    assert errors(app) == ""
    app.selectbox(key="data").set_value("own").run()
    assert app.segmented_control(key="data.forget.way").options == ["Upload", "Paste"]
    fields = {one.key or "" for one in (*app.text_input, *app.selectbox)}
    assert not {key for key in fields if re.search(r"path|folder|hub|retrained|report_to", key)}
    assert "Give nothing private" in told(app)
    runs = opened("runs")
    assert not [one for one in runs.get("file_uploader") if "exported" in one.label]
    assert "runs.import.path" not in {one.key for one in runs.text_input}
    state = {"data": "own", "data.forget.way": "path", "data.forget.path": "/etc/passwd"}
    assert "root:" not in told(opened("data", state))


def test_downloads_tell_no_folder(store, tmp_path, monkeypatch):
    table = admission.keep_table(b"question,answer\nWho?,Me\n", "mine.csv", store, ME)
    run = seed_run(store, owner=ME, data={"forget": str(table)})
    archive = zipfile.ZipFile(io.BytesIO(runactions.packed(run)))
    assert len(archive.namelist()) > 4
    packed = b"".join(archive.read(name) for name in archive.namelist())
    for content in (
        packed,
        runactions.report_bytes([run]),
        runactions.receipt_bytes(run),
        runactions.card_bytes(run),
    ):
        assert str(tmp_path).encode() not in content
    assert b"mine.csv" in packed
    monkeypatch.setenv("UNLEARN_DEMO", "")
    archive = zipfile.ZipFile(io.BytesIO(runactions.packed(run)))
    assert str(table).encode() in archive.read(f"{run.id}/config.json")


# -- caps ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(monkeypatch):
    """Runs work until they are stopped, without a model; the model is not asked before."""

    def work(run, *, should_stop, **_):
        run.append("state", state="running")
        while not should_stop():
            time.sleep(0.01)
        run.append("state", state="stopped", reason="stopped by hand at step 1")

    monkeypatch.setattr(known, "ask_first", lambda configs: True)
    monkeypatch.setattr(thread, "execute", work)
    yield
    shell.runner().close()


def launch(**query: str) -> AppTest:
    app = opened("launch", model="tiny-authors", data="authors", method="gd", **query)
    app.button(key="launch").click().run()
    assert not app.exception, app.exception
    return app


def test_the_queue_is_full_for_one_and_for_all(store, waiting, caps, monkeypatch):
    caps("queue_each=1,queue=2")
    assert "run" in launch().query_params
    said = errors(launch())
    assert said.startswith(
        "demo: the cap queue_each is 1 (runs, attacks and studies of one visitor that wait or work);"
    )
    assert "Wait until one of yours ends, or stop one on the page Runs." in said
    monkeypatch.setattr(visitor, "_token", lambda: "you")
    assert "run" in launch().query_params
    monkeypatch.setattr(visitor, "_token", lambda: "third")
    assert errors(launch()).startswith("demo: the cap queue is 2 ")
    assert len(store.list()) == 2


@pytest.mark.parametrize("cap", ["minutes_each", "minutes", "disk_mb_each", "disk_mb"])
def test_minutes_and_disk_are_used_up(store, waiting, caps, cap):
    caps(f"{cap}=0.001")
    spent.note_minutes(store.root, ME, 60)
    run = seed_run(store, "running", owner=ME)
    with run.held():
        assert errors(launch()).startswith(f"demo: the cap {cap} is 0.001 (")
    assert store.list() == [run]


def test_a_study_and_an_attack_are_refused_and_leave_nothing(store, waiting, caps):
    run = seed_run(store, owner=ME)
    caps("queue_each=0")
    app = opened("sweep", {"sweep.how": "Try a grid"})
    assert not list(store.root.glob("sweeps/*"))
    for name, given in (
        ("attack", (["paraphrase"],)),
        ("sweep attacks", (1.0,)),
        ("measure", (["mia_loss"],)),
    ):
        with pytest.raises(ValueError, match=r"^demo: the cap queue_each is 0"):
            actions.do(name, run, *given)
    assert not (run.path / "stress").exists()
    assert app.title


def uploaded(content: bytes, name: str = "mine.csv") -> AppTest:
    app = opened("data")
    app.selectbox(key="data").set_value("own").run()
    file = next(one for one in app.get("file_uploader") if "CSV" in one.label)
    file.upload(name, content, "text/csv").run()
    return app


def test_uploads_are_too_many_or_too_large(store, caps):
    caps("uploads_each=1,upload_mb=0.001,uploads=2")
    table = b"question,answer\nWho?,Me\nWhere?,Here\n"
    assert errors(uploaded(table)) == ""
    said = errors(uploaded(table + b"When?,Now\n"))
    assert said.startswith("demo: the cap uploads_each is 1 (")
    assert errors(uploaded(table)) == "", "the same table takes no place"
    assert errors(uploaded(table * 40)).startswith("demo: the cap upload_mb is 0.001 (")
    assert len(spent.tables(store)) == 1


def test_pasted_rows_count_as_well(store, caps):
    caps("uploads_mb_each=0.00001")
    app = opened("data", {"data": "own", "data.forget.way": "paste"})
    app.text_area(key="data.forget.paste").set_value("question,answer\nWho?,Me\n").run()
    assert errors(app).startswith("demo: the cap uploads_mb_each is 1e-05 (")


# What others gave is as large as the table that is uploaded here, so one of the two fits below either cap.
TABLE = b"question,answer\nWho?,Me\nWhere?,Here\n"
OTHERS = TABLE.replace(b"Who?", b"Why?")
ROOM_FOR_ONE = {"uploads": "1", "uploads_mb": str(1.5 * len(TABLE) / 1e6)}


@pytest.mark.parametrize("cap", ROOM_FOR_ONE)
def test_the_tables_of_all_visitors_fill_the_page_data_until_old_ones_go(store, caps, cap):
    caps(f"{cap}={ROOM_FOR_ONE[cap]}")
    theirs = admission.keep_table(OTHERS, "theirs.csv", store, YOU).parent
    said = errors(uploaded(TABLE))
    assert said.startswith(f"demo: the cap {cap} is {float(ROOM_FOR_ONE[cap]):g} (")
    assert "Try again in an hour" in said
    assert f"whoever hosts this demo can raise it (--cap {cap}=VALUE)" in said
    assert [one.path for one in spent.tables(store)] == [theirs]

    # An hour later nobody uses the other table, and it makes room.
    old = time.time() - admission.FRESH - 1
    os.utime(theirs / spent.MARK, (old, old))
    assert errors(uploaded(TABLE)) == ""
    assert [one.owner for one in spent.tables(store)] == [ME]


def test_the_side_bar_says_the_caps_and_what_is_used(store, monkeypatch):
    spent.note_minutes(store.root, ME, 90)
    app = opened("start")
    assert "demo" in told(app)
    app = opened("start", {"demo.caps": True})
    said = "\n".join(one.value for one in app.sidebar.caption).replace("\\", "")
    assert "- **1.5 of 60** Minutes that one visitor's runs may work within a day." in said
    assert "- **0 of 3** Runs, attacks" in said
    assert "- **2** Megabytes of one table" in said
    monkeypatch.setenv("UNLEARN_DEMO", "")
    assert "What this" not in told(opened("start"))


# -- a class -------------------------------------------------------------------------------------------------------


def test_a_pupil_votes_and_begins_no_vote(store, monkeypatch):
    monkeypatch.setenv("UNLEARN_DEMO", "class")
    monkeypatch.setenv("UNLEARN_CLASS", "ABCDE")
    monkeypatch.setattr(visitor, "is_own_machine", lambda: False)
    run = seed_run(store, method="npo")
    opened_class = {"lesson.class": True, "class.role": "forget"}
    pupil = opened("lesson", opened_class, held=run.id)
    pupil.session_state["lesson.class"] = True
    begun(pupil).click().run()
    assert errors(pupil).startswith("class: a vote is begun in a browser of the machine that hosts the class")
    assert classroom.read(store.root, "ABCDE") is None

    monkeypatch.setattr(visitor, "is_own_machine", lambda: True)
    teacher = opened("lesson", opened_class, held=run.id)
    teacher.session_state["lesson.class"] = True
    begun(teacher).click().run()
    room = classroom.read(store.root, "ABCDE")
    assert room is not None
    assert room.run == run.id

    monkeypatch.setattr(visitor, "is_own_machine", lambda: False)
    pupil = opened("lesson", **{"class": "ABCDE"})
    next(one for one in pupil.button if one.label == "The left one").click().run()
    assert [vote["voter"] for vote in classroom.votes(store.root, room)] == [ME]
    # The presenter's view is this browser's alone, and anybody may look so.
    assert opened("lesson", step="2", view="large").toggle(key="lesson.large").value


def test_whoever_hosts_a_class_has_no_caps_and_ends_what_pupils_began(store, waiting, caps, monkeypatch):
    monkeypatch.setenv("UNLEARN_DEMO", "class")
    monkeypatch.setattr(visitor, "is_own_machine", lambda: True)
    caps("queue_each=0,queue=0")
    pupils = seed_run(store, "running", owner=YOU)
    assert "run" in launch().query_params
    assert "From the Hugging Face hub" in opened("launch").selectbox(key="model").options
    assert shell.may_manage(pupils)
    monkeypatch.setattr(visitor, "is_own_machine", lambda: False)
    assert errors(launch()).startswith("class: the cap queue_each is 0 (")
    assert not shell.may_manage(pupils)


def test_votes_of_a_demo_are_counted_on_the_page(store, caps):
    caps("votes_each=0")
    run = seed_run(store, method="npo")
    app = opened("lesson", {"lesson.class": True, "class.role": "forget"}, held=run.id)
    app.session_state["lesson.class"] = True
    begun(app).click().run()
    assert errors(app).startswith("demo: the cap votes_each is 0 (")


def test_the_votes_of_all_visitors_are_counted_on_the_page(store, caps):
    caps("votes=1")
    run = seed_run(store, method="npo")
    admission.begin_vote(store.root, "CDEFG", run.id, "forget", YOU)
    app = opened("lesson", {"lesson.class": True, "class.role": "forget"}, held=run.id)
    app.session_state["lesson.class"] = True
    begun(app).click().run()
    said = errors(app)
    assert said.startswith("demo: the cap votes is 1 (")
    assert "there are 1. Vote in one that has begun" in said
    assert classroom.owners(store.root) == [YOU]


def test_blind_votes_on_runs_of_others_are_not_kept(store, monkeypatch):
    from ui.compare import blind

    mine, others = seed_run(store, owner=ME), seed_run(store, owner=YOU)
    assert blind._keeps(mine)
    assert not blind._keeps(others)
    monkeypatch.setenv("UNLEARN_DEMO", "class")
    assert blind._keeps(others)
