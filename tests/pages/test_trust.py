"""The page Trust: without a record, with a broken, a short and a whole one, its figures, and the depth of a run."""

import re
from pathlib import Path

import pytest
from seed import seed_run
from streamlit.testing.v1 import AppTest

from unlearn.figures import depth as depth_figures
from unlearn.figures import trust as trust_figures
from unlearn.results import trust
from unlearn.store.disk import write_json
from unlearn.store.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
TITLES = {"exact": "Exact <b>answers</b>", "uds": "Unlearning depth (UDS)", "nll": "NLL", "rep_3": "REP 3"}


def rows(n):
    """n models of either side: exact and uds tell them apart, nll does not."""
    found = []
    for i in range(n):
        for kind, holds in (("asked", True), ("nothing", False)):
            scores = {"exact": float(holds), "uds": 0.1 if holds else 0.9, "nll": i % 2, "rep_3": i / 100}
            row = {
                "name": f"{kind} {i}",
                "part": "pool",
                "world": 0,
                "kind": kind,
                "holds": holds,
                "learnt": 1.0,
            }
            found.append(row | {"scores": scores})
    for method in ("retrained", *"abcdef"):
        before = dict.fromkeys(("exact", "uds", "nll"), 0.2)
        row = {"name": method, "part": "robustness", "world": 0, "method": method, "kept": 1.0}
        found.append(row | {"before": before, "relearnt": before, "rounded": before | {"nll": 0.6}})
    return found


def record(n, *more):
    header = {
        "machine": {"cpu": "a CPU"},
        "versions": {"torch": "2"},
        "commit": "abc1234",
        "date": "2026-11-29",
    }
    return {"header": header, "format": trust.FORMAT, "titles": TITLES, "rows": rows(n) + list(more)}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Opens the page; the record lies at its attribute `path`, where there is none yet."""
    monkeypatch.setattr(trust, "RECORD", tmp_path / "trust.json")
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path / "runs"))

    def opened():
        app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60).run()
        app.switch_page("../pages/trust.py").run()
        assert not app.exception, app.exception
        return app

    opened.path = tmp_path / "trust.json"
    return opened


def words(app):
    """What the page says. A space that must not break is a space."""
    kinds = (app.markdown, app.caption, app.info, app.warning)
    return " ".join(str(one.value) for kind in kinds for one in kind).replace("\u00a0", " ")


def test_without_a_record_it_says_what_to_do(page):
    app = page()
    assert "No metric was tested yet" in app.info[0].value
    assert app.code[0].value == "python -m unlearn trust"
    assert not app.get("plotly_chart")


def test_a_broken_record_is_named(page):
    page.path.write_text("{")
    app = page()
    assert "cannot be read" in app.error[0].value
    assert app.code[0].value == "python -m unlearn trust"


def test_a_whole_record_begins_with_its_sentence(page):
    write_json(page.path, record(30))
    app = page()
    said = words(app)
    assert "2 of 3 metrics surely tell" in said
    assert "NLL, is right 50 % of the time" in said
    assert "n = 30 models that were taught the facts and 30 that never saw them" in said
    assert not app.warning
    assert len(app.get("plotly_chart")) == 2
    table = app.dataframe[0].value
    first = table.iloc[0]
    assert first["Metric"] in ("Exact <b>answers</b>", "Unlearning depth (UDS)")
    assert first["AUC"].startswith("1.00 [0.9")
    depth = table[table["Metric"] == "Unlearning depth (UDS)"].iloc[0]
    assert (depth["AUC, 1 B"], depth["Robustness, 1 B"]) == ("0.971", "0.900")
    # Each mean over the unlearned models has its interval.
    for part in ("Relearning", "Rounding"):
        assert re.fullmatch(r"\d\.\d\d \[-?\d\.\d\d, \d\.\d\d\]", depth[part]), depth[part]
    assert table.iloc[-1]["Metric"] == "REP 3 *"
    assert "commit abc1234" in said


def test_a_short_record_says_so_and_what_failed(page):
    failed = {"name": "x", "part": "pool", "world": 0, "failed": "no room"}
    write_json(page.path, record(7, failed))
    app = page()
    assert "Only 7 models that hold the facts and 7 that do not" in app.warning[0].value
    assert "being measured now" in app.warning[0].value
    assert "1 models failed" in words(app)


def test_a_record_with_too_little_to_judge(page):
    write_json(page.path, record(2))
    app = page()
    assert "Too few models were measured" in words(app)
    assert "Only 2 models" in app.warning[0].value


def test_figures_of_trust():
    found = trust.judge(record(30))
    meant = [one for one in found.metrics if not one.either_way]
    figure = trust_figures.faithfulness(meant)
    here = next(trace for trace in figure.data if trace.name == "here")
    assert list(here.x) == [one.faithfulness.value for one in meant]
    assert list(here.error_x.arrayminus) == pytest.approx(
        [one.faithfulness.value - one.faithfulness.interval[0] for one in meant]
    )
    assert "&lt;b&gt;" in " ".join(here.y)
    assert figure.layout.title.text == "2 of 3 metrics lie wholly above an AUC of 0.9"
    theirs = next(trace for trace in figure.data if trace.name.startswith("published"))
    assert list(theirs.x) == [0.971]
    plane = trust_figures.plane(meant)
    assert list(plane.data[0].y) == pytest.approx([1.0, 1.0, 2 / 3])
    assert trust_figures.plane([]).layout.title.text == "No metric has both numbers yet"
    # The figure and the page's sentence name the same metric.
    recorded = trust.judge(trust.read())
    shown = [one for one in recorded.metrics if not one.either_way]
    best = trust.best_of([one for one in shown if one.grade == "good" and one.robustness is not None])
    assert f"{best.title} is the best of both" in trust.sentence(recorded)
    assert f"{best.title} is the best of both" in trust_figures.plane(shown).layout.title.text


def entry(**details):
    found = {
        "lacked": [1.0, 2.0],
        "lost": [0.5, 2.0],
        "counted": [3, 4],
        "interval": [0.6, 0.9],
        "left_out": 1,
    } | details
    score = {
        "when": "after",
        "role": "forget",
        "value": 0.75,
        "n": 4,
        "per_example": [0.75] * 4,
        "details": found,
    }
    return {"title": "UDS", "help": "h", "reason": "", "scores": [score]}


def test_the_profile_draws_both_models_and_says_what_it_shows():
    figure = depth_figures.profile(entry())
    lines = {trace.name.split(":")[0]: list(trace.y) for trace in figure.data}
    assert lines == {"retrained": [1.0, 2.0], "unlearned": [0.5, 2.0]}
    said = figure.layout.title.text
    assert "75 % of what the retrained model lacks" in said
    assert "UDS 0.75 [0.6, 0.9], n 4" in said
    assert "counts at 3 of 5 texts" in figure.data[0].customdata[0]
    assert depth_figures.profile({"scores": []}) is None
    assert depth_figures.profile(entry(lost=[])) is None


def test_the_drift_is_called_a_picture():
    details = {"cka": [1.0, 0.9], "shift": [0.1, 0.4], "fisher": [1e-3, 1e-4], "n": 5}
    scores = [
        {"when": when, "role": "forget", "value": 0.1, "n": 5, "details": details}
        for when in ("before", "after", "retrained")
    ]
    figure = depth_figures.drift({"scores": scores})
    assert "a picture, not a score of forgetting" in figure.layout.title.text
    assert len(figure.data) == 2 + 2 + 3
    assert depth_figures.drift({"scores": scores[:1]}) is None


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({}, "was not measured yet"),
        ({"uds": entry() | {"reason": "needs a retrained model", "scores": []}}, "needs a retrained model"),
        ({"uds": entry()}, "75 % of what the retrained model lacks"),
    ],
)
def test_the_depth_of_a_run_on_any_page(tmp_path, monkeypatch, metrics, said):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    run = seed_run(RunStore(tmp_path))
    write_json(run.path / "metrics.json", {"identity": {}, "metrics": metrics, "cost": []})
    code = f"from ui import shell\nfrom ui.trust import depth\ndepth.depth(shell.find_run({run.id!r}))"
    app = AppTest.from_string(code, default_timeout=60).run()
    assert not app.exception
    assert said in words(app)
