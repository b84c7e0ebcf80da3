"""Draws what a search tried: what is left of the forget rows against the utility kept, and the front.

Trials in (unlearn.results.search), a plotly figure out; no torch, no streamlit. The axes are as in every
trade-off here; the green line is the target. A point's customdata[0] is the ids of its runs, with commas between them.
"""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.figures.base import AFTER_A, BEFORE, FORGET, GENERAL, RETRAINED, finish, paint, text
from unlearn.results.compare import number
from unlearn.results.search import choice
from unlearn.results.search.choice import CHOSEN, Judged
from unlearn.results.search.record import SearchConfig, Trial
from unlearn.store.shapes import JsonView


def front(
    trials: Sequence[Trial],
    models: JsonView,
    config: SearchConfig,
    titles: Mapping[str, str],
    dark: bool = False,
) -> go.Figure:
    """Draw every trial that came to its end, the shipped settings, the best, the front, original and target.

    The numbers are those of the rows that the search goes by.
    """
    known, taken = choice.judged(trials, models), choice.best(trials, models, config)
    figure = go.Figure()
    _marks(
        figure,
        [one for one in known if one.trial.shipped],
        "shipped settings",
        "square",
        GENERAL,
        12,
        titles,
        dark,
    )
    others = [one for one in known if not one.trial.shipped and one != taken]
    _marks(figure, others, "tried", "circle", GENERAL, 9, titles, dark)
    _marks(figure, [taken] if taken else [], "taken", "circle", AFTER_A, 15, titles, dark)
    best = sorted((_place(one) for one in choice.front(trials, models)), key=lambda at: at[0])
    figure.add_scatter(
        x=[x for x, _ in best],
        y=[y for _, y in best],
        name="no other is better in both",
        mode="lines",
        hoverinfo="skip",
        line={"color": paint(FORGET, dark), "dash": "dot", "width": 1.5},
    )
    _bounds(figure, models, dark)
    if config.aim != "keep":
        figure.add_hline(
            config.kept,
            line={"color": paint(BEFORE, dark), "dash": "dash", "width": 1},
            annotation_text=f"enough is kept: {100 * config.kept:.0f} %",
            annotation_position="bottom right",
            annotation_font={"size": 11},
        )
    target = number(models.get(CHOSEN, {}).get("target"))
    if math.isfinite(target):
        figure.add_vline(target, line={"color": paint(RETRAINED, dark), "dash": "dash", "width": 1})
    figure.update_xaxes(title_text="probability of the forget answers", range=[-0.04, 1.04], tickformat=".0%")
    figure.update_yaxes(title_text="utility kept", range=[-0.04, 1.1], tickformat=".0%")
    figure = finish(figure, _sentence(known, taken, target), height=430)
    figure.update_layout(clickmode="event+select")
    return figure


def _place(one: Judged) -> tuple[float, float]:
    return number(one.trial.chosen.get("forget")), one.kept


def _marks(
    figure: go.Figure,
    some: Sequence[Judged],
    name: str,
    symbol: str,
    color: str,
    size: int,
    titles: Mapping[str, str],
    dark: bool,
) -> None:
    """One trace of marks; nothing where there are none."""
    if not some:
        return
    figure.add_scatter(
        x=[_place(one)[0] for one in some],
        y=[one.kept for one in some],
        name=name,
        mode="markers",
        cliponaxis=False,
        marker={"size": size, "color": paint(color, dark), "symbol": symbol},
        customdata=[[",".join(one.trial.runs), _hover(one, titles)] for one in some],
        hovertemplate="%{customdata[1]}<extra></extra>",
    )


def _hover(one: Judged, titles: Mapping[str, str]) -> str:
    trial = one.trial
    lines = [f"trial {trial.number + 1}, {text(titles.get(trial.method, trial.method))}"]
    lines += [f"{choice.label(name)} {text(choice.shown(value))}" for name, value in trial.settings.items()]
    lines.append(f"forget answers {choice.share(trial.chosen.get('forget'))}, {choice.share(one.kept)} kept")
    return "<br>".join(lines)


def _bounds(figure: go.Figure, models: JsonView, dark: bool) -> None:
    """The original model as a star and the exactly retrained one as a diamond, where they were scored."""
    known = models.get(CHOSEN, {})
    whole = number(known.get("before", {}).get("utility"))
    for when, name, color, symbol in (
        ("before", "original", BEFORE, "star"),
        ("retrained", "retrained", RETRAINED, "diamond"),
    ):
        scores = known.get(when)
        if scores and whole > 0:
            figure.add_scatter(
                x=[number(scores["forget"])],
                y=[number(scores["utility"]) / whole],
                name=name,
                mode="markers",
                cliponaxis=False,
                marker={"color": paint(color, dark), "symbol": symbol, "size": 15},
                hovertemplate=f"{name}<br>forget answers %{{x:.0%}}, %{{y:.0%}} of the utility<extra></extra>",
            )


def _sentence(known: Sequence[Judged], taken: Judged | None, target: float) -> str:
    if taken is None:
        return "No setting has been tried to its end yet"
    there = choice.share(taken.trial.chosen.get("forget"))
    which = f"Of {len(known)} settings the one taken" if len(known) > 1 else "The one setting tried"
    return (
        f"{which} leaves the forget answers at {there} (target {choice.share(target)}) and keeps "
        f"{choice.share(taken.kept)} of the utility"
    )
