"""Draws the table of scores of the runs, with deltas, definitions, CSV and LaTeX."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from ui import minus
from unlearn.data.base import TITLES
from unlearn.results import score_export
from unlearn.results.compare import METRICS, SIDES, rounded
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

MEANING = "  \n".join(f"**{title}**: {what}." for title, what, _ in METRICS.values())


def score_sheet(runs: Sequence[Run]) -> None:
    """Draw the table, or say what is missing."""
    table = score_export.rows(runs)
    if not table:
        st.info("Nothing was scored yet: a run scores before training and after.")
        return
    two = len(runs) == 2
    order = _retrained_first([key for key, _ in score_export.columns(runs, table)])
    if two:
        order.insert(order.index("delta_b") + 1, "beside")
        table = [row | {"beside": _beside(row)} for row in table]
    table = [
        row
        | {"role": TITLES.get(row["role"], row["role"])}
        | {key: score_export.interval(ends) for key, ends in row.items() if key.startswith("around_")}
        for row in table
    ]
    signed = {
        key: partial(rounded, sign=True) for key in order if key == "beside" or key.startswith("delta_")
    }
    st.dataframe(
        minus.written(table, signed),
        column_order=order,
        column_config=_columns(len(runs)),
        hide_index=True,
        height="content",
        key="scores.table",
        placeholder="–",
        alt="Scores by role and metric, before and after, with deltas",
    )
    seeds = ", ".join(str(run.config.seed) for run in runs)
    with st.container(horizontal=True, vertical_alignment="center"):
        _download("CSV", lambda: score_export.as_csv(runs), "scores.csv", "text/csv")
        _download("LaTeX", lambda: score_export.as_latex(runs), "scores.tex", "application/x-tex")
        st.caption(
            f"Seed {seeds}. Greedy decoding. Δ is after minus before of the same run.", width="content"
        )


def _retrained_first(order: Sequence[str]) -> list[str]:
    """The columns with the retrained model's beside the original's: the last ones of two runs lie beyond a screen."""
    found = [key for key in order if key != "retrained"]
    if "before" not in found or "retrained" not in order:
        # Each run has its own.
        return list(order)
    at = found.index("before") + 1
    return [*found[:at], "retrained", *found[at:]]


def _beside(row: JsonObject) -> float | None:
    """B's after minus A's: A is the baseline."""
    return None if None in (row["a"], row["b"]) else row["b"] - row["a"]


def _download(label: str, data: Callable[[], str], name: str, kind: str) -> None:
    st.download_button(
        label,
        data=data,
        file_name=name,
        mime=kind,
        icon=":material/download:",
        key=name,
        on_click="ignore",
    )


def _columns(runs: int) -> JsonObject:
    number = st.column_config.NumberColumn
    sides: JsonObject = {}
    for letter in SIDES[:runs]:
        name = f" {letter.upper()}" if runs > 1 else ""
        sides[f"n_{letter}"] = number(f"n{name}", help="Rows scored.", format="%d")
        sides[f"before_{letter}"] = number(f"Before{name}", help="The model before this run.", format="%.3g")
        sides[f"retrained_{letter}"] = number(
            f"Retrained{name}", help="A model trained without this run's forget rows.", format="%.3g"
        )
        sides[letter] = number(f"After{name}", help="After unlearning.", format="%.3g")
        sides[f"around_{letter}"] = st.column_config.TextColumn(
            f"95 %{name}", help="95 % interval of the score after unlearning, over its texts."
        )
        own = f"After minus before, both of run {letter.upper()}." if name else "After minus before."
        sides[f"delta_{letter}"] = number(f"Δ{name}", help=own)
    return sides | {
        "role": st.column_config.TextColumn("Rows", help="Forget rows must go; every other role must stay."),
        "score": st.column_config.TextColumn("Score", help=MEANING),
        "n": number("n", help="Rows scored.", format="%d"),
        "before": number("Before", help="The original model.", format="%.3g", width=85),
        "beside": number("B − A", help="After B minus after A: A is the baseline."),
        "retrained": number("Retrained", help="A model trained without the forget rows.", format="%.3g"),
        "goal": st.column_config.TextColumn("Goal", help="Which direction is good."),
    }
