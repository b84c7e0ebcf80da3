"""Holds what all figures share: colours, marks, smoothing, thinning, dashed lines, and the look of the whole.

One colour has one meaning everywhere (Okabe-Ito set; on a dark page a lighter shade of the same hue). The
title of a figure is a sentence computed from the numbers in it, so that it cannot say what the data does
not. Smoothing comes before thinning, and a number that is not finite is marked with an x, never dropped.
No torch, no streamlit.

Every trade-off has one orientation, in tradeoff.py and in sweep.py: x is what is left of the rows to forget, 0 at the
left, and y is what is kept of the rest. The aim is the retrained model where there is one: aim() says so below each.
"""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from unlearn.store.shapes import JsonView

FORGET, RETAIN, GENERAL, RETRAINED = "#D55E00", "#0072B2", "#7F7F7F", "#009E73"
AFTER_A, AFTER_B = "#E69F00", "#CC79A7"
# A third and a fourth run stand beside these two on Compare alone: hues without a meaning, and marks of their own.
AFTER_C, AFTER_D = "#332288", "#7A5230"
BEFORE = "#222222"
ON_DARK = {
    **{FORGET: "#E8762B", RETAIN: "#56B4E9", GENERAL: "#9A9A9A", RETRAINED: "#1FB88C", BEFORE: "#E8E8E8"},
    **{AFTER_C: "#8F86E8", AFTER_D: "#C79A6B"},
}
# The colour and the mark of each run that stands beside others, by its letter.
AFTER = {
    "a": (AFTER_A, "circle"),
    "b": (AFTER_B, "circle"),
    "c": (AFTER_C, "square"),
    "d": (AFTER_D, "triangle-up"),
}
# Colours of roles. Every other role has the grey of general texts.
ROLES = {"forget": FORGET, "retain": RETAIN}
# What is written on a coloured ground.
INKS = ("#111111", "#FFFFFF")
# The number of points that one trace draws at most.
POINTS = 1000

Record = JsonView


def aim(has_retrained: bool) -> str:
    """Return what to aim at in a trade-off, in a sentence: one mark where it is there, and else a corner."""
    if has_retrained:
        return (
            "The aim is the retrained ◆: further left is no better than a model that never knew, higher is."
        )
    return "The aim is the upper left: little is left of what was to forget, and all of the rest."


def paint(color: str, dark: bool) -> str:
    """Return the shade of a colour that reads well on a dark page, or on a light page the colour itself."""
    return ON_DARK.get(color, color) if dark else color


def ink(fill: str) -> str:
    """Return black or white, whichever reads better on a fill of this colour, by WCAG's contrast."""
    light = luminance(fill)
    return max(INKS, key=lambda one: abs(math.log((luminance(one) + 0.05) / (light + 0.05))))


def luminance(color: str) -> float:
    """Return the relative luminance of a colour such as "#D55E00", as WCAG defines it: 0 black, 1 white."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


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
