"""Further metrics and the report on the pages: what is there, a job in the background, and its refusals in words."""

import time

import pytest
from seed import seed_run
from streamlit.testing.v1 import AppTest

from tests.pages.test_compare import opened, words
from tests.report.test_report import metrics
from ui import shell
from ui.compare import further
from unlearn.metrics import METRICS
from unlearn.report.build import html
from unlearn.store.disk import write_json
from unlearn.store.runs import RunStore
from unlearn.work import stress

SCORES = {"tab": "Scores"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    return RunStore(tmp_path)


def wait_for(job):
    for _ in range(200):
        if job.state not in ("queued", "running"):
            return
        time.sleep(0.05)
    raise AssertionError(job.state)


def section(run):
    """Only this part of the page, of one run: clicks reach what stands in no page and no tab."""
    code = (
        f"from ui import shell\nfrom ui.compare import further\nfurther.further([shell.find_run({run.id!r})])"
    )
    app = AppTest.from_string(code, default_timeout=60).run()
    assert not app.exception
    return app


def test_presets_name_metrics_and_leave_out_what_every_run_has():
    assert further.PRESETS["Everything"] == [n for n in METRICS if not getattr(METRICS[n], "cheap", False)]
    assert set(further.QUICK) <= set(further.MORE)
    assert len(further.MEMBERSHIP) == 7


def test_compare_shows_what_metrics_json_holds(store):
    a, b = seed_run(store), seed_run(store)
    write_json(a.path / "metrics.json", metrics())
    app = opened("compare", **SCORES, a=a.id, b=b.id)
    table = next(frame.value for frame in app.dataframe if "title" in frame.value)
    row = table.iloc[0]
    assert (row["title"], row["a"], row["b"]) == ("MIA loss", "0.61 [0.55, 0.67]", "–")


def test_hostile_metrics_are_no_error(store):
    run = seed_run(store)
    write_json(run.path / "metrics.json", {"metrics": {"x": {"scores": [1]}}})
    assert "cannot read" in words(opened("compare", **SCORES, a=run.id))


def test_compute_runs_in_the_background_and_leaves_the_run_as_it_is(store, monkeypatch):
    run = seed_run(store)
    asked = []

    def pretend(run, names, *, roots, progress):
        asked.append(list(names))
        progress("mia_loss: reading before", 0.5)
        write_json(run.path / "metrics.json", metrics())

    monkeypatch.setattr(stress, "judge", pretend)
    events = run.events()
    app = section(run)
    app.segmented_control(key="further.preset").set_value("Membership").run()
    assert app.multiselect(key=further.CHOSEN).value == further.MEMBERSHIP
    app.button(key="further.compute").click().run()
    job = stress.latest(run)
    wait_for(job)
    assert job.state == "done"
    assert asked == [further.MEMBERSHIP]
    assert (run.state, run.events()) == ("done", events)
    app.run()
    assert any("title" in frame.value for frame in app.dataframe)
    shell._runner.clear()


def test_what_a_job_refuses_is_said_in_words(store):
    run = seed_run(store)  # it keeps no weights
    app = section(run)
    app.button(key="further.compute").click().run()
    job = stress.latest(run)
    wait_for(job)
    assert job.state == "failed"
    app.run()
    assert shell.plain(job.reason) in app.error[0].value
    assert app.button(key="further.compute")  # it can be tried again
    shell._runner.clear()


def test_a_job_that_goes_on_shows_and_can_be_stopped(store):
    run = seed_run(store)
    job = stress.create(run, metrics=["mia_loss"])
    with job.lock():
        app = opened("compare", **SCORES, a=run.id)
        assert "further.compute" not in {button.key for button in app.button}


def test_somebody_elses_run_is_left_alone(store):
    run = seed_run(store, owner="somebody")
    app = opened("compare", **SCORES, a=run.id)
    assert "in the browser that started the run" in words(app)
    assert "further.compute" not in {button.key for button in app.button}


@pytest.mark.parametrize("state", ["done", "failed"])
def test_report_button(store, state):
    run = seed_run(store, state=state)
    app = opened("compare", a=run.id)
    assert any(getattr(e, "label", "") == "Report" for e in app.get("download_button"))
    assert run.id.encode() in html([run])
