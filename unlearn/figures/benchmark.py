"""Draws TOFU's plane: utility against forget quality, intervals over seeds; ★ the model before, ◆ the retrained."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from unlearn.figures.base import AFTER_A, BEFORE, GENERAL, RETAIN, RETRAINED, finish, paint, text
from unlearn.results.benchmark import BESIDE, HERE, LEVEL, OWN, PAPER, RETRAIN, START, Line, Spread

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
    lowest = min([-2.0, *map(_x, shown)])
    # At the right end is room for a name beside the retrained model.
    ends = (1.08 * lowest, -0.15 * lowest)
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
            legendgroup=model,
            showlegend=False,
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
        # The entry of the legend is the whole model, so it has not the colour of its star or diamond.
        figure.add_scatter(
            x=[None],
            y=[None],
            name=text(f"published: {model}"),
            legendgroup=model,
            mode="markers",
            marker={"color": paint(GENERAL, dark), "symbol": looks[0][1], "size": 10},
        )
    _names(figure, ours, shown, ends, dark)
    if shown:
        figure.add_vline(x=math.log10(LEVEL), line={"dash": "dot", "width": 1, "color": paint(GENERAL, dark)})
    figure.update_xaxes(title_text="forget quality, log₁₀ p (0: as retrained ◆)", range=list(ends))
    figure.update_yaxes(title_text="TOFU utility", rangemode="tozero")
    return finish(figure, title, height=420)


def _names(
    figure: go.Figure, ours: Sequence[Line], shown: Sequence[Line], ends: tuple[float, float], dark: bool
) -> None:
    """Write the names of what was measured here, as they fit a wide and a narrow screen.

    shown: all that is drawn. ends: of the axis of log10 p.
    """
    # The first have the most room: these two tell where the others stand.
    ours = sorted(ours, key=lambda line: line.name not in (START, RETRAIN))
    points = [(_x(line), line.values["utility"].mean, line.name) for line in ours]
    drawn = [box for line in shown for box in _drawn(line)]
    top = max((high for *_, high in drawn), default=1.0)
    # The dotted line, from the foot to the top.
    drawn.append((math.log10(LEVEL), math.log10(LEVEL), 0.0, top))
    for width in (WIDE, NARROW):
        sides = _sides(points, ends, top, width == NARROW, drawn)
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


def _drawn(line: Line) -> list[Box]:
    """What a line takes of the plane, in the axes' units: its two intervals, or where it is published its mark."""
    x, y = _x(line), line.values["utility"].mean
    if line.kind == PAPER:
        return [(x, x, y, y)]
    across, up = line.values["log10"], line.values["utility"]
    ends = [(one.low, one.high) for one in (across, up)]
    (left, right), (low, high) = [
        (at if a is None else a, at if b is None else b) for at, (a, b) in zip((x, y), ends, strict=True)
    ]
    return [(max(LOWEST, left), max(LOWEST, right), y, y), (x, x, low, high)]


def _sides(
    points: Sequence[tuple[float, float, str]],
    ends: tuple[float, float],
    top: float,
    narrow: bool = False,
    drawn: Sequence[Box] = (),
) -> list[str]:
    """Return for each mark the side on which its name covers nothing that is drawn and no name before it. Where there
    is none it is "", and the name stands in the table and under the mouse alone. The start and the retrained model, to
    which all others are compared, may lie across an interval or a line.

    points: (x, y, name). ends: of the axis, in its units. top: the highest that is drawn. narrow: a
    name takes three times as much of the width. drawn: boxes of intervals, lines and other marks, in the axes' units.
    """
    wide, high = ends[1] - ends[0], top * 1.05 or 1.0
    # What a letter and a line take of a figure of usual size.
    letter, line = (0.02, 0.075) if narrow else (0.007, 0.05)
    marks = [(x / wide, y / high) for x, y, _ in points]
    taken = [(x - 0.012, x + 0.012, y - 0.03, y + 0.03) for x, y in marks]
    # What stands beyond the ends of the axis is cut off, and below its foot are its numbers.
    taken += [
        (-99.0, 99.0, -9.0, -0.04),
        (ends[1] / wide + 0.02, 99.0, -9.0, 9.0),
        (-99.0, ends[0] / wide - 0.02, -9.0, 9.0),
    ]
    thin = [
        (left / wide - 0.004, right / wide + 0.004, low / high - 0.01, up / high + 0.01)
        for left, right, low, up in drawn
    ]
    chosen = []
    for (x, y), (*_, name) in zip(marks, points, strict=True):
        # A letter more, so that two names in one line stand apart.
        long = letter * (len(name) + 1)
        ways = {
            f"{level} {side}": (x + left, x + left + long, y + low, y + low + line)
            for level, low in (("top", 0.035), ("bottom", -0.035 - line), ("middle", -line / 2))
            for side, left in (("center", -long / 2), ("right", 0.015), ("left", -0.015 - long))
            if (level, side) != ("middle", "center")
        }
        best = min(ways, key=lambda way: (_covers(ways[way], taken), _covers(ways[way], thin)))
        if _covers(ways[best], taken) or (name not in BESIDE and _covers(ways[best], thin)):
            chosen.append("")
            continue
        taken.append(ways[best])
        chosen.append(best)
    return chosen


def _covers(box: Box, others: Sequence[Box]) -> float:
    """How much of a box all these boxes cover."""
    return sum(_cover(box, other) for other in others)


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
