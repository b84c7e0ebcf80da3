"""Draws the stress tests: attacks, relearning, the dial, what each layer holds, and ROC curves.

Entries of attacks.json and metrics.json in, plotly figures out; pure, no torch, no streamlit. Original, unlearned and
retrained have the colours that they have everywhere. Squares are markers, because a heat map sends no clicks.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.figures.base import AFTER_A, BEFORE, FORGET, GENERAL, RETAIN, RETRAINED, finish, ink, paint, text
from unlearn.figures.gradient import hue
from unlearn.results.compare import Written, number, rounded, whole
from unlearn.store.shapes import JsonView

Entry = JsonView
# The colour and the marker of each side of an attack.
SIDES = {
    "before": (BEFORE, "star"),
    "after": (AFTER_A, "circle"),
    "control": (RETRAINED, "diamond"),
}
NAMES = {"before": "original", "after": "unlearned", "control": "retrained"}


def named(side: str, control: str) -> str:
    """Return the name of a side. A control without a retrained model is called "never seen"."""
    return "never seen" if side == "control" and control == "never seen" else NAMES[side]


def relearning(entry: Entry, control: str, dark: bool = False) -> go.Figure:
    """Draw the exact answers on the facts that were not practised, over the steps of practice on the others."""
    figure, curves = go.Figure(), entry["details"]["curves"]
    for side, curve in curves.items():
        if side == "before":
            continue
        color, symbol = SIDES[side]
        steps = sorted(map(int, curve))
        figure.add_scatter(
            x=steps,
            y=[number(curve[str(k)]) for k in steps],
            name=named(side, control),
            mode="lines+markers",
            line={"color": paint(color, dark), "width": 2.5},
            marker={"symbol": symbol, "size": 8},
            hovertemplate=f"{named(side, control)}: %{{y:.0%}} after %{{x}} steps<extra></extra>",
        )
    ceiling = number(entry["before"])
    line = {"color": paint(BEFORE, dark), "dash": "dash", "width": 1.2}
    figure.add_hline(ceiling, line=line, annotation_text="original", annotation_position="bottom right")
    figure.update_xaxes(title_text="steps of practice on the other facts", rangemode="tozero")
    figure.update_yaxes(range=[-0.03, 1.05], tickformat=".0%", title_text="exact answers on the rest")
    rest = f"{percent(curves['after']['0'])} → {percent(entry['after'])}"
    beside = (
        f"; {named('control', control)} {percent(_sides(entry)['control'])}" if "control" in curves else ""
    )
    return finish(figure, f"The rest comes back at best: {rest}{beside}", height=330)


def dial(entry: Entry, dark: bool = False) -> go.Figure:
    """Draw the exact answers on forget and retain rows over the scale of the change."""
    figure, curve = go.Figure(), entry["details"]["curve"]
    scales = sorted(curve, key=float)
    for role, color in (("forget", FORGET), ("retain", RETAIN)):
        if role in curve[scales[0]]:
            figure.add_scatter(
                x=[float(s) for s in scales],
                y=[number(curve[s][role]) for s in scales],
                name=role,
                mode="lines+markers",
                line={"color": paint(color, dark), "width": 2.5},
                hovertemplate=f"{role}: %{{y:.0%}} at scale %{{x:g}}<extra></extra>",
            )
    line = {"color": paint(BEFORE, dark), "width": 1, "dash": "dot"}
    figure.add_vline(1.0, line=line, annotation_text="as trained", annotation_position="left")
    figure.update_xaxes(title_text="scale of the change: 0 is the original", dtick=0.2)
    figure.update_yaxes(range=[-0.03, 1.05], tickformat=".0%", title_text="exact answers")
    off, on = (percent(curve[s]["forget"]) for s in ("0", "1"))
    return finish(
        figure, f"Turned back to 0 it answers {off} of the forget questions, as trained {on}", height=330
    )


def layers(square: JsonView, side: str, control: str, dark: bool = False) -> go.Figure:
    """Draw one answer as squares, layer by token: how near the top the right token stands, with its rank as
    text.
    """
    rows, tokens = square[side], [repr(t)[1:-1] for t in square["tokens"]]
    places = [f"{i + 1}. {text(token)}" for i, token in enumerate(tokens)]
    color, (low, high) = SIDES[side][0], ((38, 38, 37), (240, 240, 238))
    base = low if dark else high
    xs, ys, fills, said, notes = [], [], [], [], []
    for layer, row in enumerate(rows):
        for place, rank, lp in zip(places, row["rank"], row["lp"], strict=True):
            share = 1.0 / (1 + rank)
            xs.append(place)
            ys.append(f"layer {layer + 1}")
            fills.append(_mix(paint(color, dark), share, base))
            said.append(str(rank + 1))
            notes.append(f"rank {rank + 1}, log-prob {rounded(lp)}")
    figure = go.Figure()
    figure.add_scatter(
        x=xs,
        y=ys,
        mode="markers+text",
        text=said,
        textfont={"size": 11, "color": paint(GENERAL, dark)},
        textposition="middle center",
        customdata=notes,
        marker={
            "symbol": "square",
            "size": 30,
            "color": fills,
            "line": {"width": 1, "color": paint(GENERAL, dark)},
        },
        hovertemplate="%{y}, %{x}: %{customdata}<extra></extra>",
        showlegend=False,
    )
    figure.update_traces(textfont={"color": [ink(f) for f in fills]})
    figure.update_xaxes(side="top", type="category", range=[-0.6, max(len(places), 4) - 0.4], showgrid=False)
    figure.update_yaxes(showgrid=False)
    last = [rank + 1 for rank in rows[-1]["rank"]]
    first = ", ".join(map(str, last[:4]))
    figure = finish(
        figure, f"{named(side, control)}: ranks at the last layer {first}", height=90 + 40 * len(rows)
    )
    figure.update_layout(margin_b=10)
    return figure


def by_layer(entry: Entry, control: str, dark: bool = False) -> go.Figure:
    """Draw the mean reciprocal rank of the right tokens at each layer."""
    figure, found = go.Figure(), entry["details"]["by_layer"]
    for side, values in found.items():
        color, symbol = SIDES[side]
        figure.add_scatter(
            x=list(range(1, len(values) + 1)),
            y=[number(v) for v in values],
            name=named(side, control),
            mode="lines+markers",
            line={"color": paint(color, dark), "width": 2.5},
            marker={"symbol": symbol, "size": 9},
            hovertemplate=f"{named(side, control)}: %{{y:.2f}} at layer %{{x}}<extra></extra>",
        )
    figure.update_xaxes(title_text="layer", dtick=1 if entry["details"]["layers"] < 13 else None)
    figure.update_yaxes(range=[-0.03, 1.05], title_text="mean reciprocal rank")
    layer = entry["details"]["layer"]
    said = f"most is left at layer {layer + 1}: {rounded(found['after'][layer])}"
    return finish(figure, f"{said}; the last layer says {rounded(found['after'][-1])}", height=330)


def _ends(interval: Sequence[float] | None) -> str:
    return f" ({rounded(interval[0])} to {rounded(interval[1])})" if interval else ""


def roc(scores: Mapping[str, Entry], when: str, log: bool = False, dark: bool = False) -> go.Figure:
    """Draw the ROC curves of the membership attacks on one model.

    scores: {title: score entry of metrics.json}.
    """
    figure = go.Figure()
    low = 1e-2
    for place, (title, score) in enumerate(scores.items()):
        curve = score["details"]["roc_log" if log else "roc"]
        figure.add_scatter(
            x=curve["fpr"],
            y=curve["tpr"],
            name=f"{text(title)}, AUC {rounded(score['value'])}{_ends(score['details'].get('interval'))}",
            mode="lines",
            line={"color": hue(place, dark), "width": 2.5},
            hovertemplate=f"{text(title)}: %{{y:.0%}} found at %{{x:.0%}} false alarms<extra></extra>",
        )
    figure.add_scatter(
        x=[low if log else 0, 1],
        y=[low if log else 0, 1],
        mode="lines",
        name="chance",
        line={"color": paint(GENERAL, dark), "dash": "dash", "width": 1.2},
        hoverinfo="skip",
    )
    kind = {"type": "log"} if log else {"range": [-0.02, 1.02]}
    figure.update_xaxes(title_text="false positive rate", **kind)
    figure.update_yaxes(title_text="true positive rate", **kind)
    far = max(scores.items(), key=lambda s: abs(number(s[1]["value"]) - 0.5), default=None)
    said = (
        f"{far[0]} is furthest from chance: AUC {rounded(far[1]['value'])}"
        if far
        else "No membership attack yet"
    )
    figure = finish(figure, said, height=420)
    figure.update_layout(margin_b=120)
    return figure


def _sides(entry: Entry) -> dict[str, float]:
    control = entry["retrained"] if entry["retrained"] is not None else entry["never_seen"]
    found = {"control": control, "before": entry["before"], "after": entry["after"]}
    return {side: number(value) for side, value in found.items() if value is not None}


def percent(share: Written) -> str:
    """Return a share as "12 %"."""
    return f"{whole(100 * number(share))} %"


def _mix(color: str, share: float, base: tuple[int, int, int]) -> str:
    top = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(b + share * (t - b)):02X}" for b, t in zip(base, top, strict=True))
