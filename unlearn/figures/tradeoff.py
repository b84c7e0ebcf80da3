"""Draws forget against retain, one mark for each model, over a pale background of what is already known.

Plain marks of unlearn.results.compare in, plotly figures out; no torch, no streamlit.
"""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from unlearn.figures.base import AFTER, BEFORE, GENERAL, RETRAINED, Record, finish, paint, text
from unlearn.results.compare import number, rounded


def tradeoff(points: Sequence[Record], metric: str = "accuracy", dark: bool = False) -> go.Figure:
    """Draw forget against retain, one mark for each model: original ★, retrained ◆, runs as circles sized by
    their time.

    points: {"label", "kind": "before" | "A" | "B" | … | "other" | "recorded" | "retrained", "forget", "retain",
    "seconds"?}. Those recorded are a pale background.
    """
    times = [number(p["seconds"]) for p in points if p.get("seconds")]
    looks = {"before": (BEFORE, "star"), "retrained": (RETRAINED, "diamond")}
    looks |= {letter.upper(): look for letter, look in AFTER.items()}
    figure = go.Figure()
    _background(figure, [p for p in points if p["kind"] == "recorded"], dark)
    for p in (p for p in points if p["kind"] != "recorded"):
        color, symbol = looks.get(p["kind"], (GENERAL, "circle"))
        size, took, label = 15.0, "", text(p["label"])
        if p["kind"] not in ("before", "retrained"):
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
    figure.update_xaxes(title_text=f"{metric} left on forget rows")
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


def _tradeoff_sentence(points: Sequence[Record], metric: str) -> str:
    start = next((p for p in points if p["kind"] == "before"), None)
    said = []
    for p in points:
        if p["kind"].lower() in AFTER and start:
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
