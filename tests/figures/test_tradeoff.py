"""Forget against retain: one mark for each model, the area of a run's its time."""

import pytest

from unlearn.figures.base import AFTER, RETRAINED, aim
from unlearn.figures.tradeoff import tradeoff


def test_tradeoff_area_is_time():
    points = [
        {"label": "Original", "kind": "before", "forget": 1.0, "retain": 1.0},
        {"label": "A", "kind": "A", "forget": 0.1, "retain": 0.9, "seconds": 40},
        {"label": "B", "kind": "B", "forget": 0.2, "retain": 0.8, "seconds": 10},
        {"label": "Retrained", "kind": "retrained", "forget": 0.0, "retain": 1.0},
    ]
    figure = tradeoff(points)
    looks = {trace.name: trace.marker for trace in figure.data}
    assert (looks["Original"].symbol, looks["Retrained"].symbol) == ("star", "diamond")
    assert looks["Retrained"].color == RETRAINED
    assert (looks["A"].size - 9) == pytest.approx(2 * (looks["B"].size - 9))
    assert "A: forget 100 → 10 %, retain 100 → 90 %" in figure.layout.title.text
    tradeoff([])


def test_shares_are_in_per_cent_and_a_likelihood_in_nats_is_none():
    points = [{"label": "A", "kind": "A", "forget": 0.1, "retain": 0.9, "seconds": 4}]
    points = [{"label": "Original", "kind": "before", "forget": 0.2, "retain": 0.8}, *points]
    shares, nats = tradeoff(points, "Exact answers"), tradeoff(points, "NLL")
    assert (shares.layout.xaxis.tickformat, nats.layout.xaxis.tickformat) == (".0%", None)
    assert "forget 10 %" in shares.data[1].hovertemplate
    assert "forget 0.1<" in nats.data[1].hovertemplate
    assert "forget 20 → 10 %" in shares.layout.title.text
    assert "forget 0.2 → 0.1," in nats.layout.title.text


def test_one_thing_is_the_aim_of_a_trade_off():
    """Where a retrained model is known it is the aim and no corner, and the axis names neither."""
    assert "◆" in aim(True)
    assert "upper left" not in aim(True)
    assert "◆" not in aim(False)
    axis = tradeoff([{"label": "Retrained", "kind": "retrained", "forget": 0.0, "retain": 1.0}]).layout.xaxis
    assert "goal" not in axis.title.text


def test_a_third_and_a_fourth_run_have_marks_of_their_own():
    points = [{"label": name, "kind": name, "forget": 0.1, "retain": 0.9, "seconds": 4} for name in "ABCD"]
    figure = tradeoff([{"label": "Original", "kind": "before", "forget": 1.0, "retain": 1.0}, *points])
    marks = {trace.name: trace.marker.symbol for trace in figure.data}
    assert [marks[name] for name in "ABCD"] == [symbol for _, symbol in AFTER.values()]
    assert figure.layout.title.text.count("forget 100 → 10 %") == 4
