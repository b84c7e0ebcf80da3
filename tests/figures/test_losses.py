"""The training terms over the steps: nothing bad is hidden, each term has its axis, each run its colour."""

import math

import pytest

from unlearn.figures.base import AFTER, AFTER_A, AFTER_B, POINTS
from unlearn.figures.losses import losses, losses_compare


def steps(values, term="forget"):
    return [{"step": i, "terms": {term: value}} for i, value in enumerate(values, 1)]


def title(figure):
    return figure.layout.title.text


def test_smoothing_comes_before_thinning():
    noisy = [float(i % 2) for i in range(20_000)]
    figure = losses(steps(noisy))
    bold = figure.data[1].y
    assert len(bold) <= POINTS
    assert all(abs(y - 0.5) < 0.02 for y in bold[len(bold) // 2 :])


def test_a_live_figure_is_light():
    """Thinned and as typed arrays: two terms of 5,000 steps in well under the 60 kB of a redraw."""
    many = [{"step": i, "terms": {"forget": math.sin(i), "retain": math.cos(i)}} for i in range(5000)]
    assert len(losses(many, points=300).to_json()) < 30_000


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_points(count):
    figure = losses(steps([1.0, 2.0][:count]))
    assert title(figure) == ["No training step yet", "Forget term 1", "Forget term 1 → 2"][count]
    assert all(trace.mode == "lines+markers" for trace in figure.data)
    losses_compare({"A": steps([1.0, 2.0][:count]), "B": []})


def test_terms_never_share_an_axis():
    figure = losses([{"step": 1, "terms": {"forget": 1.0, "retain": 2.0}}])
    axes = {trace.name: trace.yaxis for trace in figure.data}
    assert axes["forget term"] != axes["retain term"]


def test_colours_by_meaning():
    figure = losses([{"step": 1, "terms": {"forget": 1.0, "retain": 2.0}}])
    assert [figure.data[0].line.color, figure.data[2].line.color] == ["#D55E00", "#0072B2"]


def test_numbers_that_are_not_finite_are_marked():
    figure = losses(steps([1.0, "nan", "inf", 2.0]))
    marks = next(trace for trace in figure.data if trace.name == "not finite")
    assert marks.marker.symbol == "x"
    assert list(marks.x) == [2, 3]
    assert list(marks.customdata) == ["not a number", "∞"]
    assert "not finite at 2 of 4 steps, first 2" in title(figure)


def test_never_finite():
    figure = losses(steps(["nan", "nan"]))
    assert "never finite" in title(figure)
    assert any(trace.name == "not finite" for trace in figure.data)


def test_references_are_dashed_in_their_own_panel():
    both = [{"step": 1, "terms": {"forget": 1.0, "retain": 2.0}}]
    figure = losses(both, {"retain": {"before": 0.1, "retrained": 0.2, "bad": "nan"}})
    lines = [shape for shape in figure.layout.shapes if shape.line.dash == "dash"]
    assert [line.y0 for line in lines] == [0.1, 0.2]
    assert {line.yref for line in lines} == {"y2"}
    assert {"original", "retrained"} <= {note.text for note in figure.layout.annotations}


def test_two_runs_have_two_colours():
    figure = losses_compare({"A": steps([1.0, 2.0]), "B": steps([3.0, 1.0])})
    assert {trace.line.color for trace in figure.data} == {AFTER_A, AFTER_B}
    assert title(figure) == "Forget term: A 1 → 2; B 3 → 1"


def test_dark_pages_get_lighter_shades_of_the_same_figure():
    light, dark = (losses(steps([1.0, 2.0]), dark=flag) for flag in (False, True))
    assert light.data[0].line.color != dark.data[0].line.color
    assert list(light.data[0].y) == list(dark.data[0].y)


def test_four_runs_have_four_colours_and_marks():
    figure = losses_compare({name: steps([1.0, 2.0]) for name in "ABCD"})
    assert len({trace.line.color for trace in figure.data}) == 4
    assert len(set(AFTER.values())) == 4
