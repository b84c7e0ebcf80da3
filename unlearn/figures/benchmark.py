"""Draws TOFU's plane: utility against forget quality, intervals over seeds; ★ the model before, ◆ the retrained."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from unlearn.figures.base import AFTER_A, BEFORE, GENERAL, RETAIN, RETRAINED, finish, paint, text
from unlearn.results.benchmark import BESIDE, HERE, LEVEL, OWN, PAPER, START, Line, Spread

# Where the axis of log10 p ends. What lies beyond is drawn there, and its hover text has the number.
LOWEST = -20.0
# The marks of published numbers, three for each model: of methods, of the model before, of the retrained one. No two
# models share one, so that the legend can be read.
PUBLISHED = (
    ("circle-open", "star-open", "diamond-open"),
    ("square-open", "star-open-dot", "diamond-open-dot"),
    ("triangle-up-open", "hexagram-open", "diamond-tall-open"),
    ("triangle-down-open", "star-square-open", "diamond-wide-open"),
    ("pentagon-open", "star-triangle-up-open", "diamond-x-open"),
    ("cross-open", "star-diamond-open", "diamond-cross-open"),
)


Box = tuple[float, float, float, float]
# The names are drawn twice, for a wide and for a narrow screen, since a figure cannot know where it is shown. They are
# the last two traces, in this order, so that a page can hide one of them by its width.
WIDE, NARROW = "names on a wide screen", "names on a narrow screen"


def plane(lines: Sequence[Line], title: str, dark: bool = False) -> go.Figure:
    """Draw one mark for each line that has both numbers. The aim is the retrained model.

    title: what to see, as a sentence. Published numbers share one entry of the legend for each model.
    """
    figure = go.Figure()
    shown = sorted(
        (line for line in lines if {"utility", "log10"} <= set(line.values)),
        key=lambda line: line.values["log10"].mean,
    )
    lowest = min([-4.0, *map(_x, shown)])
    ours = [line for line in shown if line.kind != PAPER]
    for line in ours:
        look = _look(line)
        figure.add_scatter(
            x=[_x(line)],
            y=[line.values["utility"].mean],
            error_x=_bar(line.values["log10"], LOWEST),
            error_y=_bar(line.values["utility"]),
            name=text(line.name if line.kind == HERE else f"{line.name} ({line.kind})"),
            mode="markers",
            cliponaxis=False,
            showlegend=line.kind != HERE,
            marker={
                "color": paint(look[0], dark),
                "symbol": look[1],
                "size": 15 if line.name in BESIDE else 11,
            },
            hovertemplate=f"{_said(line)}<extra></extra>",
        )
    models = dict.fromkeys(line.model for line in shown if line.kind == PAPER)
    for place, model in enumerate(models):
        # The legend shows the mark of the first point: a method's, or else one of the model's own star or diamond.
        mine = sorted(
            (line for line in shown if line.kind == PAPER and line.model == model),
            key=lambda line: line.name == START or line.name in BESIDE,
        )
        looks = [_look(line, PUBLISHED[place % len(PUBLISHED)]) for line in mine]
        figure.add_scatter(
            x=[_x(line) for line in mine],
            y=[line.values["utility"].mean for line in mine],
            name=text(f"published: {model}"),
            mode="markers",
            cliponaxis=False,
            marker={
                "color": [paint(color, dark) for color, _ in looks],
                "symbol": [mark for _, mark in looks],
                "size": 10,
            },
            customdata=[_said(line) for line in mine],
            hovertemplate="%{customdata}<extra></extra>",
        )
    top = max((line.values["utility"].mean for line in shown), default=1.0)
    _names(figure, ours, (2 - lowest, top), dark)
    if shown:
        figure.add_vline(x=math.log10(LEVEL), line={"dash": "dot", "width": 1, "color": paint(GENERAL, dark)})
    figure.update_xaxes(title_text="forget quality, log₁₀ p (0: as retrained ◆)", range=[lowest - 1, 1])
    figure.update_yaxes(title_text="TOFU utility", rangemode="tozero")
    return finish(figure, title, height=420)


def _names(figure: go.Figure, ours: Sequence[Line], axes: tuple[float, float], dark: bool) -> None:
    """Write the names of what was measured here, as they fit a wide and a narrow screen. axes: as in _sides()."""
    points = [(_x(line), line.values["utility"].mean, line.name) for line in ours]
    for width in (WIDE, NARROW):
        sides = _sides(points, *axes, width == NARROW)
        named = [
            (at, side)
            for at, line, side in zip(points, ours, sides, strict=True)
            if line.kind == HERE and side
        ]
        figure.add_scatter(
            name=width,
            # A trace without any point would not be there, and the other one would be taken for it.
            x=[x for (x, _, _), _ in named] or [0.0],
            y=[y for (_, y, _), _ in named] or [0.0],
            text=[text(name) for (_, _, name), _ in named] or [""],
            textposition=[side for _, side in named] or ["top center"],
            textfont={"size": 11, "color": paint(BEFORE, dark)},
            # A mark that is not seen keeps the name away from the one that is.
            mode="markers+text",
            marker={"size": 15, "color": "rgba(0, 0, 0, 0)"},
            cliponaxis=False,
            hoverinfo="skip",
            showlegend=False,
        )


def _sides(
    points: Sequence[tuple[float, float, str]], wide: float, top: float, narrow: bool = False
) -> list[str]:
    """Return for each mark the side on which its name covers no other mark and no name before it, as far as there is
    one. Where there is none it is "", and the name stands in the table and under the mouse alone.

    points: (x, y, name). wide: of the axis, in its units; it ends at 1. top: the highest mark that is drawn. narrow: a
    name takes three times as much of the width.
    """
    high = top * 1.05 or 1.0
    # What a letter and a line take of a figure of usual size.
    letter, line = (0.0255, 0.075) if narrow else (0.0085, 0.055)
    marks = [(x / wide, y / high) for x, y, _ in points]
    taken = [(x - 0.012, x + 0.012, y - 0.03, y + 0.03) for x, y in marks]
    # The axis ends at 1; what stands beyond its ends is cut off.
    taken += [(1 / wide + 0.02, 9.0, -9.0, 9.0), (-9.0, (1 - wide) / wide - 0.02, -9.0, 9.0)]
    chosen = []
    for (x, y), (*_, name) in zip(marks, points, strict=True):
        long = letter * len(name)
        ways = {
            f"{level} {side}": (x + left, x + left + long, y + low, y + low + line)
            for level, low in (("top", 0.035), ("bottom", -0.035 - line), ("middle", -line / 2))
            for side, left in (("center", -long / 2), ("right", 0.015), ("left", -0.015 - long))
            if (level, side) != ("middle", "center")
        }
        best = min(ways, key=lambda way: sum(_cover(ways[way], box) for box in taken))
        if any(_cover(ways[best], box) for box in taken):
            chosen.append("")
            continue
        taken.append(ways[best])
        chosen.append(best)
    return chosen


def _cover(a: Box, b: Box) -> float:
    """How much two boxes (left, right, bottom, top) have in common."""
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[2], b[2]))


def _x(line: Line) -> float:
    return max(LOWEST, line.values["log10"].mean)


def _said(line: Line) -> str:
    x, y = line.values["log10"], line.values["utility"]
    return (
        f"<b>{text(line.name)}</b>, {text(line.model)}<br>log₁₀ p {x.mean:.3g}{_between(x)}<br>"
        f"utility {y.mean:.3g}{_between(y)}<br>{text(line.source)}"
    )


def _look(line: Line, published: tuple[str, str, str] = PUBLISHED[0]) -> tuple[str, str]:
    """Colour and mark. What is published has its model's hollow marks."""
    method, star, diamond = published
    ours = line.kind in (HERE, OWN)
    if line.name == START:
        return BEFORE, "star" if ours else star
    if line.name in BESIDE:
        return RETRAINED, "diamond" if ours else diamond
    if line.kind == OWN:
        return AFTER_A, "circle"
    return (RETAIN, "circle") if line.kind == HERE else (GENERAL, method)


def _between(spread: Spread) -> str:
    return "" if spread.low is None else f" ({spread.low:.3g} to {spread.high:.3g})"


def _bar(spread: Spread, lowest: float | None = None) -> dict[str, object] | None:
    if spread.low is None or spread.high is None:
        return None
    middle = spread.mean if lowest is None else max(lowest, spread.mean)
    low = spread.low if lowest is None else max(lowest, spread.low)
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, spread.high - middle)],
        "arrayminus": [max(0.0, middle - low)],
        "thickness": 1.2,
    }
