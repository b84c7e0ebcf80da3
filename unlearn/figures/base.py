"""Draws the figures of runs from plain records, the same for app, command line and report.

One colour has one meaning everywhere (Okabe-Ito set; on a dark page a lighter shade of the same hue). The
title of a figure is a sentence computed from the numbers in it, so that it cannot say what the data does
not. Smoothing comes before thinning, and a number that is not finite is marked with an x, never dropped.
No torch, no streamlit. Figures of single tokens are in tokens.py.

Every trade-off has one orientation, here and in sweep.py: x is what is left of the rows to forget, 0 at the left, and y
is what is kept of the rest, so the better a model the further it stands to the upper left.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn.results.compare import number, rounded
from unlearn.store.shapes import JsonView

FORGET, RETAIN, GENERAL, RETRAINED = "#D55E00", "#0072B2", "#7F7F7F", "#009E73"
AFTER_A, AFTER_B = "#E69F00", "#CC79A7"
BEFORE = "#222222"
ON_DARK = {FORGET: "#E8762B", RETAIN: "#56B4E9", GENERAL: "#9A9A9A", RETRAINED: "#1FB88C", BEFORE: "#E8E8E8"}
# Colours of roles. Every other role has the grey of general texts.
ROLES = {"forget": FORGET, "retain": RETAIN}
# What a person reads for a training term whose own name is code.
TERMS = {"kl_forget": "KL term, forget", "kl_retain": "KL term, retain", "lm": "language model term"}
# The number of points that one trace draws at most.
POINTS = 1000

Record = JsonView


def paint(color: str, dark: bool) -> str:
    """Return the shade of a colour that reads well on a dark page, or on a light page the colour itself."""
    return ON_DARK.get(color, color) if dark else color


def smooth(values: Sequence[float], window: float) -> list[float]:
    """Return the exponential mean over about `window` steps, unbiased at the start.

    It is nan where a value is not finite.
    """
    keep, total, weight, out = 1 - 1 / max(window, 1), 0.0, 0.0, []
    for value in values:
        if math.isfinite(value):
            total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        out.append(total / weight if math.isfinite(value) and weight else math.nan)
    return out


def thin(xs: Sequence[float], ys: Sequence[float], most: int = POINTS) -> tuple[list[float], list[float]]:
    """Return at most `most` points: the first, the last, and the lowest and highest of each bucket, so that
    spikes survive.
    """
    if len(xs) <= most:
        return list(xs), list(ys)
    buckets = (most - 2) // 2
    keep, width = {0, len(xs) - 1}, len(xs) / buckets
    for bucket in range(buckets):
        rows = [i for i in range(int(bucket * width), int((bucket + 1) * width)) if math.isfinite(ys[i])]
        if rows:
            keep |= {min(rows, key=lambda i: ys[i]), max(rows, key=lambda i: ys[i])}
    order = sorted(keep)
    return [xs[i] for i in order], [ys[i] for i in order]


def losses(
    steps: Sequence[Record],
    references: Mapping[str, Record] | None = None,
    dark: bool = False,
    points: int = POINTS,
    only: str = "",
) -> go.Figure:
    """Draw the training terms over the steps, one panel for each term, raw values faint and smoothed ones bold.

    steps: step events of a run. references: {term: {"before": value, "retrained": value}} in the units of
    that term, drawn dashed; give only what is comparable with it (a mean NLL beside an NLL term). points: the
    most that a curve draws; fewer make a figure that travels often a light one. only: one term, for a page that puts
    a figure for each beside or, on a phone, below each other.
    """
    terms = [only] if only else terms_of(steps)
    figure = _panels(terms)
    said = []
    for column, term in enumerate(terms, 1):
        color = paint(ROLES.get(term, GENERAL), dark)
        said.append(_curve(figure, column, steps, term, color, term_title(term), points=points))
        for name, value in ((references or {}).get(term) or {}).items():
            dashed(figure, name, number(value), dark, row=1, col=column)
    return finish(figure, "; ".join(s for s in said if s) or "No training step yet")


def losses_compare(runs: Mapping[str, Sequence[Record]], dark: bool = False, only: str = "") -> go.Figure:
    """Draw the training terms of one or two runs in the same panels, A orange and B purple.

    runs: {label: step events}. only: as of losses().

    Different methods minimise different things: compare shapes within a panel, not heights.
    """
    terms = [only] if only else list(dict.fromkeys(t for steps in runs.values() for t in terms_of(steps)))
    figure = _panels(terms)
    said = []
    for (label, steps), color in zip(runs.items(), (AFTER_A, AFTER_B), strict=False):
        for column, term in enumerate(terms, 1):
            words = _curve(figure, column, steps, term, color, label, legend=column == 1)
            if words and column == 1:
                said.append(words)
    return finish(figure, f"{term_title(terms[0])}: " + "; ".join(said) if said else "No training step yet")


def tradeoff(points: Sequence[Record], metric: str = "accuracy", dark: bool = False) -> go.Figure:
    """Draw forget against retain, one mark for each model: original ★, retrained ◆, runs as circles sized by
    their time.

    points: {"label", "kind": "before" | "A" | "B" | "other" | "recorded" | "retrained", "forget", "retain",
    "seconds"?}. Those recorded are a pale background.
    """
    times = [number(p["seconds"]) for p in points if p.get("seconds")]
    looks = {"before": (BEFORE, "star"), "retrained": (RETRAINED, "diamond")}
    looks |= {"A": (AFTER_A, "circle"), "B": (AFTER_B, "circle")}
    figure = go.Figure()
    _background(figure, [p for p in points if p["kind"] == "recorded"], dark)
    for p in (p for p in points if p["kind"] != "recorded"):
        color, symbol = looks.get(p["kind"], (GENERAL, "circle"))
        size, took, label = 15.0, "", text(p["label"])
        if symbol == "circle":
            size = 9 + 21 * math.sqrt(number(p.get("seconds") or 0) / max(times, default=1))
            took = f"<br>{rounded(p['seconds'])} s" if p.get("seconds") else ""
        x, y = number(p.get("forget")), number(p.get("retain"))
        figure.add_scatter(
            x=[x],
            y=[y],
            name=label,
            mode="markers",
            cliponaxis=False,
            opacity=0.45 if p["kind"] == "other" else 1,
            showlegend=p["kind"] != "other",
            marker={"color": paint(color, dark), "symbol": symbol, "size": size},
            hovertemplate=f"<b>{label}</b><br>forget {rounded(x)}<br>retain {rounded(y)}{took}<extra></extra>",
        )
    figure.update_xaxes(title_text=f"{metric} left on forget rows (the retrained ◆ is the goal)")
    figure.update_yaxes(title_text=f"{metric} kept on retain rows")
    if all(0 <= number(p.get(role)) <= 1 for p in points for role in ("forget", "retain")):
        # A share is drawn on the whole scale, so that small gaps look small.
        figure.update_xaxes(range=[-0.05, 1.05])
        figure.update_yaxes(range=[-0.05, 1.05])
    return finish(figure, _tradeoff_sentence(points, metric), height=380)


def _background(figure: go.Figure, points: Sequence[Record], dark: bool) -> None:
    """The results of other methods, in one trace that stands behind all others."""
    if points:
        figure.add_scatter(
            x=[number(p["forget"]) for p in points],
            y=[number(p["retain"]) for p in points],
            name="other methods at their defaults, recorded",
            mode="markers",
            cliponaxis=False,
            opacity=0.35,
            marker={
                "color": paint(GENERAL, dark),
                "symbol": "circle-open",
                "size": 9,
                "line": {"width": 1.5},
            },
            customdata=[text(p["label"]) for p in points],
            hovertemplate="%{customdata}<br>forget %{x:.2g}, retain %{y:.2g}<extra></extra>",
        )


def text(value: object) -> str:
    """Escape a text, because Plotly reads a little HTML in its texts.

    So a model's or a person's words are shown as they are.
    """
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")


def hover(label: str) -> str:
    """Return the template of a hover text in one line: label, value, step. label is already escaped."""
    return f"{label}: %{{y:.3g}} at step %{{x}}<extra></extra>"


def dashed(figure: go.Figure, name: str, value: float, dark: bool, **place: int) -> None:
    """Add a dashed reference line with its name to the figure.

    Nothing is added where the value is not finite.
    """
    if math.isfinite(value):
        color = paint(RETRAINED if "retrained" in name else BEFORE, dark)
        line = {"color": color, "dash": "dash", "width": 1.2}
        shown = "original" if name == "before" else name
        font = {"color": color, "size": 11}
        figure.add_hline(
            value,
            line=line,
            annotation_text=shown,
            annotation_font=font,
            annotation_position="top right",
            **place,
        )


def finish(figure: go.Figure, title: str, height: int = 300) -> go.Figure:
    """Give a figure the look that all share: its title sentence on the left, the legend below, little around
    the data.
    """
    figure.update_layout(
        title={"text": title[:1].upper() + title[1:], "font": {"size": 14}, "x": 0, "xanchor": "left"},
        height=height,
        margin={"l": 60, "r": 20, "t": 40, "b": 70},
        hovermode="closest",
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
        },
    )
    return figure


def term_title(term: str) -> str:
    """Return what a person calls a training term."""
    return TERMS.get(term, f"{term.replace('_', ' ')} term")


def terms_of(steps: Sequence[Record]) -> list[str]:
    """Return the training terms that these step events have."""
    return list(dict.fromkeys(term for step in steps for term in step.get("terms", {})))


def _panels(terms: Sequence[str]) -> go.Figure:
    figure = make_subplots(cols=max(len(terms), 1), horizontal_spacing=0.12)
    for column, term in enumerate(terms, 1):
        figure.update_yaxes(title_text=f"{term_title(term)} (nats)", col=column)
    figure.update_xaxes(title_text="step", rangemode="tozero")
    return figure


def _curve(
    figure: go.Figure,
    column: int,
    steps: Sequence[Record],
    term: str,
    color: str,
    label: str,
    legend: bool = True,
    points: int = POINTS,
) -> str:
    """Draw one term and return what it did, in words."""
    known = [(step["step"], number(step["terms"][term])) for step in steps if term in step.get("terms", {})]
    xs, ys = [x for x, _ in known], [y for _, y in known]
    bold = smooth(ys, len(ys) / 20)
    look = {"row": 1, "col": column, "legendgroup": label, "hovertemplate": hover(text(label))}
    look |= {"name": text(label), "mode": "lines+markers" if len(xs) < 3 else "lines", "connectgaps": False}
    for values, width, faint in ((ys, 1, True), (bold, 2.5, False)):
        x, y = (np.array(row, kind) for row, kind in zip(thin(xs, values, points), "if", strict=True))
        line = {"color": color, "width": width}
        figure.add_scatter(
            x=x, y=y, line=line, opacity=0.35 if faint else 1, showlegend=legend and not faint, **look
        )
    finite = [y for y in ys if math.isfinite(y)]
    bad = [(x, y) for x, y in known if not math.isfinite(y)]
    if bad:
        shown = bad[:: math.ceil(len(bad) / POINTS)]
        look |= {"name": "not finite", "mode": "markers", "showlegend": legend}
        look |= {"hovertemplate": "%{customdata} at step %{x}<extra></extra>"}
        mark, height = {"symbol": "x", "color": color, "size": 9}, max(finite, default=0.0)
        said = [rounded(y) for _, y in shown]
        figure.add_scatter(
            x=[x for x, _ in shown], y=[height] * len(shown), marker=mark, customdata=said, **look
        )
    if not finite:
        return f"{label} was never finite" if bad else ""
    means = [y for y in bold if math.isfinite(y)]
    went = rounded(means[0]) if len(means) == 1 else f"{rounded(means[0])} → {rounded(means[-1])}"
    lost = f", not finite at {len(bad)} of {len(ys)} steps, first {bad[0][0]}" if bad else ""
    return f"{label} {went}{lost}"


def _tradeoff_sentence(points: Sequence[Record], metric: str) -> str:
    start = next((p for p in points if p["kind"] == "before"), None)
    said = []
    for p in points:
        if p["kind"] in ("A", "B") and start:
            pairs = [(role, *_went(start.get(role), p.get(role))) for role in ("forget", "retain")]
            said.append(f"{text(p['label'])}: " + ", ".join(f"{role} {b} → {a}" for role, b, a in pairs))
    return f"{metric}, " + "; ".join(said) if said else f"Forget against retain: {metric}"


def _went(before: float | None, after: float | None) -> tuple[str, str]:
    """Both numbers as they stand beside an arrow; shares are per cent."""
    if all(0 <= number(value) <= 1 for value in (before, after)):
        shares = [100 * number(value) for value in (before, after)]
        was, now = (f"{share:.0f}" if share >= 9.5 else f"{share:.2g}" for share in shares)
        return was, f"{now} %"
    return rounded(before), rounded(after)
