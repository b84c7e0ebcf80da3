"""Draws what is left of each deletion request over a sequence: what comes back, and what is lost before its turn.

Plain records in, plotly figures out; no torch, no streamlit. A sequence is as in sequence.py. The heat map is made of
square markers, because a heat map proper sends no clicks.
"""

from collections.abc import Sequence

import plotly.graph_objects as go

from unlearn.figures.base import BEFORE, FORGET, GENERAL, finish, ink, paint
from unlearn.figures.sequence import SHARES, Study, shown
from unlearn.results.compare import METRICS, number

# A share that rises this much after its request was honoured has come back.
BACK = 0.1


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
            textfont={"color": [ink(color) for color in colors], "size": 12},
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
