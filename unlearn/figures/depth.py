"""Draws what the layers of a model still hold: the profile of the Unlearning Depth Score, and the drift of states.

Entries of metrics.json in, plotly figures out; no torch, no streamlit.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.figures.base import AFTER_A, BEFORE, GENERAL, RETRAINED, finish, paint
from unlearn.results.compare import number, rounded
from unlearn.store.shapes import JsonView


def score_of(entry: JsonView, when: str = "after", role: str = "forget") -> JsonView | None:
    """Return one model's score in an entry of metrics.json. It is None where the entry has none."""
    return next((s for s in entry.get("scores", []) if (s["when"], s["role"]) == (when, role)), None)


def profile(entry: JsonView, dark: bool = False) -> go.Figure | None:
    """Draw at each layer what the original loses with this model's states put in, beside the retrained model's.

    entry: the metric uds in metrics.json. It is None where the run has no such score.
    """
    score = score_of(entry)
    details = (score or {}).get("details") or {}
    lacked, lost = (list(map(number, details.get(key, []))) for key in ("lacked", "lost"))
    if score is None or not lacked or len(lacked) != len(lost):
        return None
    figure, layers = go.Figure(), list(range(1, len(lacked) + 1))
    counted = [int(number(n)) for n in details.get("counted", [0] * len(layers))]
    texts = int(number(score["n"])) + int(number(details.get("left_out", 0)))
    lines = (
        ("retrained: all that there is to lose", lacked, RETRAINED, "diamond"),
        ("unlearned: what is lost", lost, AFTER_A, "circle"),
    )
    for name, values, color, symbol in lines:
        figure.add_scatter(
            x=layers,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": paint(color, dark), "width": 2.5},
            marker={"symbol": symbol, "size": 9},
            customdata=[f"counts at {n} of {texts} texts" for n in counted],
            hovertemplate="layer %{x}: %{y:.2f} nats, %{customdata}<extra>" + name.split(":")[0] + "</extra>",
        )
    dash = {"color": paint(BEFORE, dark), "dash": "dash", "width": 1.2}
    figure.add_hline(0, line=dash, annotation_text="original", annotation_position="bottom right")
    figure.update_xaxes(title_text="layer whose states are put into the original", dtick=_every(len(layers)))
    figure.update_yaxes(title_text="log-prob lost on the entities, nats")
    return finish(figure, said(score), height=340)


def said(score: JsonView) -> str:
    """Return what a profile shows, as a sentence with interval and n."""
    value, (low, high) = number(score["value"]), around(score)
    between = f" [{rounded(low)}, {rounded(high)}]" if low == low and high == high else ""
    return (
        f"{_share(value)} of what the retrained model lacks is gone from the layers: "
        f"UDS {rounded(value)}{between}, n {score['n']}; 0 all is there, 1 as if never seen"
    )


def around(score: JsonView) -> tuple[float, float]:
    """Return the 95 % interval of a score, or (nan, nan) where it has none."""
    found = (score.get("details") or {}).get("interval") or ("nan", "nan")
    return number(found[0]), number(found[1])


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value == value else "An unknown part"


def _every(count: int) -> int | None:
    return 1 if count < 13 else None


# What a drift figure compares: title, colour, marker, dash.
PAIRS: Mapping[str, tuple[str, str, str]] = {
    "after": ("unlearned", AFTER_A, "circle"),
    "retrained": ("retrained", RETRAINED, "diamond"),
    "before": ("original", BEFORE, "star"),
}


def drift(entry: JsonView, role: str = "forget", dark: bool = False) -> go.Figure | None:
    """Draw how far the states of each layer lie from the original's, and where its weights matter: a picture, no score.

    entry: the metric drift in metrics.json. It is None where the run has none of this role.
    """
    from plotly.subplots import make_subplots

    found = {when: score_of(entry, when, role) for when in PAIRS}
    known: dict[str, JsonView] = {
        when: dict(score["details"])
        for when, score in found.items()
        if score is not None and score.get("details")
    }
    if "after" not in known:
        return None
    panels = (
        ("cka", "alike (CKA)", "1 = the original's states, turned or scaled"),
        ("shift", "moved (PCA)", "in spreads of the original's texts"),
        ("fisher", "sensitive (Fisher)", "mean squared gradient a weight"),
    )
    figure = make_subplots(
        rows=1, cols=3, subplot_titles=[title for _, title, _ in panels], horizontal_spacing=0.09
    )
    for column, (key, _, unit) in enumerate(panels, 1):
        for when, (name, color, symbol) in PAIRS.items():
            values: Sequence[float] = [number(v) for v in known.get(when, {}).get(key, [])]
            if not values or (when == "before" and key != "fisher"):
                continue
            figure.add_scatter(
                x=list(range(1, len(values) + 1)),
                y=values,
                name=name,
                legendgroup=name,
                showlegend=key == "fisher",
                mode="lines+markers",
                line={"color": paint(color, dark), "width": 2},
                marker={"symbol": symbol, "size": 8},
                hovertemplate=f"{name}, layer %{{x}}: %{{y:.3g}}<extra></extra>",
                row=1,
                col=column,
            )
        figure.update_xaxes(title_text=f"layer<br>{unit}", row=1, col=column, dtick=_every(len(values)))
    figure.update_yaxes(range=[-0.03, 1.05], row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    figure.update_yaxes(type="log", row=1, col=3)
    figure.update_annotations(font_size=12, font_color=paint(GENERAL, dark))
    n = next(iter(known.values())).get("n", "")
    title = f"How the states of the {role} texts moved (n {n}): a picture, not a score of forgetting"
    figure = finish(figure, title, height=360)
    figure.update_layout(margin_b=110)
    return figure
