"""The curve of right answers: its title says what it shows, one role a figure, the retrained model dashed."""

import math

from unlearn.figures.base import FORGET, RETRAINED
from unlearn.figures.likelihood import LARGE, likelihood, reached

FALLS = [(0, 1.0), (5, 0.5), (10, 0.004)]


def lines(figure):
    return {shape.line.color: shape.y0 for shape in figure.layout.shapes if shape.x0 != shape.x1}


def stops(figure):
    return {shape.line.color: shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1}


def test_one_run_has_the_roles_colour_and_the_title_its_ends():
    figure = likelihood("forget", {"the run": FALLS}, 0.2)
    assert (
        figure.layout.title.text
        == "To forget, likelihood of the right answers: 100 % → under 1 % (retrained 20 %, reached at step 10)"
    )
    assert stops(figure) == {FORGET: 10}
    assert [note.text for note in figure.layout.annotations] == ["reached", "retrained"]
    assert figure.data[0].line.color == FORGET
    assert list(figure.data[0].y) == [100.0, 50.0, 0.4]
    assert not figure.data[0].showlegend
    assert lines(figure) == {RETRAINED: 20.0}


def test_several_runs_have_a_colour_and_a_dash_each_and_one_scale():
    figure = likelihood("retain", {"NPO": FALLS, "<b>UnDIAL</b>": [(0, 1.0), (8, 0.9)]})
    assert len({(trace.line.color, trace.line.dash) for trace in figure.data}) == 2
    assert all(trace.showlegend for trace in figure.data)
    assert figure.layout.title.text == (
        "To keep, likelihood of the right answers: NPO 100 % → under 1 %, &lt;b&gt;UnDIAL&lt;/b&gt; 100 % → 90 %"
    )
    assert not figure.layout.shapes
    assert figure.layout.yaxis.range == (-3, 105)


def test_what_is_not_a_number_leaves_a_gap_and_is_said():
    figure = likelihood("forget", {"the run": [(0, 1.0), (5, math.nan)]})
    assert figure.data[0].y[1] is None
    assert "now not a number" in figure.layout.title.text
    assert likelihood("forget", {"the run": [(0, math.nan)]}).layout.title.text == "No question was asked yet"


def test_for_a_room_type_and_lines_are_larger():
    figure = likelihood("forget", {"the run": FALLS}, large=True)
    assert figure.layout.height == LARGE
    assert figure.data[0].line.width == 4


def test_a_long_curve_is_thinned():
    figure = likelihood("forget", {"the run": [(i, 0.5) for i in range(5000)]}, points=300)
    assert len(figure.data[0].x) <= 300


def test_on_compare_each_run_has_the_colour_of_its_letter_and_the_original_is_dashed_too():
    curves = {"after A": FALLS, "after B": FALLS}
    figure = likelihood("forget", curves, 0.2, before=0.95, n=2, colors=["#111111", "#222222"])
    assert [trace.line.color for trace in figure.data] == ["#111111", "#222222"]
    assert [note.text for note in figure.layout.annotations] == ["original", "retrained"]
    assert stops(figure) == {"#111111": 10, "#222222": 10}
    assert figure.layout.title.text.endswith("after B 100 % → under 1 % (retrained 20 %, n 2)")
    assert likelihood("forget", curves, n=2).layout.title.text.endswith("→ under 1 % (n 2)")


def test_the_first_of_a_race_has_its_colour_and_name_while_the_others_wait():
    figure = likelihood("forget", {"NPO": FALLS}, colors=["#111111"])
    assert (figure.data[0].line.color, figure.data[0].showlegend) == ("#111111", True)
    assert figure.layout.title.text.endswith(": NPO 100 % → under 1 %")


def test_the_names_of_two_lines_in_one_place_stand_at_different_ends():
    def ends(retrained: float) -> dict[str, str]:
        drawn = likelihood("retain", {"the run": [(0, 1.0), (9, 0.9)]}, retrained, before=1.0)
        return {one.text: one.xanchor for one in drawn.layout.annotations}

    assert ends(0.99) == {"original": "left", "retrained": "right"}
    assert ends(0.2) == {"original": "right", "retrained": "right"}


def test_a_curve_would_have_stopped_where_it_first_reaches_the_retrained_model():
    assert reached(FALLS, 0.5) == 5
    assert reached([(0, 1.0), (4, math.nan), (8, 0.1)], 0.5) == 8
    assert reached(FALLS, 0.001) is None
    assert reached(FALLS, None) is reached([], 0.5) is None
    # What was never known has nothing to reach.
    assert reached([(0, 0.1), (5, 0.05)], 0.2) is None
    # What must stay has no such line.
    assert not stops(likelihood("retain", {"the run": FALLS}, 0.2))
