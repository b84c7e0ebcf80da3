"""Draws what Compare shows first: what became of the answers, and scores as dots with intervals.

Plain values of unlearn.results.overview in, plotly figures out; no torch, no streamlit. Colours and marks are those of
base.py: original ★ black, after A ● orange, after B ● purple, retrained ◆ green. The likelihood is in likelihood.py.
"""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.figures.base import (
    AFTER,
    BEFORE,
    FORGET,
    RETRAINED,
    finish,
    ink,
    paint,
    text,
)
from unlearn.results.compare import described
from unlearn.store.shapes import JsonView

# Each side: its name, colour and mark.
SIDES = {
    "before": ("original", BEFORE, "star"),
    **{letter: (f"after {letter.upper()}", *look) for letter, look in AFTER.items()},
    "retrained": ("retrained", RETRAINED, "diamond"),
}
# Each verdict on a row: its word in the figure, and its colour and pattern. What is left has the colour of forgetting.
PARTS = {
    "forgotten": ("forgotten", "#B5B5B0", ""),
    "over-forgotten": ("over-forgotten", "#6B6B68", ""),
    "not forgotten": ("left", FORGET, ""),
    "never known": ("never known", "#E4E4E0", "."),
}


def name_of(side: str, several: bool) -> str:
    """Return what a side is called. A has no letter where it stands alone."""
    return "after" if side == "a" and not several else SIDES[side][0]


def bar(counts: Mapping[str, Mapping[str, int]], dark: bool = False) -> go.Figure:
    """Draw a stacked bar for each run and the retrained model: how many answers are forgotten, over-forgotten, left.

    counts: overview.outcomes().
    """
    figure, several = go.Figure(), "b" in counts
    names = [(name := name_of(side, several))[:1].upper() + name[1:] for side in counts]
    for word, (label, color, pattern) in PARTS.items():
        numbers = [found[word] for found in counts.values()]
        if any(numbers):
            shade = paint(color, dark)
            figure.add_bar(
                y=names,
                x=numbers,
                name=label,
                orientation="h",
                marker={"color": shade, "pattern": {"shape": pattern, "fillmode": "overlay", "size": 6}},
                text=[str(number) if number else "" for number in numbers],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"color": ink(shade), "size": 13},
                hovertemplate=f"%{{y}}: %{{x}} {label}<extra></extra>",
            )
    # Of one trace plotly would leave its name out, and with it what the colour means.
    figure.update_layout(barmode="stack", bargap=0.35, legend_traceorder="normal", showlegend=True)
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    figure.update_xaxes(showgrid=False, showticklabels=False, zeroline=False)
    return finish(figure, _bar_sentence(counts), height=120 + 40 * len(counts))


def _bar_sentence(counts: Mapping[str, Mapping[str, int]]) -> str:
    said, several = [], "b" in counts
    for side, found in counts.items():
        if side == "retrained":
            continue
        parts = ", ".join(f"{found[word]} {label}" for word, (label, *_) in PARTS.items() if found[word])
        said.append(f"{name_of(side, several)} {parts}" if several else parts)
    if not said:
        return "No answer was kept after unlearning"
    n = sum(next(iter(counts.values())).values())
    truth = counts.get("retrained")
    beside = f"; a retrained model has {truth['not forgotten']} left" if truth else ""
    return f"Of {n} answers to forget: {'; '.join(said)}{beside}"


def dots(rows: Sequence[JsonView], metric: str, dark: bool = False) -> go.Figure:
    """Draw one score of every set of rows: original ★, after ●, retrained ◆, with 95 % intervals.

    rows: those of one metric in overview.shares().
    """
    figure, sides = go.Figure(), [side for side in SIDES if any(side in row["points"] for row in rows)]
    several, places = "b" in sides, list(range(len(rows)))
    # Marks of one set stand a little below each other, so that their intervals can be told apart.
    spread = min(0.16, 0.7 / max(1, len(sides)))
    for at, side in enumerate(sides):
        _, color, symbol = SIDES[side]
        known = [
            (place, row["points"][side])
            for place, row in zip(places, rows, strict=True)
            if side in row["points"]
        ]
        around = [(low, high) for _, (_, low, high) in known]
        shade = paint(color, dark)
        figure.add_scatter(
            x=[value for _, (value, *_) in known],
            y=[place + spread * (at - (len(sides) - 1) / 2) for place, _ in known],
            name=name_of(side, several),
            mode="markers",
            cliponaxis=False,
            marker={"color": shade, "symbol": symbol, "size": 11},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [
                    _reach(value, high) for (_, (value, *_)), (_, high) in zip(known, around, strict=True)
                ],
                "arrayminus": [
                    _reach(low, value) for (_, (value, *_)), (low, _) in zip(known, around, strict=True)
                ],
                "color": shade,
                "thickness": 1.3,
                "width": 3,
            },
            customdata=[_hover(rows[place], point) for place, point in known],
            hovertemplate=f"%{{customdata}}, {name_of(side, several)}<extra></extra>",
        )
    labels = [f"{text(row['title'])}, n {row['n']}" for row in rows]
    figure.update_yaxes(
        tickvals=places,
        ticktext=labels,
        range=[len(rows) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
        automargin=True,
    )
    figure.update_xaxes(range=[-0.04, 1.04], tickformat=".0%", title_text=described(metric)[0])
    figure = finish(figure, _dots_sentence(rows, metric), height=150 + max(44, 15 * len(sides)) * len(rows))
    return figure.update_layout(margin_l=10)


def _reach(low: float | None, high: float | None) -> float:
    return max(0.0, high - low) if low is not None and high is not None else 0.0


def _hover(row: JsonView, point: tuple[float, float | None, float | None]) -> str:
    value, low, high = point
    around = (
        f" (95 % interval {_percent(low)} to {_percent(high)})"
        if low is not None and high is not None
        else ""
    )
    return f"{text(row['title'])}: {_percent(value)}{around}, n {row['n']}"


def _dots_sentence(rows: Sequence[JsonView], metric: str) -> str:
    said = []
    for row in rows:
        points = row["points"]
        if (
            row["role"] not in ("forget", "retain")
            or "before" not in points
            or not points.keys() & AFTER.keys()
        ):
            continue
        after = ", ".join(_percent(points[side][0]) for side in AFTER if side in points)
        truth = f" (retrained {_percent(points['retrained'][0])})" if "retrained" in points else ""
        said.append(f"{text(row['title']).lower()} {_percent(points['before'][0])} → {after}{truth}")
    title = described(metric)[0]
    return f"{title}: {'; '.join(said)}" if said else title


def _percent(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "not a number"
    return f"{100 * value:.0f} %" if value >= 0.095 or value == 0 else f"{100 * value:.2g} %"
