"""Draws a grid of runs: heat maps of good cells, lr windows, and forgetting against utility.

Cells in (unlearn.results.grid), plotly figures out; no torch, no streamlit. Colour means utility in the heat maps
and the method elsewhere. The heat map is made of square markers, because a heat map proper sends no clicks; a point's
customdata[0] is the ids of its runs, with commas between them.
"""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn.figures.base import BEFORE, FORGET, GENERAL, RETAIN, RETRAINED, finish, paint, text
from unlearn.figures.gradient import hue
from unlearn.results import grid
from unlearn.results.compare import METRICS, rounded
from unlearn.results.grid import Cell, Setting

PER_ROW = 2
# The colour of utility 0 on light and dark pages, near the page's own colour.
PALE = {False: "#F0F0EE", True: "#262625"}
# A mapping from a method's name to its title.
Titles = Mapping[str, str]


def heat(cells: Sequence[Cell], titles: Titles, dark: bool = False) -> go.Figure:
    """Draw one panel for each method, lr by epochs (and batch).

    Colour and number are the utility; a bold frame means good with every seed.
    """
    grouped = grid.settings(cells)
    methods = list(dict.fromkeys(s.method for s in grouped))
    lrs = sorted({s.lr for s in grouped})
    rows, columns = max(1, -(-len(methods) // PER_ROW)), min(PER_ROW, max(1, len(methods)))
    names = [_panel_title(method, grouped, titles) for method in methods]
    many = max((len({_row_of(s, grouped) for s in grouped if s.method == m}) for m in methods), default=1)
    height = 46 * many + 96
    gaps = {"vertical_spacing": min(0.9 / rows, 84 / (height * rows)), "horizontal_spacing": 0.14}
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=names, **gaps)
    for i, method in enumerate(methods):
        place = {"row": i // PER_ROW + 1, "col": i % PER_ROW + 1}
        mine = [s for s in grouped if s.method == method]
        order = list(
            dict.fromkeys(_row_of(s, grouped) for s in sorted(mine, key=lambda s: (s.epochs, s.batch_size)))
        )
        _squares(
            figure, mine, [(lrs.index(s.lr), order.index(_row_of(s, grouped))) for s in mine], dark, place
        )
        ticks = {"tickvals": list(range(len(order))), "ticktext": order, "range": [-0.6, len(order) - 0.4]}
        figure.update_yaxes(**ticks, **place)
    figure.update_xaxes(tickvals=list(range(len(lrs))), ticktext=[_rate(lr) for lr in lrs])
    figure.update_xaxes(range=[-0.6, len(lrs) - 0.4], showgrid=False, zeroline=False)
    figure.update_yaxes(showgrid=False, zeroline=False)
    for i in range(max(0, len(methods) - PER_ROW), len(methods)):
        figure.update_xaxes(
            title_text="learning rate", title_standoff=4, row=i // PER_ROW + 1, col=i % PER_ROW + 1
        )
    figure.update_annotations(font_size=13)
    figure = finish(figure, good_sentence(cells, titles), height=height * rows)
    figure.update_layout(clickmode="event+select", margin={"l": 90, "b": 50}, showlegend=False)
    return figure


def _row_of(setting: Setting, every: Sequence[Setting]) -> str:
    """5 epochs, with the batch where a method's cells differ in it."""
    several = len({s.batch_size for s in every if s.method == setting.method}) > 1
    plural = "epoch" if setting.epochs == 1 else "epochs"
    return f"{setting.epochs} {plural}" + (f", batch {setting.batch_size}" if several else "")


def _panel_title(method: str, grouped: Sequence[Setting], titles: Titles) -> str:
    mine = [s for s in grouped if s.method == method]
    count, total = sum(s.good for s in mine), sum(len(s.cells) for s in mine)
    return f"<b>{text(titles.get(method, method))}</b>: {count} of {total} good"


def _squares(
    figure: go.Figure,
    mine: Sequence[Setting],
    places: Sequence[tuple[int, int]],
    dark: bool,
    place: Mapping[str, int],
) -> None:
    values = [s.utility()[0] for s in mine]
    whole = [s.good == len(s.cells) for s in mine]
    edge = paint(BEFORE, dark)
    figure.add_scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers+text",
        text=[_in_square(v, bold=g) for v, g in zip(values, whole, strict=True)],
        textfont={"color": ["#FFFFFF" if dark or v > 0.6 else "#1C1C1C" for v in values], "size": 12},
        marker={
            "symbol": "square",
            "size": 36,
            "color": [0.0 if math.isnan(v) else v for v in values],
            "cmin": 0,
            "cmax": 1,
            "colorscale": [[0, PALE[dark]], [1, RETAIN]],
            "line": {
                "width": [3 if g else 1 for g in whole],
                "color": [edge if g else paint(GENERAL, dark) for g in whole],
            },
        },
        customdata=[[s.runs, _hover(s)] for s in mine],
        hovertemplate="%{customdata[1]}<extra></extra>",
        cliponaxis=False,
        **place,
    )


def _in_square(value: float, *, bold: bool) -> str:
    said = "×" if math.isnan(value) else f"{100 * value:.0f}"
    return f"<b>{said}</b>" if bold else said


def _hover(setting: Setting) -> str:
    """Return three lines on why the setting is good or not."""
    done = [cell for cell in setting.cells if cell.state == "done"]
    where = f"lr {setting.lr:g}, {setting.epochs} epochs, batch {setting.batch_size}"
    lines = [f"{where}: good {setting.good} of {len(setting.cells)}"]
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
    """Draw a bar for each method: the decades of learning rate that are good with every seed, at the best
    epochs and batch.
    """
    found = grid.lr_window(cells)
    figure = go.Figure()
    figure.add_bar(
        x=[w.decades for w in found],
        y=[text(titles.get(w.method, w.method)) for w in found],
        orientation="h",
        marker_color=[hue(i, dark) for i in range(len(found))],
        text=[_stretch(w) for w in found],
        textposition="auto",
        insidetextfont_color="#1C1C1C" if dark else "#FFFFFF",
        hovertemplate="%{y}: %{x:.2g} decades<extra></extra>",
    )
    figure.update_xaxes(title_text="decades of learning rate", rangemode="tozero")
    figure.update_yaxes(autorange="reversed")
    widest = max(found, key=lambda w: w.decades, default=None)
    name = text(titles.get(widest.method, widest.method)) if widest else ""
    if widest is not None and widest.decades > 0:
        said = f"Widest window: {name}, {rounded(widest.decades)} decades"
    else:
        said = "No learning rate is good yet"
    figure = finish(figure, said, height=130 + 34 * len(found))
    figure.update_layout(margin_l=150)
    return figure


def _stretch(window: grid.Window) -> str:
    """1e-4 to 3e-4, 5 epochs."""
    if not window.epochs:
        return "none"
    ends = dict.fromkeys(_rate(lr) for lr in (window.low, window.high))
    return f"{' to '.join(ends)}, {window.epochs} epochs"


def _rate(lr: float) -> str:
    """0.0003 → 3e-4, 0.000316 → 3.16e-4."""
    digits, power = f"{lr:.2e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"


def front(
    cells: Sequence[Cell], titles: Titles, metric: str = "probability", dark: bool = False
) -> go.Figure:
    """Draw forgetting against utility: a mark for each setting (mean over seeds), the Pareto front, original
    and retrained.
    """
    grouped = [s for s in grid.settings(cells) if s.utility()[2] and s.forgetting(metric)[2]]
    points = [(s.forgetting(metric)[0], s.utility()[0]) for s in grouped]
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
            hovertemplate="%{customdata[1]}<br>forgetting %{x:.3g}, utility %{y:.3g}<extra></extra>",
        )
    _front_line(figure, points, dark)
    _bounds(figure, cells, metric, dark)
    figure.update_xaxes(
        title_text=f"forgetting: 1 − {METRICS[metric][0].lower()} on forget", range=[-0.04, 1.04]
    )
    figure.update_yaxes(title_text="utility", range=[-0.04, 1.08])
    figure = finish(figure, _front_sentence(grouped, points, titles), height=430)
    figure.update_layout(clickmode="event+select")
    return figure


def _front_line(figure: go.Figure, points: Sequence[tuple[float, float]], dark: bool) -> None:
    best = sorted(points[i] for i in grid.pareto(points))
    figure.add_scatter(
        x=[x for x, _ in best],
        y=[y for _, y in best],
        name="Pareto front",
        mode="lines",
        hoverinfo="skip",
        line={"color": paint(FORGET, dark), "dash": "dot", "width": 1.5, "shape": "vh"},
    )


def _bounds(figure: go.Figure, cells: Sequence[Cell], metric: str, dark: bool) -> None:
    """The original model as a star and the exactly retrained one as a diamond, where they were scored."""
    looks = (("before", "original", BEFORE, "star"), ("retrained", "retrained", RETRAINED, "diamond"))
    for when, name, color, symbol in looks:
        for cell in (c for c in cells if math.isfinite(grid.utility(c, when))):
            figure.add_scatter(
                x=[grid.forgetting(cell, metric, when)],
                y=[grid.utility(cell, when)],
                name=name,
                mode="markers",
                cliponaxis=False,
                marker={"color": paint(color, dark), "symbol": symbol, "size": 15},
                hovertemplate=f"{name}<br>forgetting %{{x:.3g}}, utility %{{y:.3g}}<extra></extra>",
            )
            break


def _front_sentence(grouped: Sequence[Setting], points: Sequence[tuple[float, float]], titles: Titles) -> str:
    best = [grouped[i].method for i in grid.pareto(points)]
    if not best:
        return "No finished cell yet"
    counts = ", ".join(f"{text(titles.get(m, m))} {best.count(m)}" for m in dict.fromkeys(best))
    return f"Settings that no other beats in both: {counts}"
