"""Draws the gradient explorer: what each method pushes at one token, and how that changes.

Plain records in, plotly figures out. A method has a hue of its own here (no role's or run's colour) and a dash
besides, and its name stands at the end of its line. No torch, no streamlit.

A curve is {"name", "place" (in the list of methods: its hue), "shift": […], "p": […], "push": […],
"rest": (shift, p) | None}; a panel is {"name", "place", "tokens": [text, …], "push": […]}, the label first.
"""

import itertools
import math
from collections.abc import Sequence

import plotly.graph_objects as go

from unlearn.figures.base import BEFORE, FORGET, GENERAL, RETAIN, finish, paint, text
from unlearn.figures.tokens import token_text
from unlearn.results.compare import rounded
from unlearn.store.shapes import JsonView

# Each hue on light pages, with its shade on dark pages. None is green, which is the retrained model's.
HUES = {
    "#882255": "#E06C9F",
    "#332288": "#8F86E8",
    "#B8860B": "#E3B341",
    "#6C8EBF": "#9DB8E0",
    "#AA4499": "#DD8ACF",
    "#7A5230": "#C79A6B",
    "#5F6B7A": "#A7B4C4",
}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
# The share of its strongest push below which a method has stopped pushing.
FADED = 0.25
# The share of it that is lost from one point to the next where a loss is capped.
CLIFF = 0.5
Curve = JsonView


def hue(place: int, dark: bool = False) -> str:
    """Return a method's colour by its place in the list. The colour stays the same whatever else is chosen."""
    return list(HUES.values() if dark else HUES)[place % len(HUES)]


def dash_of(place: int) -> str:
    """Return the dash of a method's line. Colour and dash together tell it from all others, also in print."""
    return DASHES[(place + place // len(HUES)) % len(DASHES)]


def push_curves(
    curves: Sequence[Curve], shift: float, relative: bool = True, dark: bool = False
) -> go.Figure:
    """Draw the push on the label's logit over how far the label has been forgotten, all methods together.

    shift: where the cursor stands. relative: each as a share of its own largest push.
    """
    figure = go.Figure()
    for curve in curves:
        color, dash = hue(curve["place"], dark), dash_of(curve["place"])
        largest = strongest(curve)
        ys = [y / largest for y in curve["push"]] if relative else curve["push"]
        figure.add_scatter(
            x=curve["shift"],
            y=ys,
            name=text(curve["name"]),
            mode="lines",
            line={"color": color, "width": 3, "dash": dash},
            customdata=list(zip(curve["p"], curve["push"], strict=True)),
            hovertemplate=f"{text(curve['name'])}: push %{{customdata[1]:.3g}}, "
            "label at p = %{customdata[0]:.3g}, lowered by %{x:.3g} nats<extra></extra>",
        )
        if curve["rest"] and curve["rest"][0] <= curve["shift"][-1]:
            _rest_mark(figure, curve, color)
    _ends(figure, curves, relative, dark)
    line = {"color": paint(BEFORE, dark), "width": 1}
    figure.add_hline(0, line=line)
    figure.add_vline(shift, line=line | {"dash": "dot"})
    at, said = _ticks(curves)
    figure.update_xaxes(title_text="forgotten: nats off the label's logit, its p")
    figure.update_xaxes(zeroline=False, tickvals=at, ticktext=said, tickangle=0)
    unit = "share of its strongest" if relative else "−∂L/∂z"
    figure.update_yaxes(title_text=f"push on the label ({unit})", zeroline=False)
    return finish(figure, story(curves), height=400).update_layout(
        showlegend=False, margin_r=110, margin_b=65
    )


def push_bars(panel: JsonView, limit: float, dark: bool = False) -> go.Figure:
    """Draw one method's push −∂L/∂z on the label and on the likeliest other tokens.

    limit is the end of the scale.
    """
    limit = limit or 1.0
    colors = [paint(RETAIN if y > 0 else FORGET, dark) for y in panel["push"]]
    labels = [token_text(token) for token in panel["tokens"]]
    figure = go.Figure()
    figure.add_bar(
        x=panel["push"],
        y=list(range(len(labels))),
        orientation="h",
        marker_color=colors,
        text=[signed(y, limit) for y in panel["push"]],
        textposition="outside",
        cliponaxis=False,
        customdata=labels,
        hovertemplate="%{customdata}: push %{x:+.3g}<extra></extra>",
    )
    figure.update_xaxes(title_text="push on the logit, −∂L/∂z")
    figure.update_xaxes(range=[-1.35 * limit, 1.35 * limit], nticks=5, zerolinecolor=paint(GENERAL, dark))
    names = [f"<b>{labels[0]}</b>", *labels[1:]] if labels else []
    figure.update_yaxes(tickvals=list(range(len(labels))), ticktext=names, autorange="reversed")
    figure = finish(figure, bars_sentence(panel, limit), height=115 + 26 * len(labels))
    return figure.update_layout(margin_b=50, bargap=0.3)


def distribution(
    tokens: Sequence[str],
    before: Sequence[float],
    now: Sequence[float] | None,
    targets: Sequence[JsonView],
    dark: bool = False,
) -> go.Figure:
    """Draw the model's probabilities at this token: before, now, and a diamond where a method wants them to
    end.

    tokens: the label first. targets: {"name", "place", "p": […]}, in the order of tokens.
    """
    labels, rows = [token_text(token) for token in tokens], list(range(len(tokens)))
    figure = go.Figure()
    sides = [("before", before, paint(BEFORE, dark))] + ([("now", now, paint(GENERAL, dark))] if now else [])
    for name, values, color in sides:
        figure.add_bar(
            x=values,
            y=rows,
            orientation="h",
            name=name,
            marker_color=color,
            customdata=labels,
            hovertemplate=f"%{{customdata}} {name}: p = %{{x:.3g}}<extra></extra>",
        )
    for goal in targets:
        figure.add_scatter(
            x=goal["p"],
            y=rows,
            mode="markers",
            name=f"target of {text(goal['name'])}",
            marker={
                "symbol": "diamond-open",
                "size": 10,
                "color": hue(goal["place"], dark),
                "line": {"width": 2},
            },
            customdata=labels,
            hovertemplate=f"%{{customdata}}, target of {text(goal['name'])}: p = %{{x:.3g}}<extra></extra>",
        )
    figure.update_xaxes(title_text="probability", range=[-0.03, 1.03])
    names = [f"<b>{labels[0]}</b>", *labels[1:]]
    figure.update_yaxes(tickvals=rows, ticktext=names, autorange="reversed")
    said = f"{labels[0]} had p = {rounded(before[0])}" + (f", now {rounded(now[0])}" if now else "")
    wanted = [f"target of {text(g['name'])}: {rounded(g['p'][0])}" for g in targets]
    figure = finish(figure, "; ".join([said, *wanted]), height=150 + 30 * len(labels))
    return figure.update_layout(barmode="group", bargap=0.25, margin_b=90)


def story(curves: Sequence[Curve]) -> str:
    """Return the figure's title: one clause for each method on whether its push stops, fades or never ends."""
    return "; ".join(fate(curve) for curve in curves) or "Choose a method to see its push"


def fate(curve: Curve) -> str:
    """Return how this method's push on the label ends, as a clause."""
    name, last, most = text(curve["name"]), curve["push"][-1], strongest(curve)
    end = rounded(curve["shift"][-1])
    zero = crossing(curve)
    if zero is not None:
        # The method's own target is exact; the crossing is only between two computed points.
        at, p = curve["rest"] or zero
        verb = "stops by itself" if curve["rest"] else "turns round"
        return f"{name} {verb} at p = {rounded(p)}, {rounded(at)} nats down"
    if max(map(abs, curve["push"])) < 1e-9:
        return f"{name} does not touch this token"
    share = abs(last) / most
    if share < 5e-3:
        steps = [abs(b - a) for a, b in itertools.pairwise(curve["push"])]
        at = max(range(len(steps)), key=steps.__getitem__)
        if steps[at] > CLIFF * most and at > 0:
            return f"{name} is cut off at {rounded(curve['shift'][at])} nats"
        return f"{name} fades to nothing by {end} nats"
    if share < FADED:
        return f"{name} fades: {100 * share:.0f} % of its strongest push left at {end} nats"
    if share > 0.9:
        return f"{name} never lets go: {100 * share:.0f} % of its strongest push at {end} nats"
    return f"{name} still pushes with {100 * share:.0f} % at {end} nats"


def crossing(curve: Curve) -> tuple[float, float] | None:
    """Return (shift, p) where a push down turns into a push up, between two computed points.

    It is None where it never turns.
    """
    points = list(zip(curve["shift"], curve["p"], curve["push"], strict=True))
    floor = 1e-6 * strongest(curve)
    for i, ((s0, p0, y0), (s1, p1, y1)) in enumerate(itertools.pairwise(points)):
        if y0 < -floor <= y1 and max(curve["push"][i + 1 :]) > floor:
            part = y0 / (y0 - y1)
            return s0 + part * (s1 - s0), _between(p0, p1, part)
    return None


def strongest(curve: Curve) -> float:
    """Return the largest push of a curve, which is never 0."""
    return max(map(abs, curve["push"]), default=0.0) or 1.0


def signed(value: float, limit: float) -> str:
    """Write a push with its sign, to a thousandth of a scale that ends at limit."""
    digits = 2 + max(0, math.ceil(-math.log10(limit)))
    return f"{value:+.{min(digits, 12)}f}".replace("-", "−")


def bars_sentence(panel: JsonView, limit: float = 1.0) -> str:
    """Return a sentence on which way the label goes and which token gains most."""
    if not panel["push"] or max(map(abs, panel["push"])) < 1e-9:
        return f"{text(panel['name'])} leaves this token alone"
    own = panel["push"][0]
    way = "down" if own < 0 else "up"
    gains = max(range(1, len(panel["push"])), key=lambda i: panel["push"][i], default=0)
    said = f"{text(panel['name'])} pushes the label {way}, {signed(own, limit)}"
    if gains and panel["push"][gains] > 0:
        said += f"; {token_text(panel['tokens'][gains])} gains, {signed(panel['push'][gains], limit)}"
    return said


def _between(p0: float, p1: float, part: float) -> float:
    """A probability between two, along a straight line in log-odds, as a lowered logit moves it."""
    if not 0 < p1 < p0 < 1:
        return p0 + part * (p1 - p0)
    a, b = (math.log(p / (1 - p)) for p in (p0, p1))
    return 1 / (1 + math.exp(-(a + part * (b - a))))


def _rest_mark(figure: go.Figure, curve: Curve, color: str) -> None:
    shift, p = curve["rest"]
    figure.add_scatter(
        x=[shift],
        y=[0],
        mode="markers",
        marker={"symbol": "diamond", "size": 12, "color": color},
        hovertemplate=f"{text(curve['name'])} is at rest: p = {rounded(p)}<extra></extra>",
    )
    figure.add_annotation(
        x=shift,
        y=0,
        text=f"at rest: p = {rounded(p)}",
        showarrow=False,
        xanchor="right" if shift > 0.2 * curve["shift"][-1] else "center",
        yshift=14 if shift > 0.2 * curve["shift"][-1] else 30,
        font={"color": color, "size": 12},
    )


def _ticks(curves: Sequence[Curve]) -> tuple[list[float], list[str]]:
    """Five places along the shift, each with the label's probability there."""
    if not curves:
        return [], []
    shifts, ps = curves[0]["shift"], curves[0]["p"]
    places = sorted({round(i * (len(shifts) - 1) / 4) for i in range(5)})
    said = [f"{ps[i]:.3g}" if ps[i] >= 1e-3 else "< 0.001" for i in places]
    return [shifts[i] for i in places], [
        f"{rounded(shifts[i])}<br>p {p}" for i, p in zip(places, said, strict=True)
    ]


def _ends(figure: go.Figure, curves: Sequence[Curve], relative: bool, dark: bool) -> None:
    """Each line's name at its right end, pushed apart where they would overlap."""
    if not curves:
        return
    ends = []
    for curve in curves:
        last = curve["push"][-1] / (strongest(curve) if relative else 1.0)
        ends.append((last, curve))
    ys = [y / (strongest(c) if relative else 1.0) for c in curves for y in (*c["push"], 0.0)]
    gap, height = (max(ys) - min(ys)) / 18 or 0.1, -math.inf
    for last, curve in sorted(ends, key=lambda end: end[0]):
        height = max(last, height + gap)
        figure.add_annotation(
            x=1.01,
            xref="paper",
            xanchor="left",
            y=height,
            text=text(curve["name"]),
            showarrow=False,
            font={"color": hue(curve["place"], dark), "size": 12},
        )
