"""Draws what relearning brings back after methods that are to resist it, beside plain methods of equal utility.

Recorded rows of bench/robust in, a plotly figure out; no torch, no streamlit.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn.figures.base import AFTER_A, GENERAL, dashed, finish, paint, text
from unlearn.results import robust
from unlearn.results.benchmark import Spread
from unlearn.results.compare import whole
from unlearn.results.robust import PLAIN, ROBUST, Rows

LEFT = "what is left"


def relearned(rows: Rows, world: str, only: str = "", dark: bool = False) -> go.Figure:
    """Draw the residue over the steps of practice, one panel for each robust method: its mean with its 95 % interval
    over seeds, and the plain methods in grey, solid where they keep as much utility.

    0 is the retrained model after the same practice, 1 the original. only: one method, for a page that puts a figure
    for each beside or, on a phone, below each other.
    """
    ways = robust.ways(rows, world, ROBUST)
    shown = {only: ways[only]} if only else ways
    figure = make_subplots(cols=max(len(shown), 1), horizontal_spacing=0.08)
    figure.update_xaxes(title_text="steps of practice", rangemode="tozero")
    for column, (way, title) in enumerate(shown.items(), 1):
        _plain(figure, column, rows, world, way, dark)
        _robust(figure, column, robust.curve(rows, world, way), dark)
        dashed(figure, "retrained", 0.0, dark, row=1, col=column)
        if not only:
            figure.update_yaxes(title_text=text(title), col=column)
    if only or not shown:
        figure.update_yaxes(title_text=LEFT)
    figure.update_yaxes(tickformat=".0%", range=_range(rows, world))
    said = _short(rows, world, only) if only else f"{world}: {LEFT} after practice, by its steps"
    return finish(figure, text(said) if shown else "Nothing was measured yet", height=320)


def _plain(figure: go.Figure, column: int, rows: Rows, world: str, way: str, dark: bool) -> None:
    same = robust.equals(rows, world, way)
    for name, title in robust.ways(rows, world, PLAIN).items():
        points = robust.curve(rows, world, name)
        equal = name in same
        kind = "plain method of equal utility" if equal else "plain method of another utility, dotted"
        figure.add_scatter(
            x=list(points),
            y=[one.mean for one in points.values()],
            name=kind,
            legendgroup=kind,
            showlegend=_first(figure, kind),
            mode="lines",
            line={"color": paint(GENERAL, dark), "width": 1.6, "dash": "solid" if equal else "dot"},
            hovertemplate=f"{text(title)}: %{{y:.0%}} after %{{x}} steps<extra></extra>",
            row=1,
            col=column,
        )


def _robust(figure: go.Figure, column: int, points: Mapping[int, Spread], dark: bool) -> None:
    color = paint(AFTER_A, dark)
    ends = [(one.low, one.high) for one in points.values()]
    if all(low is not None for low, _ in ends):
        for at, fill in ((0, None), (1, "tonexty")):
            figure.add_scatter(
                x=list(points),
                y=[end[at] for end in ends],
                name="95 % interval",
                mode="lines",
                showlegend=False,
                hoverinfo="skip",
                fill=fill,
                fillcolor="rgba(230, 159, 0, 0.18)",
                line={"color": color, "width": 0.7},
                row=1,
                col=column,
            )
    figure.add_scatter(
        x=list(points),
        y=[one.mean for one in points.values()],
        name="the method, with its 95 % interval over seeds",
        legendgroup="method",
        showlegend=_first(figure, "method"),
        mode="lines+markers",
        line={"color": color, "width": 2.5},
        marker={"color": color, "size": 7},
        customdata=[_between(one) for one in points.values()],
        hovertemplate="%{y:.0%} left after %{x} steps%{customdata}<extra></extra>",
        row=1,
        col=column,
    )


def _between(one: Spread) -> str:
    if one.low is None or one.high is None:
        return ""
    return f", 95 % interval {whole(100 * one.low)} to {whole(100 * one.high)} %"


def _first(figure: go.Figure, group: str) -> bool:
    return not any(trace.legendgroup == group for trace in figure.data)


def _range(rows: Rows, world: str) -> Sequence[float]:
    """The same for all panels: from the lowest end of an interval to the original."""
    ends = [
        one.mean if one.low is None else one.low
        for group in (ROBUST, PLAIN)
        for way in robust.ways(rows, world, group)
        for one in robust.curve(rows, world, way).values()
    ]
    return min(-0.05, *ends, 0.0) - 0.02, 1.05


def _short(rows: Rows, world: str, way: str) -> str:
    one = robust.against(rows, world, way)
    said = f"{one.title}: {robust.percent(one.left.mean)} left at its worst step"
    if one.beside is None:
        return f"{said}; no plain method keeps as much utility"
    return f"{said}, plain methods of equal utility {robust.percent(one.beside.mean)}"
