"""Draws what a run's stop rule read: the answers to forget with their target, each budget with its limit."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn.figures.base import FORGET, GENERAL, RETAIN, dashed, finish, hover, paint
from unlearn.results.compare import number, rounded
from unlearn.store.shapes import JsonView

# The title of each axis, and its colour.
FORGOTTEN = ("probability of the answers to forget", FORGET)
BUDGETS = {
    "general-ppl": ("general perplexity / start", GENERAL),
    "kl": ("change of general text (nats a token)", GENERAL),
    "retain": ("probability of answers to keep / start", RETAIN),
}


def watched(events: Sequence[JsonView], end: JsonView, dark: bool = False) -> go.Figure:
    """Draw the watch events of a run, one panel for the answers to forget and one for each budget.

    The dashed lines are where the run ends; the dotted one is the step whose weights were kept. end: the run's end
    event, or nothing while it trains.
    """
    names = list(events[0]["limits"]) if events else []
    figure = make_subplots(cols=1 + len(names), horizontal_spacing=0.12)
    steps = [event["step"] for event in events]
    panels = [(FORGOTTEN, [number(e["forget"]) for e in events], "target", [e.get("target") for e in events])]
    panels += [
        (
            BUDGETS[name],
            [number(e["spent"][name]) for e in events],
            "budget",
            [e["limits"][name] for e in events],
        )
        for name in names
    ]
    said = []
    for column, ((title, color), values, word, limits) in enumerate(panels, 1):
        line = {"color": paint(color, dark), "width": 2.5}
        look = {"mode": "lines+markers", "line": line, "name": title, "hovertemplate": hover(title)}
        figure.add_scatter(x=steps, y=values, row=1, col=column, showlegend=False, **look)
        figure.update_yaxes(title_text=title, col=column)
        told = f"{title} {rounded(values[0])} → {rounded(values[-1])}" if values else ""
        if limits and limits[0] is not None:
            dashed(figure, f"{word} {rounded(limits[0])}", number(limits[0]), dark, row=1, col=column)
            told += f" ({word} {rounded(limits[0])})"
        said.append(told)
        if end and end["keep"] == "best":
            figure.add_vline(end["kept"], line={"dash": "dot", "width": 1.2}, row=1, col=column)
    figure.update_xaxes(title_text="step", rangemode="tozero")
    return finish(figure, "; ".join(filter(None, said)) or "Nothing was read yet")
