"""Draws deletion requests in sequence: what is forgotten, what is kept, and what comes back.

Plain records in, plotly figures out; no torch, no streamlit. A sequence is {"label", "mode", "order": requests as
they arrived, "rows": sequence.summary(), "scores": the events that it was made from}. Colour tells sequences apart
(no role's or run's colour), dash and marker tell modes. The heat map is made of square markers, because a heat map
proper sends no clicks.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.figures.base import BEFORE, FORGET, GENERAL, finish, paint, text
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
    "retain": "Retain set",
    "neighbours": "Neighbours",
    "general": "General knowledge",
}
# Metrics whose values lie between 0 and 1.
SHARES = ("exact", "rougeL", "accuracy", "probability", "memorised", "extraction")
# A share that rises this much after its request was honoured has come back.
BACK = 0.1
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
                annotation_position="bottom left" if metric in SHARES else "top left",
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


def grid(study: Study, metric: str = "exact", dark: bool = False) -> go.Figure:
    """Draw a square for each request and time: what the model still knows of the request then.

    A square is vermilion by what is left once the request has had its turn; before, it is framed, and grey by what was
    lost too early.

    A click's customdata is [number of requests honoured, request].
    """
    order, events = study["order"], study["scores"]
    cells = [
        (event["after"], place, number(event["requests"][str(request)].get(metric)))
        for event in events
        for place, request in enumerate(order)
    ]
    size = max(24, min(44, 260 // len(order)))
    low, high = _scale([value for *_, value in cells], metric)
    figure = go.Figure()
    for honoured, name in ((True, "honoured"), (False, "still to come")):
        part = [cell for cell in cells if (cell[0] > cell[1]) == honoured]
        strength = [_strength(value, low, high, metric) for *_, value in part]
        # What is still to come should still be there: its square shows what was lost before its turn, the collateral.
        tone, shown_by = (FORGET, strength) if honoured else (GENERAL, [1 - s for s in strength])
        colors = [_mix(paint(tone, dark), s, dark) for s in shown_by]
        figure.add_scatter(
            x=[after for after, *_ in part],
            y=[len(order) - place for _, place, _ in part],
            mode="markers+text",
            name=name,
            text=[shown(value, metric).removesuffix(" %") for *_, value in part],
            textfont={"color": [_ink(s, dark) for s in shown_by], "size": 12},
            customdata=[[after, order[place], shown(value, metric)] for after, place, value in part],
            hovertemplate="Request %{customdata[1]} after %{customdata[0]}: %{customdata[2]} "
            f"({name})<extra></extra>",
            marker={
                "symbol": "square",
                "size": size,
                "color": colors,
                "line": {
                    "width": 1 if honoured else 2.5,
                    "color": paint(GENERAL if honoured else BEFORE, dark),
                },
            },
            showlegend=False,
            cliponaxis=False,
        )
    names = [f"request {request}" for request in order]
    figure.update_yaxes(
        tickvals=[len(order) - i for i in range(len(order))],
        ticktext=names,
        range=[0.4, len(order) + 0.6],
        showgrid=False,
        zeroline=False,
    )
    unit = ", in %" if metric in SHARES else ""
    figure.update_xaxes(
        title_text=f"requests honoured ({METRICS[metric][0]}{unit})",
        range=[-0.5, len(order) + 0.5],
        dtick=1,
        showgrid=False,
        zeroline=False,
    )
    figure = finish(
        figure,
        f"{comeback(study, metric)}. {collateral(study, metric)}".rstrip(" ."),
        height=130 + (size + 10) * len(order),
    )
    figure.update_layout(clickmode="event+select", margin_l=90)
    return figure


def comeback(study: Study, metric: str = "exact") -> str:
    """Return a sentence on the request whose answers rose most between its own turn and the end."""
    order, events = study["order"], {event["after"]: event["requests"] for event in study["scores"]}
    end = max(events, default=0)
    moved = []
    for place, request in enumerate(order[: max(0, end - 1)], 1):
        then, now = (number(events[k][str(request)].get(metric)) for k in (place, end))
        rise = now - then if METRICS[metric][2] == "higher" else then - now
        moved.append((rise, request, then, now))
    if not moved:
        return "Whether an earlier request comes back shows after the second one"
    rise, request, then, now = max(moved)
    went = f"{shown(then, metric)} → {shown(now, metric)}"
    if rise <= 0:
        return "No earlier request came back"
    if metric in SHARES and rise < BACK:
        return (
            f"No earlier request came back: the largest rise since its own turn is request {request}, {went}"
        )
    return f"Request {request} {'came back' if metric in SHARES else 'moved back most'}: {went}"


def collateral(study: Study, metric: str = "exact") -> str:
    """Return a sentence on the request that had lost most before its own turn, or "" where none can have."""
    order, events = study["order"], {event["after"]: event["requests"] for event in study["scores"]}
    lost = []
    for place, request in enumerate(order):
        known = [
            (after, number(events[after][str(request)].get(metric)))
            for after in sorted(events)
            if after <= place
        ]
        if len(known) > 1:
            first, worst = (
                known[0][1],
                min(known, key=lambda one: _strength(one[1], *_ends(study, metric), metric)),
            )
            lost.append(
                (
                    _strength(first, *_ends(study, metric), metric)
                    - _strength(worst[1], *_ends(study, metric), metric),
                    request,
                    first,
                    worst,
                )
            )
    if not lost:
        return ""
    fall, request, first, (after, value) = max(lost, key=lambda one: one[0])
    if fall <= 0:
        return "No request lost anything before its turn"
    return f"Request {request} lost before its turn: {shown(first, metric)} → {shown(value, metric)} after {after}"


def _ends(study: Study, metric: str) -> tuple[float, float]:
    """The lowest and the highest value that the squares show."""
    return _scale(
        [number(found.get(metric)) for event in study["scores"] for found in event["requests"].values()],
        metric,
    )


def _scale(values: Sequence[float], metric: str) -> tuple[float, float]:
    finite = [v for v in values if v == v and abs(v) != float("inf")]
    return (0.0, 1.0) if metric in SHARES or not finite else (min(finite), max(finite))


def _strength(value: float, low: float, high: float, metric: str) -> float:
    """0 nothing is known, 1 everything."""
    share = min(1.0, max(0.0, (value - low) / (high - low))) if high > low and value == value else 0.0
    return share if METRICS[metric][2] == "higher" else 1 - share


def _mix(color: str, share: float, dark: bool) -> str:
    """Return a colour between the page's own grey and this colour."""
    base = (38, 38, 37) if dark else (240, 240, 238)
    top = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(b + share * (t - b)):02X}" for b, t in zip(base, top, strict=True))


def _ink(share: float, dark: bool) -> str:
    return "#FFFFFF" if dark or share > 0.6 else "#1C1C1C"
