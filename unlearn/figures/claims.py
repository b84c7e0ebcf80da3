"""Draws the figures of the claims: it takes a Chart of plain values and returns a plotly figure.

Every claim says what it shows as a Chart (unlearn.claims.base), so that one drawing serves them all and the same
stored numbers give the same figure in app, report and test. Intervals are drawn; what is not finite is left out.
"""

import math
from typing import Any

import plotly.graph_objects as go

from unlearn.figures.base import (
    AFTER_A,
    AFTER_B,
    BEFORE,
    FORGET,
    GENERAL,
    RETAIN,
    RETRAINED,
    finish,
    paint,
    text,
)
from unlearn.figures.gradient import hue
from unlearn.store.shapes import JsonView

TONES = {
    "forget": FORGET,
    "retain": RETAIN,
    "general": GENERAL,
    "before": BEFORE,
    "retrained": RETRAINED,
    "a": AFTER_A,
    "b": AFTER_B,
}
MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x")


def draw(chart: Any, dark: bool = False) -> go.Figure:
    """Draw one claim's figure from its chart, an unlearn.claims.base.Chart."""
    figure = go.Figure()
    free = 0
    for place, series in enumerate(chart.series):
        color = paint(TONES[series.tone], dark) if series.tone else hue(free, dark)
        free += not series.tone
        (_bar if chart.kind == "bar" else _curve)(figure, chart, series, color, place)
    bars = chart.kind == "bar"
    for name, height in (chart.lines or {}).items():
        line = {"dash": "dot", "width": 1.5, "color": paint(GENERAL, dark)}
        at = math.log10(height) if chart.log_y else height
        if bars:
            figure.add_vline(x=height, line=line)
            said = {"x": at, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
        else:
            figure.add_hline(y=height, line=line)
            said = {"y": at, "x": 1, "xref": "paper", "xanchor": "right", "yanchor": "bottom"}
        figure.add_annotation(text=text(name), showarrow=False, **said)
    x, y = (chart.y, chart.x) if bars else (chart.x, chart.y)
    figure.update_xaxes(title_text=text(x), type="log" if chart.log_x else None, automargin=True)
    figure.update_yaxes(title_text=text(y), type="log" if chart.log_y else None, automargin=True)
    if chart.log_y:
        figure.update_yaxes(exponentformat="power")
    if chart.log_x:
        figure.update_xaxes(exponentformat="power", dtick=1 if _decades(chart) > 2 else None)
    figure = finish(figure, text(chart.title), height=360)
    if bars:
        names = {name for series in chart.series for name in series.x}
        figure.update_yaxes(autorange="reversed")
        figure.update_layout(showlegend=len(chart.series) > len(names), barmode=_mode(chart))
        if not figure.layout.showlegend:
            figure.update_layout(margin={"b": 45}, height=330)
    return figure


def _mode(chart: Any) -> str:
    """Return "group" where several series share a name, so that they stand side by side, else "overlay"."""
    names = [name for series in chart.series for name in series.x]
    return "group" if len(set(names)) < len(names) else "overlay"


def _bar(figure: go.Figure, chart: Any, series: Any, color: str, place: int) -> None:
    """Add horizontal bars, so that names have room on a phone too."""
    keep = [i for i, y in enumerate(series.y) if math.isfinite(y)]
    figure.add_bar(
        x=[series.y[i] for i in keep],
        y=[_wrapped(series.x[i]) for i in keep],
        orientation="h",
        name=text(series.name),
        marker_color=color,
        error_x=_error(series, keep),
        hovertemplate=f"{text(series.name)}: %{{x:.3g}}<extra></extra>",
    )


def _curve(figure: go.Figure, chart: Any, series: Any, color: str, place: int) -> None:
    keep = [i for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)) if _shown(chart, x, y)]
    mode = "lines" if series.dashed else "markers" if chart.kind == "points" else "lines+markers"
    figure.add_scatter(
        x=[series.x[i] for i in keep],
        y=[series.y[i] for i in keep],
        mode=mode,
        name=text(series.name),
        line={"color": color, "width": 2, "dash": "dash" if series.dashed else "solid"},
        marker={"color": color, "size": 9, "symbol": MARKS[place % len(MARKS)]},
        error_y=_error(series, keep),
        hovertemplate=f"{text(series.name)}: %{{y:.3g}} at %{{x:.3g}}<extra></extra>",
    )


def _shown(chart: Any, x: Any, y: float) -> bool:
    if not math.isfinite(y) or (chart.log_y and y <= 0):
        return False
    return not (chart.log_x and not x > 0)


def _error(series: Any, keep: list[int]) -> JsonView | None:
    """Return the bars from low to high. There are none where there is no interval."""
    if not series.low or not all(
        math.isfinite(series.low[i]) and math.isfinite(series.high[i]) for i in keep
    ):
        return None
    up = [series.high[i] - series.y[i] for i in keep]
    down = [series.y[i] - series.low[i] for i in keep]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.5, "width": 4}


def _decades(chart: Any) -> float:
    xs = [x for series in chart.series for x in series.x if x > 0]
    return math.log10(max(xs) / min(xs)) if xs else 0.0


def _wrapped(name: object) -> str:
    return text(name).replace(", ", ",<br>")
