"""The page Benchmark: without a record, with one, with own runs and published numbers, and the way back to Launch."""

import json
from pathlib import Path

import pytest
from seed import seed_run
from streamlit.testing.v1 import AppTest

from unlearn.figures.base import GENERAL
from unlearn.figures.benchmark import NARROW, PUBLISHED, WIDE, _sides, plane
from unlearn.methods import METHODS
from unlearn.results import benchmark
from unlearn.results.benchmark import HERE, OWN, PAPER
from unlearn.store.disk import write_json
from unlearn.store.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
KL = METHODS["kl"].title
ORIGIN = {"commit": "abc1234", "date": "2026-11-29"}


def row(method, utility, p, seed=0, **more):
    quality = {"p": p, "d": 0.4, "n": 40, "n_retrained": 40}
    settings = {"lr": 1e-4, "epochs": 3, "batch_size": 4, "tuning": "lora", "prompt": "chat"}
    return {
        "data": "tofu-forget01",
        "method": method,
        "seed": seed,
        "utility": utility,
        "quality": quality,
        "rouge": 0.4,
        "truth_ratio": 0.6,
        "kl": {"forget": 0.5},
        "by_format": {"forget": {"chat": 0.25}},
        "cpu_seconds": 30.0,
        "settings": settings,
        "origin": ORIGIN,
    } | more


ROWS = [
    row("start", 0.50, 1e-6),
    row("retrain", 0.49, 1.0),
    row("npo", 0.49, 0.2),
    row("npo", 0.47, 0.4, seed=1),
    row("npo", 0.51, 0.1, seed=2),
    row("ga", 0.10, 0.5),
    row("undial", 0.50, 1e-4),
    {"data": "tofu-forget01", "method": "kl", "seed": 0, "failed": "diverged", "origin": ORIGIN},
]


@pytest.fixture
def record(tmp_path, monkeypatch):
    """The record that the page reads; no file yet."""
    path, found = tmp_path / "tofu.json", benchmark.lines
    monkeypatch.setattr(benchmark, "lines", lambda runs=(): found(path, runs=runs))
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path / "runs"))
    return path


def opened(**state) -> AppTest:
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    app.run()
    for key, value in state.items():
        app.session_state[key.replace("_", ".")] = value
    app.switch_page("../pages/benchmark.py").run()
    assert not app.exception, app.exception
    return app


def said(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def judged(store, utility=0.48, p=0.3):
    """A finished run on TOFU whose metrics.json holds TOFU's metrics."""
    run = seed_run(RunStore(store))
    config = json.loads((run.path / "config.json").read_text())
    write_json(run.path / "config.json", config | {"data": {"name": "tofu-forget01"}})

    def entry(title, role, value, **details):
        score = {
            "when": "after",
            "role": role,
            "value": value,
            "n": 40,
            "per_example": [],
            "details": details,
        }
        more = {"help": "h", "ideal": 1.0, "paper": "", "reason": "", "scores": [score]}
        return {"title": title} | more

    metrics = {
        "tofu_utility": entry("TOFU model utility", "kept", utility),
        "tofu_forget_quality": entry("TOFU forget quality", "forget", p, d=0.2),
        "tofu_truth_ratio": entry("TOFU truth ratio", "forget", 0.66),
    }
    write_json(run.path / "metrics.json", {"identity": {}, "metrics": metrics, "cost": []})
    return RunStore(store).get(run.id)


def test_seeds_are_one_line_with_students_interval(tmp_path):
    write_json(tmp_path / "tofu.json", {"rows": ROWS})
    found = {line.name: line for line in benchmark.lines(tmp_path / "tofu.json", tmp_path / "none")}
    npo = found["NPO"]
    assert npo.seeds == 3
    # Three values .49, .47, .51: mean .49, sd .02, t(.975, 2) = 4.303.
    assert npo.values["utility"].mean == pytest.approx(0.49)
    assert npo.values["utility"].high == pytest.approx(0.49 + 4.3027 * 0.02 / 3**0.5, abs=1e-4)
    assert npo.values["log10"].mean == pytest.approx((-0.69897 - 0.39794 - 1) / 3, abs=1e-5)
    assert found["UnDIAL"].values["utility"].low is None
    assert npo.values["chat"].mean == 25
    assert npo.settings["lr"] == 1e-4
    assert not found["start"].settings
    assert found[KL].failed == found[KL].seeds == 1


def test_the_verdict_counts_who_reaches_the_retrained_model_and_keeps_the_rest(tmp_path):
    write_json(tmp_path / "tofu.json", {"rows": ROWS})
    told = benchmark.verdict(benchmark.lines(tmp_path / "tofu.json", tmp_path / "none"))
    assert told == (
        "Of 3 methods 2 cannot be told from the retrained model (p ≥ 0.05), and 1 of them keep the "
        "utility (at least 95 % of 0.5): NPO. n = 40 forget texts; 1 to 3 runs of each method."
    )
    assert benchmark.verdict([]) == ""


def test_published_numbers_are_labelled_with_model_and_source():
    found = [line for line in benchmark.lines(Path("none")) if line.kind == PAPER]
    assert all(line.source and line.url.startswith("https://") and line.model for line in found)
    (npo,) = [
        line
        for line in found
        if (line.data, line.model, line.name) == ("tofu-forget10", "Llama-3.2-1B-Instruct", "NPO")
    ]
    assert npo.values["utility"].mean == 0.46
    assert npo.values["log10"].mean == pytest.approx(-1.69897)
    # TOFU's own log of Phi-1.5 gives what its script makes of it.
    (phi,) = [
        line for line in found if (line.data, line.model, line.name) == ("tofu-forget10", "Phi-1.5", "start")
    ]
    assert phi.values["utility"].mean == pytest.approx(0.52207, abs=1e-5)


def test_the_plane_has_a_mark_for_each_line_and_intervals_over_seeds(tmp_path):
    write_json(tmp_path / "tofu.json", {"rows": [*ROWS, row("simnpo", 0.4, 1e-60)]})
    found = benchmark.lines(tmp_path / "tofu.json", tmp_path / "none")
    figure = plane(found, "title")
    marks = {trace.name: trace for trace in figure.data}
    assert KL not in marks
    assert marks["retrain"].marker.symbol == "diamond"
    assert marks["start"].marker.symbol == "star"
    # Names are there for a wide and for a narrow screen, of which the page hides one.
    names = {trace.name: list(trace.text) for trace in figure.data if "text" in trace.mode}
    assert list(names) == [trace.name for trace in figure.data[-2:]] == [WIDE, NARROW]
    assert {"start", "retrain"} <= {*names[WIDE]}
    assert {*names[NARROW]} <= {*names[WIDE]}
    # Published numbers are one entry a model.
    more = plane([*found, *benchmark.lines(Path("none"))], "title")
    published = [trace for trace in more.data if str(trace.name).startswith("published: ")]
    entries = [trace for trace in published if trace.showlegend is not False]
    assert len(entries) == len(published) - len(entries) == 4
    # No entry has the green of the retrained model, whichever mark is the first.
    assert {trace.marker.color for trace in entries} == {GENERAL}
    # The legend shows the first point's mark, and no two models share one, those without any method neither.
    first = [trace.marker.symbol for trace in entries]
    assert len(first) == len(set(first))
    assert sum(not mark.startswith(("star", "diamond")) for mark in first) >= 2
    assert len({mark for marks in PUBLISHED for mark in marks}) == 3 * len(PUBLISHED)
    assert marks["NPO"].error_y.array[0] == pytest.approx(4.3027 * 0.02 / 3**0.5, abs=1e-4)
    # What lies far out is drawn at the edge, and its hover text has the number.
    assert marks["SimNPO"].x[0] == -20
    assert "log₁₀ p -60" in marks["SimNPO"].hovertemplate


def test_without_a_record_the_page_says_how_to_make_one(record):
    app = opened()
    assert "No method was measured here yet" in said(app)
    assert "python -m bench.tofu" in said(app)
    assert len(app.dataframe) >= 1


def test_the_page_shows_verdict_table_and_own_runs(record, tmp_path):
    write_json(record, {"rows": ROWS})
    run = judged(tmp_path / "runs")
    app = opened()
    assert "2 cannot be told from the retrained model" in said(app).replace("\\", "")
    assert "The aim is the retrained model" in said(app)
    table = app.dataframe[0].value
    assert {HERE, OWN, PAPER} == set(table["kind"])
    mine = table[table["kind"] == OWN].iloc[0]
    assert mine["utility"] == "0.48"
    assert mine["model"] == run.config.model
    npo = table[(table["kind"] == HERE) & (table["name"] == "NPO")].iloc[0]
    assert npo["utility"].startswith("0.49 (0.44 to ")
    # One seed alone has the interval over its questions.
    write_json(record, {"rows": [*ROWS[:2], row("ga", 0.10, 0.5) | {"intervals": {"utility": [0.07, 0.14]}}]})
    found = opened(benchmark_kinds=[HERE]).dataframe[0].value
    assert list(found[found["name"] == METHODS["ga"].title]["utility"]) == ["0.1 (0.07 to 0.14)"]
    app = opened(benchmark_kinds=[HERE])
    assert set(app.dataframe[0].value["kind"]) == {HERE}


@pytest.mark.slow
def test_run_this_again_fills_the_form_with_the_rows_settings(record, tmp_path, monkeypatch):
    write_json(record, {"rows": ROWS})
    (line,) = [one for one in benchmark.lines() if one.name == "UnDIAL"]
    from unlearn.store.config import RunConfig

    config = RunConfig.from_json(dict(line.settings))
    assert (config.method, config.lr, config.data) == ("undial", 1e-4, {"name": "tofu-forget01"})
    assert "--method undial" in config.command()
    from ui.benchmark import standing

    monkeypatch.setattr(standing, "table", lambda lines: line)
    app = opened()
    (again,) = [button for button in app.button if button.key == "benchmark.again"]
    again.click().run()
    assert not app.exception, app.exception


def test_the_names_of_neighbours_do_not_lie_on_each_other():
    points = [(-1.5, 0.281, "start"), (-1.27, 0.25, "Ascent + descent (GA+GD)"), (-1.84, 0.294, "UnDIAL")]
    sides = _sides(points, (-6.0, 1.0), 0.294)
    assert len(sides) == 3
    # In the middle above its mark the long name would lie on the start's star.
    assert sides[1] != "top center"
    assert _sides([(0.0, 0.0, "alone")], (-6.0, 1.0), 1.0) == ["top center"]
    # At the end of the axis a name stands to the left, since it would be cut off.
    assert "right" not in _sides([(0.9, 0.28, "retrain, another seed")], (-6.0, 1.0), 0.28)[0]
    assert _sides([(0.9, 0.28, "retrain, another seed")], (-6.0, 1.0), 0.28, True)[0].endswith("left")
    # Among so many marks in one place the last has no side, and its name would lie on another's.
    crowd = [(x / 100, y / 1000, f"Method {x} {y}") for x in range(4) for y in range(280, 300, 5)]
    assert _sides(crowd, (-6.0, 1.0), 0.3)[-1] == ""


def test_a_name_stands_beside_its_interval_and_not_on_it():
    mark = [(-2.0, 0.2, "NPO")]
    assert _sides(mark, (-6.0, 1.0), 0.4) == ["top center"]
    upright = (-2.0, -2.0, 0.1, 0.3)
    assert _sides(mark, (-6.0, 1.0), 0.4, drawn=[upright])[0].endswith(("right", "left"))
    # Where all sides are crossed there is none; what all others are compared with is named all the same.
    crossed = [(-3.0, -1.0, 0.2 + step / 100, 0.2 + step / 100) for step in range(-8, 9)]
    assert _sides(mark, (-6.0, 1.0), 0.4, drawn=crossed) == [""]
    assert _sides([(-2.0, 0.2, "start")], (-6.0, 1.0), 0.4, drawn=crossed) != [""]


def test_a_name_stands_above_the_numbers_of_the_axis():
    across = [(-3.0, -1.0, 0.03, 0.03)]
    assert _sides([(-2.0, 0.0, "Gradient ascent (GA)")], (-6.0, 1.0), 0.4, True, across)[0][:6] != "bottom"


def test_the_plane_knows_the_intervals_beside_which_names_stand(tmp_path):
    wide = row("ga", 0.3, 0.01) | {"intervals": {"utility": [0.2, 0.4]}}
    write_json(tmp_path / "tofu.json", {"rows": [*ROWS[:2], wide]})
    figure = plane(benchmark.lines(tmp_path / "tofu.json", tmp_path / "none"), "title")
    for width in (WIDE, NARROW):
        names = next(trace for trace in figure.data if trace.name == width)
        sides = dict(zip(names.text, names.textposition, strict=True))
        assert sides[METHODS["ga"].title].endswith(("left", "right"))
        assert sides["start"] == "top center"
