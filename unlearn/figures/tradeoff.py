"""Draws forget against retain, one mark for each model, over a pale background of what is already known.

Plain marks of unlearn.results.compare in, plotly figures out; no torch, no streamlit.
"""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from unlearn.figures.base import AFTER, BEFORE, GENERAL, RETRAINED, Record, finish, paint, text
from unlearn.results.compare import METRICS, number, rounded

# The titles of scores that are no shares.
NO_SHARES = {title for title, _, better in METRICS.values() if better == "lower"}


def tradeoff(points: Sequence[Record], metric: str = "accuracy", dark: bool = False) -> go.Figure:
    """Draw forget against retain, one mark for each model: original ★, retrained ◆, runs as circles sized by
    their time.

    points: {"label", "kind": "before" | "A" | "B" | … | "other" | "recorded" | "retrained", "forget", "retain",
    "seconds"?}. Those recorded are a pale background.
    """
    in_percent = metric not in NO_SHARES and all(
        0 <= number(p.get(role)) <= 1 for p in points for role in ("forget", "retain")
    )
    said = _percent if in_percent else rounded
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
            hovertemplate=f"<b>{label}</b><br>forget {said(x)}<br>retain {said(y)}{took}<extra></extra>",
        )
    figure.update_xaxes(title_text=f"{metric} left on forget rows")
    figure.update_yaxes(title_text=f"{metric} kept on retain rows")
    if in_percent:
        # A share is drawn on the whole scale, so that small gaps look small.
        figure.update_xaxes(range=[-0.05, 1.05], tickformat=".0%")
        figure.update_yaxes(range=[-0.05, 1.05], tickformat=".0%")
    return finish(figure, _tradeoff_sentence(points, metric, in_percent), height=380)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


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
            hovertemplate="%{customdata}<br>forget %{x:.0%}, retain %{y:.0%}<extra></extra>",
        )


def _tradeoff_sentence(points: Sequence[Record], metric: str, in_percent: bool) -> str:
    start = next((p for p in points if p["kind"] == "before"), None)
    said = []
    for p in points:
        if p["kind"].lower() in AFTER and start:
            pairs = [
                (role, *_went(start.get(role), p.get(role), in_percent)) for role in ("forget", "retain")
            ]
            said.append(f"{text(p['label'])}: " + ", ".join(f"{role} {b} → {a}" for role, b, a in pairs))
    return f"{metric}, " + "; ".join(said) if said else f"Forget against retain: {metric}"


def _went(before: float | None, after: float | None, in_percent: bool) -> tuple[str, str]:
    """Both numbers as they stand beside an arrow; shares are per cent."""
    if in_percent:
        shares = [100 * number(value) for value in (before, after)]
        was, now = (f"{share:.0f}" if share >= 9.5 else f"{share:.2g}" for share in shares)
        return was, f"{now} %"
    return rounded(before), rounded(after)
