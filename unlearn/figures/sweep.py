"""Draws a grid of runs: squares for forgot and kept, windows of the learning rate, and forgetting against utility.

Cells in (unlearn.results.grid), plotly figures out; no torch, no streamlit. In the squares a colour means that the
place is good; elsewhere it means the method, and none of them is near the retrained model's green. A point's
customdata[0] is the ids of its runs, with commas between them.
"""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.figures.base import BEFORE, FORGET, RETAIN, RETRAINED, finish, ink, paint, text
from unlearn.figures.gradient import hue
from unlearn.results import grid
from unlearn.results.compare import METRICS, rounded
from unlearn.results.grid import Cell, Setting

# The distance between two columns of the grid; each holds two squares of width 1.
STEP = 2.4
# The colour of a square that is not good, on light and dark pages, near the page's own colour.
PALE = {False: "#F0F0EE", True: "#262625"}
# A mapping from a method's name to its title.
Titles = Mapping[str, str]


def squares(cells: Sequence[Cell], method: str, titles: Titles, dark: bool = False) -> go.Figure:
    """Draw one method's part of the grid: learning rate by epochs (and batch), and in each place two squares.

    The left one is how much was forgotten, the right one the utility that is left, both in percent. They are coloured
    where the place is good with every seed, lightly where with some; a tick stands where that side is as it should be.
    """
    grouped = [s for s in grid.settings(cells) if s.method == method]
    lrs = sorted({s.lr for s in grouped})
    columns = list(
        dict.fromkeys(_column_of(s, grouped) for s in sorted(grouped, key=lambda s: (s.epochs, s.batch_size)))
    )
    figure = go.Figure()
    for side, (name, color) in enumerate((("forgot", FORGET), ("kept", RETAIN))):
        places = [(STEP * columns.index(_column_of(s, grouped)) + side, lrs.index(s.lr)) for s in grouped]
        for (x, y), one in zip(places, grouped, strict=True):
            figure.add_shape(_square(x, y, one.good / len(one.cells), color, dark))
        figure.add_scatter(
            x=[x for x, _ in places],
            y=[y for _, y in places],
            name=name,
            mode="markers+text",
            text=[_in_square(s, name) for s in grouped],
            textfont={"color": [_ink(s, paint(color, dark), dark) for s in grouped], "size": 12},
            # The squares are drawn as shapes, which grow with the page; this is what is clicked.
            marker={"symbol": "square", "size": 24, "color": paint(color, dark), "opacity": 0},
            customdata=[[s.runs, _hover(s)] for s in grouped],
            hovertemplate="%{customdata[1]}<extra></extra>",
            cliponaxis=False,
        )
    middles = [STEP * i + 0.5 for i in range(len(columns))]
    figure.update_xaxes(tickvals=middles, ticktext=columns, range=[-0.7, STEP * (len(columns) - 1) + 1.7])
    figure.update_yaxes(tickvals=list(range(len(lrs))), ticktext=[_rate(lr) for lr in lrs])
    figure.update_yaxes(range=[-0.7, len(lrs) - 0.3], title_text="learning rate")
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_yaxes(showgrid=False, zeroline=False)
    count, total = sum(s.good for s in grouped), sum(len(s.cells) for s in grouped)
    name = text(titles.get(method, method))
    figure = finish(figure, f"{name}: {count} of {total} good", height=110 + 34 * len(lrs))
    figure.update_layout(clickmode="event+select", margin={"l": 76, "b": 34, "r": 8}, showlegend=False)
    return figure


def _column_of(setting: Setting, every: Sequence[Setting]) -> str:
    """5 epochs, with the batch where the cells differ in it."""
    several = len({s.batch_size for s in every}) > 1
    return grid.passes(setting.epochs) + (f"<br>batch {setting.batch_size}" if several else "")


def _square(x: float, y: float, good: float, color: str, dark: bool) -> Mapping[str, object]:
    """A square around this place, filled as far as the place is good."""
    return {
        "type": "rect",
        "x0": x - 0.48,
        "x1": x + 0.48,
        "y0": y - 0.44,
        "y1": y + 0.44,
        "layer": "below",
        "fillcolor": paint(color, dark) if good else PALE[dark],
        "opacity": 1.0 if good in (0, 1) else 0.35,
        "line": {"width": 0},
    }


def _ink(setting: Setting, fill: str, dark: bool) -> str:
    """The colour of the text in a square: by its fill where that is whole, else by the page."""
    return ink(fill) if setting.good == len(setting.cells) else ink(PALE[dark])


def _in_square(setting: Setting, side: str) -> str:
    """The percentage of one side with its tick, bold where the place is good with every seed."""
    value = setting.forgetting()[0] if side == "forgot" else setting.utility()[0]
    if math.isnan(value):
        return "×"
    asks = grid.reached if side == "forgot" else grid.keeps_language
    met = all(cell.state == "done" and asks(cell) for cell in setting.cells)
    said = f"{100 * value:.0f}" + (" ✓" if met else "")
    return f"<b>{said}</b>" if setting.good == len(setting.cells) else said


def _hover(setting: Setting) -> str:
    """Return lines on why the setting is good or not."""
    done = [cell for cell in setting.cells if cell.state == "done"]
    lines = [setting.words()]
    if dead := len(setting.cells) - len(done):
        lines.append(f"{dead} diverged")
    for cell in done[:1]:
        which = f" (seed {cell.seed})" if len(setting.cells) > 1 else ""
        forget, goal = rounded(cell.score("after", "forget")), rounded(grid.target(cell))
        lines.append(f"forget PPL {forget}, target {goal}{which}")
        lines += [f"{role} PPL × {rounded(grid.rise(cell, role))}" for role in grid.KEEP]
    return "<br>".join(lines)


def good_sentence(cells: Sequence[Cell], titles: Titles) -> str:
    """Return a sentence on which method has most good cells."""
    counts = [(w.good, w.cells, titles.get(w.method, w.method)) for w in grid.lr_window(cells)]
    if not counts:
        return "No cell yet"
    if not any(good for good, *_ in counts):
        # The reason is a sentence of its own, because a long title would be cut.
        return grid.why_none_good(cells).partition(":")[0]
    most = max(good / total for good, total, _ in counts)
    best = [(good, total, name) for good, total, name in counts if good / total == most]
    names = " and ".join(text(name) for *_, name in best)
    return f"{names}: most good cells, {best[0][0]} of {best[0][1]}" + (" each" if len(best) > 1 else "")


def windows(cells: Sequence[Cell], titles: Titles, dark: bool = False) -> go.Figure:
    """Draw a bar for each method: how far the learning rate may be multiplied and stay good with every seed, at
    the best epochs and batch.
    """
    found = grid.lr_window(cells)
    hues = [hue(i, dark) for i in range(len(found))]
    figure = go.Figure()
    figure.add_bar(
        x=[w.decades for w in found],
        y=[text(titles.get(w.method, w.method)) for w in found],
        orientation="h",
        marker_color=hues,
        text=[_stretch(w) for w in found],
        textposition="auto",
        insidetextfont_color=[ink(one) for one in hues],
        customdata=[_times(w.decades) for w in found],
        hovertemplate="%{y}: %{customdata} in learning rate<extra></extra>",
    )
    most = max([1, *(math.ceil(w.decades) for w in found)])
    figure.update_xaxes(title_text="× the lowest good rate", range=[0, most])
    figure.update_xaxes(tickvals=list(range(most + 1)), ticktext=[f"× {10**i}" for i in range(most + 1)])
    figure.update_yaxes(autorange="reversed")
    widest = max(found, key=lambda w: w.decades, default=None)
    name = text(titles.get(widest.method, widest.method)) if widest else ""
    if widest is not None and widest.decades > 0:
        said = f"Widest window: {name}, {_times(widest.decades)} in learning rate"
    else:
        said = "No learning rate is good yet"
    figure = finish(figure, said, height=130 + 34 * len(found))
    figure.update_layout(margin_l=150)
    return figure


def _stretch(window: grid.Window) -> str:
    """× 3: 1e-4 to 3e-4, 5 epochs."""
    if not window.epochs:
        return "none"
    ends = dict.fromkeys(_rate(lr) for lr in (window.low, window.high))
    return f"{_times(window.decades)}: {' to '.join(ends)}, {grid.passes(window.epochs)}"


def _times(decades: float) -> str:
    """The factor between the ends of a window: 0.977 decades → × 9.5."""
    return f"× {rounded(float(f'{10**decades:.2g}'))}"


def _rate(lr: float) -> str:
    """0.0003 → 3e-4, 0.000316 → 3.16e-4."""
    digits, power = f"{lr:.2e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"


def front(
    cells: Sequence[Cell], titles: Titles, metric: str = "probability", dark: bool = False
) -> go.Figure:
    """Draw what is left of the forget rows against the utility: a mark for each setting (mean over seeds), the
    Pareto front, original and retrained. The axes are as in Compare's trade-off.
    """
    grouped = [s for s in grid.settings(cells) if s.utility()[2] and s.forgetting(metric)[2]]
    points = [(1 - s.forgetting(metric)[0], s.utility()[0]) for s in grouped]
    figure = go.Figure()
    for i, method in enumerate(dict.fromkeys(cell.method for cell in cells)):
        mine = [(p, s) for p, s in zip(points, grouped, strict=True) if s.method == method]
        figure.add_scatter(
            x=[x for (x, _), _ in mine],
            y=[y for (_, y), _ in mine],
            name=text(titles.get(method, method)),
            mode="markers",
            cliponaxis=False,
            marker={
                "size": 11,
                "color": hue(i, dark),
                "symbol": ["circle" if s.good == len(s.cells) else "circle-open" for _, s in mine],
            },
            customdata=[[s.runs, _hover(s)] for _, s in mine],
            hovertemplate="%{customdata[1]}<br>forget %{x:.0%}, utility %{y:.0%}<extra></extra>",
        )
    _front_line(figure, points, dark)
    _bounds(figure, cells, metric, dark)
    figure.update_xaxes(
        title_text=f"{METRICS[metric][0].lower()} on forget rows",
        range=[-0.04, 1.04],
        tickformat=".0%",
    )
    figure.update_yaxes(title_text="utility", range=[-0.04, 1.08], tickformat=".0%")
    figure = finish(figure, _front_sentence(grouped, points, titles), height=430)
    figure.update_layout(clickmode="event+select")
    return figure


def _front_line(figure: go.Figure, points: Sequence[tuple[float, float]], dark: bool) -> None:
    best = sorted(points[i] for i in _unbeaten(points))
    figure.add_scatter(
        x=[x for x, _ in best],
        y=[y for _, y in best],
        name="Pareto front",
        mode="lines",
        hoverinfo="skip",
        line={"color": paint(FORGET, dark), "dash": "dot", "width": 1.5, "shape": "hv"},
    )


def _unbeaten(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no other beats in both: less of the forget rows left, and more utility."""
    return grid.pareto([(-x, y) for x, y in points])


def _bounds(figure: go.Figure, cells: Sequence[Cell], metric: str, dark: bool) -> None:
    """The original model as a star and the exactly retrained one as a diamond, where they were scored."""
    looks = (("before", "original", BEFORE, "star"), ("retrained", "retrained", RETRAINED, "diamond"))
    for when, name, color, symbol in looks:
        for cell in (c for c in cells if math.isfinite(grid.utility(c, when))):
            figure.add_scatter(
                x=[1 - grid.forgetting(cell, metric, when)],
                y=[grid.utility(cell, when)],
                name=name,
                mode="markers",
                cliponaxis=False,
                marker={"color": paint(color, dark), "symbol": symbol, "size": 15},
                hovertemplate=f"{name}<br>forget %{{x:.0%}}, utility %{{y:.0%}}<extra></extra>",
            )
            break


def _front_sentence(grouped: Sequence[Setting], points: Sequence[tuple[float, float]], titles: Titles) -> str:
    best = [grouped[i].method for i in _unbeaten(points)]
    if not best:
        return "No finished cell yet"
    counts = ", ".join(f"{text(titles.get(m, m))} {best.count(m)}" for m in dict.fromkeys(best))
    return f"Settings that no other beats in both: {counts}"
