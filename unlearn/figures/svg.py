"""Draws a plotly figure as static SVG, for a report that holds no script and can be printed.

It draws what the figures of losses, trade-off and tokens use: panels side by side, lines, markers, horizontal reference
lines with their names, a legend. Colours become classes, so that the page's style sheet has the last word: palette()
gives the light and the dark shade of each. No torch, no browser.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape, unescape

import plotly.graph_objects as go

from unlearn.figures import base as figures
from unlearn.results.compare import rounded

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 42
COLORS = tuple(dict.fromkeys([*figures.ON_DARK, *(color for color, _ in figures.AFTER.values())]))
# Of each mark with corners: their number, how far every second one is from the middle, and where the first stands, in
# turns from one corner to the next.
CORNERS = {
    "star": (10, 0.45, 0.0),
    "diamond": (4, 1.0, 0.0),
    "square": (4, 1.0, 0.5),
    "triangle-up": (3, 1.0, 0.0),
}
DASHES = {"dash": "5 4", "dot": "2 3"}


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG.

    title is its sentence. svg and the swatch of each legend entry are escaped markup; the names are plain
    text.
    """

    title: str
    svg: str
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Panel:
    """A pair of axes that turns data coordinates into pixels."""

    x0: float
    x1: float
    xs: tuple[float, float]
    ys: tuple[float, float]

    def x(self, value: float) -> float:
        """Return the pixel of a value on the horizontal axis."""
        return self.x0 + (value - self.xs[0]) / (self.xs[1] - self.xs[0]) * (self.x1 - self.x0)

    def y(self, value: float) -> float:
        """Return the pixel of a value on the vertical axis."""
        return HEIGHT - BOTTOM - (value - self.ys[0]) / (self.ys[1] - self.ys[0]) * (HEIGHT - BOTTOM - TOP)


def draw(figure: go.Figure) -> Drawing:
    """Return the figure's title, picture and legend."""
    title, axes = strip_markup(figure.layout.title.text), _axes(figure)
    room = WIDTH / len(axes)
    parts, legend = [], []
    for place, name in enumerate(axes):
        traces = [t for t in figure.data if (t.xaxis or "x") == name]
        panel = _panel(figure, name, traces, place * room)
        parts += [*_frame(figure, name, panel), *_references(figure, name, panel)]
        for trace in traces:
            parts += _trace(trace, panel)
            if trace.showlegend is not False and trace.name:
                legend.append((_swatch(trace), strip_markup(trace.name)))
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
    return Drawing(title, svg, tuple(dict.fromkeys(legend)))


def palette(dark: bool = False) -> str:
    """Return one CSS rule for each colour."""
    return "".join(f".{_class(color)}{{color:{figures.paint(color, dark)}}}" for color in COLORS)


def strip_markup(text: object) -> str:
    """Return the words that a plotly text shows, without its markup."""
    return unescape(str(text or "")).replace("% {", "%{")


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers between two ends, in steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if power * m >= raw * 0.75)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(figure: go.Figure) -> list[str]:
    names = (
        "x" + key.removeprefix("xaxis") for key in figure.layout.to_plotly_json() if key.startswith("xaxis")
    )
    return sorted(names, key=lambda name: int(name[1:] or 1)) or ["x"]


def _axis(figure: go.Figure, letter: str, name: str) -> "go.layout.XAxis | go.layout.YAxis":
    return figure.layout[f"{letter}axis{name[1:]}"]


def _panel(figure: go.Figure, name: str, traces: Sequence[go.Scatter], left: float) -> Panel:
    xs = [float(x) for trace in traces for x in trace.x]
    ys = [float(y) for trace in traces for y in trace.y]
    ys += [float(s.y0) for s in figure.layout.shapes if s.type == "line" and (s.yref or "y")[1:] == name[1:]]
    x_axis, y_axis = _axis(figure, "x", name), _axis(figure, "y", name)
    zero = [0.0] if x_axis.rangemode == "tozero" else []
    room = WIDTH / len(_axes(figure))
    ends = [tuple(axis.range) if axis.range else _ends(v) for axis, v in ((x_axis, xs + zero), (y_axis, ys))]
    return Panel(left + LEFT, left + room - RIGHT, ends[0], ends[1])


def _ends(values: Iterable[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (low if low == 0 else low - room), high + room


def _frame(figure: go.Figure, name: str, panel: Panel) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    for value in ticks(*panel.ys):
        y = panel.y(value)
        yield f'<line class="grid" x1="{panel.x0:.1f}" x2="{panel.x1:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _words(panel.x0 - 6, y + 4, rounded(value), "end")
    for value in ticks(*panel.xs):
        yield _words(panel.x(value), bottom + 15, rounded(value), "middle")
    yield f'<line class="axis" x1="{panel.x0:.1f}" x2="{panel.x1:.1f}" y1="{bottom}" y2="{bottom}"/>'
    middle = (panel.x0 + panel.x1) / 2
    yield _words(middle, HEIGHT - 8, strip_markup(_axis(figure, "x", name).title.text), "middle")
    x, y = panel.x0 - 44, (TOP + bottom) / 2
    turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"'
    yield _words(x, y, strip_markup(_axis(figure, "y", name).title.text), "middle", turned)


def _references(figure: go.Figure, name: str, panel: Panel) -> Iterator[str]:
    """Horizontal lines and the names on them."""
    for shape in figure.layout.shapes:
        if shape.type == "line" and (shape.yref or "y")[1:] == name[1:] and shape.y0 == shape.y1:
            y = panel.y(shape.y0)
            ends = f'x1="{panel.x0:.1f}" x2="{panel.x1:.1f}" y1="{y:.1f}" y2="{y:.1f}"'
            yield f"<line {_stroke(shape.line.color, 1.2, 'dash')} {ends}/>"
    for note in figure.layout.annotations:
        if (note.yref or "y")[1:] == name[1:]:
            yield _words(panel.x1 - 4, panel.y(note.y) - 4, strip_markup(note.text), "end")


def _trace(trace: go.Scatter, panel: Panel) -> Iterator[str]:
    opacity = f' opacity="{trace.opacity:g}"' if trace.opacity not in (None, 1) else ""
    points = [(float(x), float(y)) for x, y in zip(trace.x, trace.y, strict=True)]
    mode = trace.mode or "lines"
    if "lines" in mode:
        look = _stroke(trace.line.color, trace.line.width or 2, trace.line.dash)
        for run in _unbroken(points):
            shown = " ".join(f"{panel.x(x):.1f},{panel.y(y):.1f}" for x, y in run)
            yield f'<polyline {look}{opacity} points="{shown}"/>'
    if "markers" in mode:
        size = trace.marker.size or 6
        color = trace.marker.color or trace.line.color
        for x, y in points:
            if math.isfinite(x) and math.isfinite(y):
                shape = _marker(trace.marker.symbol or "circle", panel.x(x), panel.y(y), size / 2)
                said = escape(f"{strip_markup(trace.name)}: {rounded(x)}, {rounded(y)}")
                yield f'<g class="{_class(color)}"{opacity}>{shape}<title>{said}</title></g>'


def _unbroken(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """The stretches between values that are not finite."""
    run: list[tuple[float, float]] = []
    for point in points:
        if all(map(math.isfinite, point)):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _marker(symbol: str, x: float, y: float, r: float) -> str:
    if symbol == "x":
        cross = f"M{x - r:.1f} {y - r:.1f}L{x + r:.1f} {y + r:.1f}M{x - r:.1f} {y + r:.1f}L{x + r:.1f} {y - r:.1f}"
        return f'<path stroke="currentColor" stroke-width="2" d="{cross}"/>'
    if symbol == "circle":
        return f'<circle fill="currentColor" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>'
    corners, inner, first = CORNERS.get(symbol, CORNERS["diamond"])
    turn = 2 * math.pi / corners
    radii = [r * (1 if i % 2 == 0 else inner) for i in range(corners)]
    angles = [(first + i) * turn for i in range(corners)]
    spots = ((x + a * math.sin(t), y - a * math.cos(t)) for t, a in zip(angles, radii, strict=True))
    shown = " ".join(f"{a:.1f},{b:.1f}" for a, b in spots)
    return f'<polygon fill="currentColor" points="{shown}"/>'


def _swatch(trace: go.Scatter) -> str:
    marked = "lines" not in (trace.mode or "lines")
    color = trace.marker.color if marked else trace.line.color
    shape = _marker(trace.marker.symbol or "circle", 8, 7, 5) if marked else ""
    line = '<line stroke="currentColor" stroke-width="3" x1="0" x2="16" y1="7" y2="7"/>'
    return f'<svg class="swatch {_class(color)}" viewBox="0 0 16 14" aria-hidden="true">{shape or line}</svg>'


def _stroke(color: object, width: float, dash: str | None = None) -> str:
    dashes = f' stroke-dasharray="{DASHES[dash]}"' if dash in DASHES else ""
    return f'class="{_class(color)}" fill="none" stroke="currentColor" stroke-width="{width:g}"{dashes}'


def _class(color: object) -> str:
    """Return the class of a palette colour. Any other colour is the general grey."""
    return "c" + (color if color in COLORS else figures.GENERAL)[1:]


def _words(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'
