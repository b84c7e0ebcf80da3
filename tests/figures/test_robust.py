"""The figure of what relearning brings back: one panel a robust method, plain ones in grey, intervals over seeds."""

import pytest
from robust_rows import rows

from unlearn.figures import svg
from unlearn.figures.base import AFTER_A, GENERAL
from unlearn.figures.robust import relearned


def test_each_robust_method_has_a_panel_with_its_interval_and_the_plain_ones():
    figure = relearned(rows(), "tiny-authors")
    panels = {trace.xaxis for trace in figure.data}
    assert len(panels) == 3
    mine = [t for t in figure.data if t.mode == "lines+markers"]
    assert [t.y[-1] for t in mine] == pytest.approx([0.25, 0.5, 0.875])
    for trace in mine:
        beside = [t for t in figure.data if t.xaxis == trace.xaxis and t.line.color == GENERAL]
        assert len(beside) == 2
        low, high = (t for t in figure.data if t.xaxis == trace.xaxis and t.name == "95 % interval")
        assert all(a <= y <= b for a, y, b in zip(low.y, trace.y, high.y, strict=True))


def test_plain_methods_of_another_utility_are_dotted():
    figure = relearned(rows(), "tiny-authors", only="undo")
    looks = {t.name: t.line.dash for t in figure.data if t.line.color == GENERAL}
    assert looks == {
        "plain method of equal utility": "solid",
        "plain method of another utility, dotted": "dot",
    }
    assert (
        figure.layout.title.text
        == "UNDO after NPO: 25 % left at its worst step, plain methods of equal utility 50 %"
    )
    assert (
        "no plain method keeps as much" in relearned(rows(), "tiny-authors", only="altpo").layout.title.text
    )


def test_it_can_be_drawn_without_a_browser():
    drawn = svg.draw(relearned(rows(), "tiny-authors"))
    assert drawn.svg.count("<polyline") == 3 * (2 + 3)
    assert AFTER_A[1:] in drawn.svg
    assert len(drawn.legend) == 3


def test_nothing_measured_is_said():
    assert relearned([], "tiny-authors").layout.title.text == "Nothing was measured yet"
