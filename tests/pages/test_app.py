"""Every page as a person would find it: nothing there yet, a store full of runs, a failed and a broken one.

No model is loaded and nothing is trained here; tests/test_browser.py does that in a real browser.
"""

import json
import time
from pathlib import Path

import pytest
from seed import config, seed_run
from streamlit.testing.v1 import AppTest

from unlearn.models import taught
from unlearn.store.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.name for path in (ROOT / "pages").glob("*.py"))


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    """An empty store that the app uses; no cache of another test's store survives."""
    import streamlit as st

    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    monkeypatch.setenv("UNLEARN_ROOTS", "")
    st.cache_data.clear()
    return RunStore(tmp_path)


def opened(page: str, **query: str) -> AppTest:
    """The page after its first run, and no exception on it."""
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    app.run()
    for key, value in query.items():
        app.query_params[key] = value
    app.switch_page(f"../pages/{page}").run()
    assert not app.exception, app.exception
    return app


def texts(app: AppTest) -> str:
    """All words on the page that are not in a table."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.error, app.warning)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_an_empty_store(store, page):
    app = opened(page)
    assert app.title


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("state", ["done", "failed", "stopped", "interrupted"])
def test_every_page_opens_on_a_run_in_this_state(store, page, state):
    run = seed_run(store, state)
    opened(page, run=run.id, runs=run.id)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_while_two_runs_wait_and_work(store, page):
    first, second = seed_run(store, "running"), seed_run(store, "queued")
    with first.lock(), second.lock():
        opened(page, run=f"{first.id},{second.id}", runs=first.id)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_page_survives_a_link_to_a_run_that_is_gone(store, page):
    seed_run(store)
    opened(page, run="20200101-000000-gd-dead", runs="../../etc/passwd", clone="nothing")


@pytest.mark.slow
def test_the_start_page_needs_no_torch(store):
    import subprocess
    import sys

    code = (
        "import sys, threading\n"
        "threading.Thread.start = lambda self: None if self.name == 'preload' else start(self)\n"
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('ui/main.py', default_timeout=60).run()\n"
        "assert not app.exception and 'torch' not in sys.modules\n"
    ).replace("threading.Thread.start =", "start = threading.Thread.start; threading.Thread.start =")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_run_that_failed_without_a_reason_names_a_file_that_it_has(store):
    run = seed_run(store, "running")
    run.append("state", state="failed")
    (said,) = [e.value for e in opened("launch.py", run=run.id).error]
    assert "without a reason" in said
    assert "events.jsonl" in said
    assert (run.path / "events.jsonl").exists()


def test_a_failed_run_says_why_and_how_to_mend_it(store):
    run = seed_run(store, "failed")
    assert "lower lr" in texts(opened("launch.py", run=run.id)).replace("\\", "")


def test_whoever_looks_sees_that_a_run_was_asked_to_stop(store):
    from ui.live import stopping

    run = seed_run(store, "running")
    assert not stopping(run)
    run.append("note", asked="stop")
    run.append("note", phase="saving")
    assert stopping(run)
    time.sleep(0.002)  # events are stamped in milliseconds
    run.append("state", state="queued")  # resumed
    assert not stopping(run)


def test_all_who_watch_share_one_figure_until_the_next_redraw(store, monkeypatch):
    from ui.launch import curves, drawing

    run, now = seed_run(store, "running"), [100.0]
    monkeypatch.setattr(drawing.time, "monotonic", lambda: now[0])

    def drawn(active=True, dark=False):
        steps = run.events("step")
        at = (steps[-1]["step"],)
        return drawing.shared(("losses", run.id, dark), at, active, lambda: curves.terms(steps, dark))

    first = drawn()
    run.append("step", step=21, of=40, terms={"forget": 1.0}, seconds=7.0)
    assert drawn() is first
    figure, title = first[1][0]
    assert figure.layout.title.text is None  # a figure's title does not wrap: it stands above it
    assert title.startswith("Forget term ")
    assert drawn(dark=True)[0] == (21,)  # the dark one is another
    now[0] += drawing.EVERY
    assert drawn()[0] == (21,)
    run.append("step", step=22, of=40, terms={"forget": 1.0}, seconds=8.0)
    assert drawn(active=False)[0] == (22,)  # over: nothing will follow


@pytest.mark.slow
@pytest.mark.parametrize("state", ["interrupted", "stopped", "failed", "done"])
def test_a_run_that_ended_early_offers_to_resume(store, state):
    run = seed_run(store, state)
    app = opened("launch.py", run=run.id)
    assert ("ended first" in texts(app)) == (state == "interrupted")
    found = [button for button in app.button if button.label == "Resume"]
    assert len(found) == (state != "done")  # killed before its first checkpoint
    assert all("Begins again" in button.help for button in found)
    (run.path / "checkpoint").mkdir()
    (run.path / "checkpoint" / "state.json").write_text('{"file": "step-5.safetensors", "step": 5}')
    (run.path / "checkpoint" / "step-5.safetensors").write_bytes(b"")
    app = opened("launch.py", run=run.id)
    found = [button for button in app.button if button.label == "Resume"]
    assert len(found) == (state != "done")
    assert all("from step 5" in button.help for button in found)


def test_a_link_fills_the_unlearn_page(store):
    app = opened("launch.py", model="tiny-authors", data="authors", method="npo,undial")
    assert app.session_state["model"] == "tiny-authors"
    assert app.session_state["data"] == "authors"
    assert app.session_state["methods"] == ["npo", "undial"]
    assert not app.error
    assert [button for button in app.button if button.label == "Launch 2 runs" and not button.disabled]


def test_a_model_brings_the_forget_set_that_it_knows(store):
    assert opened("launch.py", model="smollm2").session_state["data"] == "capitals"
    assert opened("launch.py", model="smollm2", data="authors").session_state["data"] == "authors"


def test_a_link_with_unknown_names_says_so_and_keeps_working(store):
    app = opened("launch.py", model="no such/model/at all", data="nonsense", method="npo,magic")
    words = texts(app)
    assert "magic" in words
    assert "nonsense" in words
    launch = [button for button in app.button if button.label.startswith("Launch")]
    assert launch
    assert launch[0].disabled


def test_repeating_a_run_brings_its_settings_back(store):
    run = seed_run(store, lr=3e-4, epochs=7, method="npo", knobs={"beta": 0.5}, seed=11)
    app = opened("launch.py", clone=run.id)
    values = {field.key: field.value for field in app.number_input}
    assert values["form.npo.tiny.full.lr"] == pytest.approx(3e-4)
    assert values["form.npo.tiny.full.epochs"] == 7
    assert values["form.npo.tiny.full.beta"] == pytest.approx(0.5)
    assert values["form.seed"] == 11


def test_a_model_with_settings_of_its_own_shows_them(store):
    from unlearn.__main__ import parser
    from unlearn.commands.options import config_of

    for model, place in (("tiny-authors", "tiny"), ("tiny-snippets", "tiny-snippets")):
        app = opened("launch.py", model=model, method="undial")
        values = {field.key: field.value for field in app.number_input}
        asked = config_of(parser().parse_args(["run", "--model", model, "--method", "undial"]))
        assert values[f"form.undial.{place}.full.lr"] == pytest.approx(asked.lr)
        assert values[f"form.undial.{place}.full.gamma"] == pytest.approx(asked.knobs["gamma"])
    run = seed_run(store, model="tiny-snippets", data={"name": "snippets"}, method="undial", lr=3e-4)
    values = {field.key: field.value for field in opened("launch.py", clone=run.id).number_input}
    assert values["form.undial.tiny-snippets.full.lr"] == pytest.approx(3e-4)


def test_the_precision_of_the_weights_can_be_chosen(store, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "bitsandbytes" else find(n, *a)
    )
    app = opened("launch.py", clone=seed_run(store, method="npo", tuning="lora", precision="nf4").id)
    assert app.selectbox(key="form.report_to").options[0] == "Nowhere"
    field = app.selectbox(key="form.precision")
    assert (field.value, len(field.options)) == ("nf4", 5)
    assert "precision nf4 needs bitsandbytes" in texts(app)
    field.set_value("bfloat16").run()
    assert not app.error
    assert any("--precision bfloat16" in code.value for code in app.code)
    app.segmented_control(key="form.tiny.tuning").set_value("full").run()
    assert len(app.selectbox(key="form.precision").options) == 3  # 8 and 4 bits are for adapters


def test_a_wrong_table_is_an_error_in_words_and_not_a_traceback(store, tmp_path):
    bad = store.root / ".uploads" / "x" / "bad.csv"
    bad.parent.mkdir(parents=True)
    bad.write_text("a,b,c\n1,2,3\n4,5,6\n")
    run = seed_run(store, data={"forget": str(bad)})
    app = opened("launch.py", clone=run.id)
    assert "columns" in texts(app)
    (launch,) = (button for button in app.button if button.label == "Launch")
    assert launch.disabled


def test_the_runs_table_shows_scores_as_differences_to_a_chosen_run(store):
    first = seed_run(store)
    seed_run(store, "failed", method="npo")
    app = opened("runs.py")
    table = app.dataframe[0].value
    assert set(table["status"]) >= {"done", "failed"}
    row = table[table["id"] == first.id].iloc[0]
    assert row["forget"] == pytest.approx(-90)
    assert row["retain"] == pytest.approx(-3)
    app.selectbox(key="runs.baseline").set_value("absolute").run()
    assert app.dataframe[0].value.set_index("id").loc[first.id, "forget"] == pytest.approx(5)
    app.selectbox(key="runs.baseline").set_value(first.id).run()
    assert app.dataframe[0].value.set_index("id").loc[first.id, "forget"] == pytest.approx(0)
    app.multiselect(key="runs.states").set_value(["failed"]).run()
    assert len(app.dataframe[0].value) == 1
    assert not app.exception


def test_markup_in_a_title_stays_text(store):
    run = seed_run(store)
    run.set_meta(title="**bold** :red[x] <b>y</b> $z$")
    words = texts(opened("launch.py", run=run.id))
    assert r"\*\*bold\*\* \:red\[x\] \<b\>y\</b\> \$z\$" in words


def test_methods_stand_in_rows_by_what_they_do_and_two_are_marked(store):
    from unlearn.methods import FAMILIES, OFFERED, family_of

    app = opened("launch.py", model="tiny-authors", data="authors", method="npo")
    rows = [group for group in app.button_group if str(group.key).startswith("methods.")]
    assert [group.key for group in rows] == [f"methods.{family}" for family in FAMILIES]
    words = " ".join(option.content for group in rows for option in group.proto.options)
    assert words.count("start here") in (2, 3)
    assert "ruins" in words
    assert {family_of(method) for method in OFFERED.values()} == set(FAMILIES)
    app.session_state["methods"] = ["npo"]
    rows[1].set_value(["undial"]).run()
    assert app.session_state["methods"] == ["npo", "undial"]
    app.button_group(key="methods.push").set_value([]).run()
    assert app.session_state["methods"] == ["undial"]


@pytest.mark.slow
def test_forms_cover_every_knob_of_every_method(store):
    from unlearn.methods import OFFERED

    app = opened("launch.py", model="tiny-authors", data="authors", method=",".join(OFFERED))
    fields = [app.number_input, app.selectbox, app.toggle]
    keys = {field.key for kind in fields for field in kind}
    for name, method in OFFERED.items():
        tuning = method.tuning_for("full")
        whose = method.settings_of("tiny", "tiny-authors")
        wanted = {f"form.{name}.{whose}.{tuning}.{knob.name}" for knob in method.knobs()}
        assert wanted <= keys, wanted - keys


def test_a_saved_config_is_what_the_command_line_reads():
    saved = json.dumps(config().to_json())
    assert type(config()).from_json(json.loads(saved)) == config()


@pytest.mark.slow
def test_start_leads_to_a_real_model_with_its_own_forget_set(store):
    """The link's address fills Launch with the model, the rows that it was taught, and a method."""
    app = opened("launch.py", model=taught.NAME, data=taught.DATA, method="npo")
    assert app.session_state["model"] == taught.NAME
    assert app.session_state["data"] == taught.DATA
    assert app.session_state["methods"] == ["npo"]


def test_a_number_out_of_its_range_blocks_the_launch_in_words():
    app = opened("launch.py", model="tiny-authors", data="authors", method="npo")
    rate = next(one for one in app.number_input if one.label == "Learning rate")
    tuned = rate.value
    rate.set_value(0.0).run()
    assert "Learning rate must lie in [1e-08, 1], got 0" in app.error[0].value.replace("\\", "")
    assert app.button(key="launch").disabled
    beta = next(one for one in app.number_input if one.key.endswith(".beta"))
    next(one for one in app.number_input if one.label == "Learning rate").set_value(tuned)
    beta.set_value(7.0).run()
    assert "Beta must lie in" in app.error[0].value
    assert app.button(key="launch").disabled
    next(one for one in app.number_input if one.key.endswith(".beta")).set_value(0.5).run()
    assert not app.error
    assert not app.button(key="launch").disabled


def test_a_link_to_a_run_that_is_not_here_says_so():
    app = opened("launch.py", run="nope")
    assert any("There is no run nope here" in one.value for one in app.info)
    # It stands above the form, since nobody looks for it below.
    assert "There is no run nope here" in app.main.children[2].children[0].value


def test_a_model_that_is_nowhere_is_said_in_our_words(monkeypatch):
    from ui.launch import launching

    def away(*_):
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files")

    monkeypatch.setattr(launching, "as_asked", away)
    app = opened("launch.py", model="tiny-authors", data="authors", method="npo")
    said = " ".join(one.value for one in app.warning)
    assert "is not on this machine, and the hub does not give it now" in said
    assert not [one for one in app.error if "huggingface" in one.value]
