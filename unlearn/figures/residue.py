"""Draws what each kind of attack leaves, on one scale from the retrained model (0 %) to the original (100 %).

attacks.json in, a plotly figure out; pure, no torch, no streamlit.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.figures.base import AFTER_A, GENERAL, finish, paint, text
from unlearn.figures.stress import NAMES, SIDES, named, percent
from unlearn.results import residue
from unlearn.results.verdict import counts
from unlearn.store.shapes import JsonView


def left(record: JsonView, dark: bool = False) -> go.Figure:
    """Draw what each kind of attack leaves, the worst on top: 0 % like the retrained model, 100 % like the original.

    The worst setting of a kind is a large circle with its 95 % interval and its value, the other settings are small
    ones; a bar marks where a guess would lie. record: attacks.json.
    """
    lines: dict[str, list[JsonView]] = {}
    for row in residue.rows(record):
        if row["says"] and row["residue"] is not None:
            lines.setdefault(row["family"], []).append(row)
    places = {family: _place(family, found[0]) for family, found in lines.items()}
    figure = go.Figure()
    control = named("control", str(record.get("control", "")))
    _other_settings(figure, lines, places, dark)
    _worst_settings(figure, lines, places, dark)
    _chances(figure, lines, places, dark)
    # The two ends are drawn last, so that a circle on one of them does not hide it.
    for x, side, said in ((0.0, "control", control), (1.0, "before", NAMES["before"])):
        color, symbol = SIDES[side]
        figure.add_scatter(
            x=[x] * len(places),
            y=list(places.values()),
            name=said,
            mode="markers",
            cliponaxis=False,
            marker={"color": paint(color, dark), "symbol": symbol, "size": 10},
            hovertemplate=f"{said}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", ticklabelstandoff=8)
    figure.update_xaxes(range=[-0.04, 1.04], tickformat=".0%", title_text="what is left")
    top = next(iter(lines.values()), [])
    said = "No attack was carried out yet"
    if top:
        said = f"{text(top[0]['title'])} leaves most: {percent(top[0]['residue'])} of what the original has"
    return finish(figure, said, height=150 + 46 * len(places))


def _place(family: str, worst: JsonView) -> str:
    """The label of a line: the attack, and under it the worst value."""
    return f"{text(family)}<br><b>{percent(worst['residue'])}</b>, {text(worst['n'])} texts"


def _told(row: JsonView) -> str:
    """What a point says when the mouse is on it: its setting, value, interval and seed."""
    said = f"{text(row['title'])}<br>{percent(row['residue'])} left"
    if row["around"]:
        said += f", 95 % interval {percent(row['around'][0])} to {percent(row['around'][1])}"
    said += f"<br>{percent(row['value'])}{counts(row).short}, n {row['n']}; original {percent(row['before'])}"
    if row["control"] is not None:
        said += f", control {percent(row['control'])}"
    return f"{said}<br>seed {row['seed']}"


def _other_settings(
    figure: go.Figure, lines: Mapping[str, Sequence[JsonView]], places: Mapping[str, str], dark: bool
) -> None:
    found = [(places[family], row) for family, mine in lines.items() for row in mine[1:]]
    if found:
        figure.add_scatter(
            x=[row["residue"] for _, row in found],
            y=[place for place, _ in found],
            name="other settings",
            mode="markers",
            cliponaxis=False,
            opacity=0.45,
            marker={"color": paint(AFTER_A, dark), "symbol": "circle-open", "size": 8},
            customdata=[_told(row) for _, row in found],
            hovertemplate="%{customdata}<extra></extra>",
        )


def _worst_settings(
    figure: go.Figure, lines: Mapping[str, Sequence[JsonView]], places: Mapping[str, str], dark: bool
) -> None:
    worst = [mine[0] for mine in lines.values()]
    ends = [row["around"] or (row["residue"], row["residue"]) for row in worst]
    figure.add_scatter(
        x=[row["residue"] for row in worst],
        y=list(places.values()),
        name="unlearned, worst setting",
        mode="markers",
        cliponaxis=False,
        marker={"color": paint(AFTER_A, dark), "symbol": "circle", "size": 14},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, high - row["residue"]) for (_, high), row in zip(ends, worst, strict=True)],
            "arrayminus": [max(0.0, row["residue"] - low) for (low, _), row in zip(ends, worst, strict=True)],
            "color": paint(AFTER_A, dark),
            "thickness": 2,
            "width": 4,
        },
        customdata=[_told(row) for row in worst],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _chances(
    figure: go.Figure, lines: Mapping[str, Sequence[JsonView]], places: Mapping[str, str], dark: bool
) -> None:
    found = [(places[family], mine[0]["chance"]) for family, mine in lines.items()]
    found = [(place, chance) for place, chance in found if chance is not None and 0 <= chance <= 1]
    if found:
        figure.add_scatter(
            x=[chance for _, chance in found],
            y=[place for place, _ in found],
            name="a guess",
            mode="markers",
            marker={"color": paint(GENERAL, dark), "symbol": "line-ns-open", "size": 16, "line_width": 2},
            hovertemplate="a guess: %{x:.0%}<extra></extra>",
        )
