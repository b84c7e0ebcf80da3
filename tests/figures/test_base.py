"""Figures: what they say, that nothing bad is hidden, that they hold for 0, 1 and 2 points."""

import math
import subprocess
import sys

import pytest
from seed import seed_run, token

from unlearn.figures import base as figures
from unlearn.figures import tokens as token_figures
from unlearn.store.runs import RunStore


def steps(values, term="forget"):
    return [{"step": i, "terms": {term: value}} for i, value in enumerate(values, 1)]


def title(figure):
    return figure.layout.title.text


def test_smoothing_is_unbiased_and_passes_over_gaps():
    assert figures.smooth([3.0, 3.0, 3.0], 10) == pytest.approx([3.0, 3.0, 3.0])
    assert figures.smooth([1.0, 2.0], 1) == [1.0, 2.0]
    first, gap, last = figures.smooth([0.0, math.nan, 1.0], 2)
    assert (first, last) == (0.0, pytest.approx(2 / 3))  # weights ½·½ and ½ over ¾
    assert math.isnan(gap)


def test_thinning_keeps_ends_and_spikes():
    xs, ys = list(range(100_000)), [0.0] * 100_000
    ys[54_321] = 9.0
    x, y = figures.thin(xs, ys)
    assert len(x) <= figures.POINTS
    assert (x[0], x[-1], max(y)) == (0, 99_999, 9.0)
    assert x == sorted(x)


def test_smoothing_comes_before_thinning():
    noisy = [float(i % 2) for i in range(20_000)]
    figure = figures.losses(steps(noisy))
    bold = figure.data[1].y
    assert len(bold) <= figures.POINTS
    assert all(abs(y - 0.5) < 0.02 for y in bold[len(bold) // 2 :])


def test_a_live_figure_is_light():
    """Thinned and as typed arrays: two terms of 5,000 steps in well under the 60 kB of a redraw."""
    many = [{"step": i, "terms": {"forget": math.sin(i), "retain": math.cos(i)}} for i in range(5000)]
    assert len(figures.losses(many, points=300).to_json()) < 30_000


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_points(count):
    figure = figures.losses(steps([1.0, 2.0][:count]))
    assert title(figure) == ["No training step yet", "Forget term 1", "Forget term 1 → 2"][count]
    assert all(trace.mode == "lines+markers" for trace in figure.data)
    figures.losses_compare({"A": steps([1.0, 2.0][:count]), "B": []})


def test_terms_never_share_an_axis():
    figure = figures.losses([{"step": 1, "terms": {"forget": 1.0, "retain": 2.0}}])
    axes = {trace.name: trace.yaxis for trace in figure.data}
    assert axes["forget term"] != axes["retain term"]


def test_colours_by_meaning():
    figure = figures.losses([{"step": 1, "terms": {"forget": 1.0, "retain": 2.0}}])
    assert [figure.data[0].line.color, figure.data[2].line.color] == ["#D55E00", "#0072B2"]


def test_numbers_that_are_not_finite_are_marked():
    figure = figures.losses(steps([1.0, "nan", "inf", 2.0]))
    marks = next(trace for trace in figure.data if trace.name == "not finite")
    assert marks.marker.symbol == "x"
    assert list(marks.x) == [2, 3]
    assert list(marks.customdata) == ["not a number", "∞"]
    assert "not finite at 2 of 4 steps, first 2" in title(figure)


def test_never_finite():
    figure = figures.losses(steps(["nan", "nan"]))
    assert "never finite" in title(figure)
    assert any(trace.name == "not finite" for trace in figure.data)


def test_references_are_dashed_in_their_own_panel():
    both = [{"step": 1, "terms": {"forget": 1.0, "retain": 2.0}}]
    figure = figures.losses(both, {"retain": {"before": 0.1, "retrained": 0.2, "bad": "nan"}})
    lines = [shape for shape in figure.layout.shapes if shape.line.dash == "dash"]
    assert [line.y0 for line in lines] == [0.1, 0.2]
    assert {line.yref for line in lines} == {"y2"}
    assert {"original", "retrained"} <= {note.text for note in figure.layout.annotations}


def test_two_runs_have_two_colours():
    figure = figures.losses_compare({"A": steps([1.0, 2.0]), "B": steps([3.0, 1.0])})
    assert {trace.line.color for trace in figure.data} == {figures.AFTER_A, figures.AFTER_B}
    assert title(figure) == "Forget term: A 1 → 2; B 3 → 1"


def test_tradeoff_area_is_time():
    points = [
        {"label": "Original", "kind": "before", "forget": 1.0, "retain": 1.0},
        {"label": "A", "kind": "A", "forget": 0.1, "retain": 0.9, "seconds": 40},
        {"label": "B", "kind": "B", "forget": 0.2, "retain": 0.8, "seconds": 10},
        {"label": "Retrained", "kind": "retrained", "forget": 0.0, "retain": 1.0},
    ]
    figure = figures.tradeoff(points)
    looks = {trace.name: trace.marker for trace in figure.data}
    assert (looks["Original"].symbol, looks["Retrained"].symbol) == ("star", "diamond")
    assert looks["Retrained"].color == figures.RETRAINED
    assert (looks["A"].size - 9) == pytest.approx(2 * (looks["B"].size - 9))
    assert "A: forget 100 → 10 %, retain 100 → 90 %" in title(figure)
    figures.tradeoff([])


def test_model_text_is_never_markup():
    figure = figures.losses_compare({"<b>A</b>": steps([1.0])})
    assert figure.data[0].name == "&lt;b&gt;A&lt;/b&gt;"
    assert "%{" not in figures.text("%{x}")
    assert token_figures.token_text(" <a>\n") == "‘␣&lt;a&gt;↵’"


def test_token_bars_say_the_largest_shift():
    old = [token(" Lis", -0.1, 0, " Por"), token("bon", -0.2, 0, " x")]
    new = [token(" Lis", -4.1, 56, " Por"), token("bon", -0.5, 0, " x")]
    figure = token_figures.token_bars(old, new)
    assert title(figure) == "Largest shift: ‘␣Lis’, −4.00 log-prob (nats)"
    assert list(figure.data[1].y) == [-4.1, -0.5]
    assert figure.layout.yaxis.range[0] < -4.1
    likely = token_figures.token_bars(old, new, "p")
    assert title(likely) == "Largest shift: ‘␣Lis’, 90 % → 1.7 %"
    assert list(likely.layout.yaxis.range) == [0, 1.03]
    still = token_figures.token_bars(old, old)
    assert still.layout.yaxis.range[0] < -1  # a small number looks small
    token_figures.token_bars([], [])
    token_figures.token_bars(old, [{**old[0], "lp": "nan"}])


def test_slope_shows_the_answers_true_rank():
    old = token(" Lis", -0.1, 0, " Por")
    new = token(" Lis", -9.0, 56, " Por")
    new["top"] = [[" Por", -0.5], [" Ber", -1.5]]
    figure = token_figures.topk_slope(old, new)
    assert title(figure) == "‘␣Lis’ fell from rank 1 to rank 57; probability 90 % → 0.012 %"
    own = next(trace for trace in figure.data if trace.line.width == 3)
    assert own.text[1].endswith("rank 57")
    assert own.y[1] == 11  # below the ten that were listed before
    others = next(trace for trace in figure.data if trace.line.width == 1)
    drawn = [(x, y, said) for x, y, said in zip(others.x, others.y, others.text, strict=True) if y == y]
    assert (1, 1.0, "‘␣Por’ −0.50") in drawn
    assert (1, 2.0, "‘␣Ber’ −1.50") in drawn  # in one list only: no line, but a mark
    assert not any(x == 0 for x, _, said in drawn if "Ber" in said)
    same = token_figures.topk_slope(old, old)
    assert "stayed at rank 1" in title(same)


def test_probes(tmp_path):
    probes = seed_run(RunStore(tmp_path)).probes()
    one = token_figures.probe_curves(probes, 0, token=0, cursor=10)
    assert title(one) == "Probability of an answer token, mean: 95 % → 0.64 %"
    assert len(one.layout.shapes) == 1
    figure = token_figures.probe_overview(probes, {"forget": {"retrained": -5.0}}, cursor=5)
    assert title(figure) == "Answer log-prob: forget −0.05 → −5.05, retain −0.05 → −0.05"
    assert len(figure.layout.shapes) == 2
    assert title(token_figures.probe_overview([])) == "No probe yet"
    assert title(token_figures.probe_curves([], 0)) == "No probe yet"


def test_dark_pages_get_lighter_shades_of_the_same_figure():
    light, dark = (figures.losses(steps([1.0, 2.0]), dark=flag) for flag in (False, True))
    assert light.data[0].line.color != dark.data[0].line.color
    assert list(light.data[0].y) == list(dark.data[0].y)


def test_neither_torch_nor_streamlit_is_imported():
    modules = "unlearn.figures.tokens, unlearn.results.compare"
    code = f"import sys, {modules}; print({{'torch', 'streamlit'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
