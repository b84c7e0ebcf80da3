"""Draws how far each metric can be trusted: its AUC with an interval, and its robustness, beside published figures.

Judged metrics in, plotly figures out; no torch, no streamlit.
"""

from collections.abc import Sequence

import plotly.graph_objects as go

from unlearn.figures.base import GENERAL, RETAIN, finish, paint, text
from unlearn.results.trust import CARE, COIN, GOOD, Judged, best_of


def faithfulness(metrics: Sequence[Judged], dark: bool = False) -> go.Figure:
    """Draw one line for each metric, the most faithful on top, its AUC ● with its interval, a paper's ◇ beside it."""
    shown = [one for one in metrics if one.faithfulness]
    figure, names = go.Figure(), [text(one.title) for one in shown]
    found = [one.faithfulness for one in shown if one.faithfulness]
    figure.add_scatter(
        x=[mean.value for mean in found],
        y=names,
        name="here",
        mode="markers",
        cliponaxis=False,
        marker={"color": paint(RETAIN, dark), "size": 9},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [mean.interval[1] - mean.value for mean in found],
            "arrayminus": [mean.value - mean.interval[0] for mean in found],
            "thickness": 1.5,
            "width": 3,
        },
        customdata=[f"{mean.interval[0]:.2f} to {mean.interval[1]:.2f}" for mean in found],
        hovertemplate="%{y}: AUC %{x:.3f}, %{customdata}<extra>here</extra>",
    )
    theirs = [one for one in shown if one.published]
    if theirs:
        figure.add_scatter(
            x=[one.published.faithfulness for one in theirs if one.published],
            y=[text(one.title) for one in theirs],
            name="published, a model of 1 B",
            mode="markers",
            cliponaxis=False,
            marker={
                "color": paint(GENERAL, dark),
                "symbol": "square-open",
                "size": 10,
                "line": {"width": 2},
            },
            hovertemplate="%{y}: AUC %{x:.3f}<extra>published</extra>",
        )
    for at in (COIN, CARE, GOOD):
        figure.add_vline(at, line={"color": paint(GENERAL, dark), "dash": "dot", "width": 1})
    figure.update_yaxes(autorange="reversed", ticksuffix="  ", dtick=1)
    lowest = min((mean.interval[0] for mean in found), default=0.5)
    figure.update_xaxes(range=[min(0.4, lowest) - 0.02, 1.02], title_text="AUC (0.5 is a coin)")
    sure = sum(one.grade == "good" for one in shown)
    title = (
        f"{sure} of {len(shown)} metrics lie wholly above an AUC of {GOOD:g}"
        if shown
        else "No metric was tested yet"
    )
    return finish(figure, title, height=130 + 24 * len(shown))


def plane(metrics: Sequence[Judged], dark: bool = False) -> go.Figure:
    """Draw faithfulness against robustness, where good is up and to the right, with published figures hollow."""
    figure = go.Figure()
    ours = [one for one in metrics if one.faithfulness and one.robustness is not None]
    figure.add_scatter(
        x=[one.faithfulness.value for one in ours if one.faithfulness],
        y=[one.robustness for one in ours],
        name="here",
        mode="markers",
        cliponaxis=False,
        text=[text(one.title) for one in ours],
        marker={"color": paint(RETAIN, dark), "size": 10},
        hovertemplate="%{text}: AUC %{x:.2f}, robustness %{y:.2f}<extra>here</extra>",
    )
    theirs = [one for one in ours if one.published]
    if theirs:
        figure.add_scatter(
            x=[one.published.faithfulness for one in theirs if one.published],
            y=[one.published.robustness for one in theirs if one.published],
            name="published, a model of 1 B",
            mode="markers",
            cliponaxis=False,
            text=[text(one.title) for one in theirs],
            marker={
                "color": paint(GENERAL, dark),
                "symbol": "square-open",
                "size": 11,
                "line": {"width": 2},
            },
            hovertemplate="%{text}: AUC %{x:.2f}, robustness %{y:.2f}<extra>published</extra>",
        )
    figure.update_xaxes(range=[0.28, 1.03], title_text="faithfulness, AUC")
    figure.update_yaxes(range=[-0.03, 1.03], title_text="robustness (relearning and rounding)")
    # The page's sentence names the best of those that are good, where some are.
    best = best_of([one for one in ours if one.grade == "good"] or ours)
    title = (
        f"Good is up and to the right; {best.title} is the best of both"
        if best
        else "No metric has both numbers yet"
    )
    return finish(figure, title, height=420)
