"""Draws how likely the right answer is over the steps of one run, or of several beside each other.

One figure is of one role, because forget and retain never share an axis. Dashed lines are the original model and the
retrained one. Of the answers to forget a dotted line stands at the step where each curve reaches the retrained model:
about there a stop rule with that target would have ended the run. Compare, the run's own page and the lesson draw the
same figure.
"""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.data.base import TITLES
from unlearn.figures.base import GENERAL, ROLES, dashed, finish, paint, text, thin
from unlearn.figures.gradient import dash_of, hue

# Pixels: on a person's screen, and for a room.
HEIGHT, LARGE = 300, 440
# Two dashed lines nearer than this have their names at different ends.
NEAR = 0.12
Points = Sequence[tuple[int, float]]


def likelihood(
    role: str,
    curves: Mapping[str, Points],
    retrained: float | None = None,
    dark: bool = False,
    points: int = 1000,
    large: bool = False,
    *,
    before: float | None = None,
    n: int = 0,
    colors: Sequence[str] = (),
) -> go.Figure:
    """Draw the curves of one role: {name of the run: its (step, likelihood from 0 to 1)}.

    Of one run the curve has the role's colour; several have a colour and a dash each: those of colors, in the order of
    the curves, which one curve has too where others are still to come. A value that is not finite leaves a gap. large:
    type and lines that are read from the last row of a room. before: what the original model gave. n: the number of
    questions.
    """
    figure, said, several = go.Figure(), [], len(curves) > 1 or bool(colors)
    stops: list[int] = []
    for place, (name, found) in enumerate(curves.items()):
        xs, ys = thin([x for x, _ in found], [100 * y for _, y in found], points)
        color = paint(ROLES.get(role, GENERAL), dark)
        if several:
            color = colors[place] if colors else hue(place, dark)
        figure.add_scatter(
            x=xs,
            y=[y if math.isfinite(y) else None for y in ys],
            name=text(name),
            mode="lines+markers" if len(xs) < 3 else "lines",
            line={"color": color, "width": 2.5, "dash": dash_of(place) if several else "solid"},
            connectgaps=False,
            showlegend=several,
            hovertemplate=f"{text(name)}: %{{y:.3g}} % at step %{{x}}<extra></extra>",
        )
        said.append((text(name) + " " if several else "") + _went([y for _, y in found]))
        stop = reached(found, retrained) if role == "forget" else None
        if stop is not None:
            stops.append(stop)
            words = {"text": "reached", "font": {"color": color, "size": 11}, "position": "right"}
            named = {} if several else {f"annotation_{name}": value for name, value in words.items()}
            figure.add_vline(stop, line={"color": color, "dash": "dot", "width": 1.2}, **named)
    for name, value in (("before", before), ("retrained", retrained)):
        if value is not None:
            dashed(figure, name, 100 * value, dark)
    if before is not None and retrained is not None and abs(before - retrained) < NEAR:
        # Both names would stand in one place, on the line that both models share.
        figure.update_annotations(patch={"x": 0, "xanchor": "left"}, selector={"text": "original"})
    truth = retrained is not None and math.isfinite(retrained)
    beside = [f"retrained {_percent(retrained)}"] if truth and retrained is not None else []
    beside += [f"reached at step {stops[0]}"] if stops and not several else []
    beside += [f"n {n}"] if n else []
    figure.update_xaxes(title_text="step", rangemode="tozero")
    figure.update_yaxes(title_text="likelihood (%)", range=[-3, 105])
    purpose = TITLES.get(role, role)
    title = f"{purpose}, likelihood of the right answers: {', '.join(filter(None, said))}"
    title += f" ({', '.join(beside)})" if beside else ""
    figure = finish(figure, title if any(said) else "No question was asked yet", height=HEIGHT)
    if large:
        figure.update_layout(font_size=18, height=LARGE)
        figure.update_traces(line_width=4)
        # The names of the dashed lines, of the original and the retrained model.
        figure.update_annotations(font_size=16)
    return figure


def reached(points: Points, target: float | None) -> int | None:
    """Return the first step after the start at which a curve is at the target or below, or None where none is."""
    if target is None or not points or not points[0][1] > target:
        return None
    return next((step for step, value in points if value <= target), None)


def _went(values: Sequence[float]) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    lost = "" if math.isfinite(values[-1]) else ", now not a number"
    return (f"{_percent(finite[0])} → " if len(finite) > 1 else "") + _percent(finite[-1]) + lost


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "under 1 %"
