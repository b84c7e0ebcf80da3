"""Draws the terms that a run was trained on over its steps: of one run, or of several in the same panels.

Plain step events in, plotly figures out; no torch, no streamlit.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn.figures.base import (
    AFTER,
    GENERAL,
    POINTS,
    ROLES,
    Record,
    dashed,
    finish,
    hover,
    paint,
    smooth,
    text,
    thin,
)
from unlearn.results.compare import number, rounded

# What a person reads for a training term whose own name is code.
TERMS = {"kl_forget": "KL term, forget", "kl_retain": "KL term, retain", "lm": "language model term"}


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
    """Draw the training terms of several runs in the same panels, each in the colour of its letter.

    runs: {label: step events}, in the order of the letters. only: as of losses().

    Different methods minimise different things: compare shapes within a panel, not heights.
    """
    terms = [only] if only else list(dict.fromkeys(t for steps in runs.values() for t in terms_of(steps)))
    figure = _panels(terms)
    said = []
    for (label, steps), (color, _) in zip(runs.items(), AFTER.values(), strict=False):
        color = paint(color, dark)
        for column, term in enumerate(terms, 1):
            words = _curve(figure, column, steps, term, color, label, legend=column == 1)
            if words and column == 1:
                said.append(words)
    return finish(figure, f"{term_title(terms[0])}: " + "; ".join(said) if said else "No training step yet")


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
