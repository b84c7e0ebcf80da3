"""Draws deletion requests in sequence: what is forgotten and what is kept.

Plain records in, plotly figures out; no torch, no streamlit. A sequence is {"label", "mode", "order": requests as
they arrived, "rows": sequence.summary(), "scores": the events that it was made from}. Colour tells sequences apart
(no role's or run's colour), dash and marker tell modes. What is left of each single request is in requests.py.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.data.base import TITLES
from unlearn.figures.base import BEFORE, finish, paint, text
from unlearn.figures.gradient import hue
from unlearn.results.compare import METRICS, Written, number, rounded
from unlearn.store.shapes import JsonView

# The dash and the marker of each mode.
LOOKS = {
    "chain": ("solid", "circle"),
    "fuse": ("dash", "square"),
    "average": ("dot", "triangle-up"),
    "joint": ("longdash", "diamond"),
}
# Each column of the summary, and what its panel shows.
PANELS = {
    "done": "Requests so far",
    "retain": TITLES["retain"],
    "neighbours": TITLES["neighbours"],
    "general": TITLES["general"],
}
# Metrics whose values lie between 0 and 1.
SHARES = ("exact", "rougeL", "accuracy", "probability", "memorised", "extraction")
Study = JsonView


def shown(value: Written, metric: str) -> str:
    """Write a share as a percentage and anything else with three digits.

    It is a dash where there is no value.
    """
    if value is None:
        return "–"
    return f"{100 * number(value):.0f} %" if metric in SHARES else rounded(value)


def panels(studies: Sequence[Study]) -> list[str]:
    """Return what these sequences were scored on, as names of PANELS."""
    return [p for p in PANELS if any(row.get(p) is not None for s in studies for row in s["rows"])]


def curve(studies: Sequence[Study], panel: str, metric: str = "exact", dark: bool = False) -> go.Figure:
    """Draw what should be forgotten ("done"), or one thing to keep, over the number of requests."""
    figure = go.Figure()
    for j, study in enumerate(studies):
        _line(figure, study, panel, metric, hue(j, dark))
    _original(figure, studies, panel, metric, dark)
    most = max((row["after"] for s in studies for row in s["rows"]), default=1)
    figure.update_xaxes(range=[-0.2, most + 0.2], dtick=1, title_text="requests honoured", title_standoff=4)
    figure.update_yaxes(title_text=f"{METRICS[metric][0]} ({_better(panel, metric)} is better)")
    if metric in SHARES:
        figure.update_yaxes(range=[-0.04, 1.04], tickformat=".0%")
    title = _curves_sentence(studies, metric) if panel == "done" else _panel_sentence(studies, panel, metric)
    figure = finish(figure, title, height=310)
    return figure.update_layout(
        margin_b=60 + 22 * len(studies), legend_orientation="v", showlegend=panel == "done"
    )


def _better(panel: str, metric: str) -> str:
    return "lower" if (METRICS[metric][2] == "higher") == (panel == "done") else "higher"


def _panel_sentence(studies: Sequence[Study], panel: str, metric: str) -> str:
    """Return "Neighbours: 92 % → 70 %, 80 %", the last numbers in the order of the sequences."""
    known = [[row[panel] for row in study["rows"] if row.get(panel) is not None] for study in studies]
    ends = ", ".join(shown(values[-1], metric) for values in known if values)
    first = next((shown(values[0], metric) for values in known if values), "–")
    return f"{PANELS[panel]}: {first} → {ends}"


def _original(
    figure: go.Figure,
    studies: Sequence[Study],
    panel: str,
    metric: str,
    dark: bool,
) -> None:
    """The model before the first request, as a dashed line: what it knew of all requests, or of this role."""
    for study in studies[:1]:
        first: Mapping[str, float] = next((row for row in study["rows"] if row["after"] == 0), {})
        value = first.get("to come" if panel == "done" else panel)
        if value is not None:
            color = paint(BEFORE, dark)
            figure.add_hline(
                number(value),
                line={"color": color, "dash": "dash", "width": 1.2},
                annotation_text=f"original {shown(value, metric)}",
                annotation_font={"color": color, "size": 11},
                # A curve begins at this line, and ends below it as a rule.
                annotation_position="top right",
            )


def _line(
    figure: go.Figure,
    study: Study,
    panel: str,
    metric: str,
    color: str,
) -> None:
    known = [row for row in study["rows"] if row.get(panel) is not None]
    dash, symbol = LOOKS[study["mode"]]
    label = text(study["label"])
    figure.add_scatter(
        x=[row["after"] for row in known],
        y=[number(row[panel]) for row in known],
        name=label,
        mode="lines+markers",
        cliponaxis=False,
        line={"color": color, "dash": dash, "width": 2.2},
        marker={"symbol": symbol, "size": 8, "color": color},
        customdata=[shown(row[panel], metric) for row in known],
        hovertemplate=f"{label}<br>%{{customdata}} after %{{x}} requests<extra></extra>",
    )


def _curves_sentence(studies: Sequence[Study], metric: str) -> str:
    """Return a sentence on the first three sequences: what is left of the answers, and what the rest lost."""
    said = []
    for study in studies[:3]:
        first: Mapping[str, float] = study["rows"][0] if study["rows"] else {}
        last: Mapping[str, float] = study["rows"][-1] if study["rows"] else {}
        if last.get("done") is None:
            continue
        many = "requests" if last["after"] > 1 else "request"
        left = f"after {last['after']} {many} {_left(last['done'], metric)}"
        said.append(f"{text(study['label'])}: {left}{_kept(first.get('retain'), last.get('retain'), metric)}")
    return "; ".join(said) if said else f"{METRICS[metric][0]}: no request honoured yet"


def _left(value: float, metric: str) -> str:
    if metric == "exact":
        return f"{shown(value, metric)} of the answers are left"
    return f"{METRICS[metric][0]} of the requests is {shown(value, metric)}"


def _kept(first: float | None, last: float | None, metric: str) -> str:
    if last is None:
        return ""
    if first is None or shown(first, metric) == shown(last, metric):
        return f", retain {shown(last, metric)}"
    return (
        f", retain {'fell' if last < first else 'rose'} from {shown(first, metric)} to {shown(last, metric)}"
    )
