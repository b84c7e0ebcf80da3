"""The table of scores: all roles and metrics of one or two runs, with deltas, definitions and a CSV file."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from unlearn.compare import METRICS, described, score_table
from unlearn.runs import Run

GOALS = {"forget": "as retrained", "paraphrase": "as retrained", "approximate": "unchanged"}  # else: keep it
MEANING = "  \n".join(f"**{title}**: {what}." for title, what, _ in METRICS.values())


def score_sheet(runs: Sequence[Run]) -> None:
    """Draw the table, or say what is missing."""
    rows = score_table(runs)
    if not rows:
        st.info("Nothing was scored yet: a run scores before training and after.")
        return
    two, truth = len(runs) > 1, any(row["retrained"] == row["retrained"] for row in rows)
    table = [_line(row) for row in rows]
    order = ["role", "score", "n", "before", "a", "delta_a", *(["b", "delta_b"] if two else [])]
    order += [*(["retrained"] if truth else []), "goal"]
    st.dataframe(
        table,
        column_order=order,
        column_config=_columns(two),
        hide_index=True,
        height="content",
        key="scores.table",
        alt="Scores by role and metric, before and after, with deltas",
    )
    seeds = ", ".join(str(run.config.seed) for run in runs)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "CSV",
            data=lambda: _csv(table, [*order, "what"]),
            file_name="scores.csv",
            mime="text/csv",
            icon=":material/download:",
            key="scores.csv",
            on_click="ignore",
        )
        st.caption(
            f"Seed {seeds}. Greedy decoding. Δ is after minus before of the same run.", width="content"
        )


def _line(row: dict[str, Any]) -> dict[str, Any]:
    title, what, better = described(row["metric"])
    goal = GOALS.get(row["role"], f"{better} is better" if better else "")
    numbers = {k: None if isinstance(v, float) and v != v else v for k, v in row.items()}
    return numbers | {"score": title, "goal": goal, "what": what}


def _columns(two: bool) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    after, delta = ("After A", "Δ A") if two else ("After", "Δ")
    return {
        "role": st.column_config.TextColumn("Rows", help="Forget rows must go; every other role must stay."),
        "score": st.column_config.TextColumn("Score", help=MEANING),
        "n": number("n", help="Rows scored.", format="%d"),
        "before": number("Before", help="The original model.", format="%.3g"),
        "a": number(after, help="After unlearning.", format="%.3g"),
        "delta_a": number(delta, help="After minus before.", format="%+.3g"),
        "b": number("After B", help="After unlearning.", format="%.3g"),
        "delta_b": number("Δ B", help="After minus before, both of run B.", format="%+.3g"),
        "retrained": number("Retrained", help="A model trained without the forget rows.", format="%.3g"),
        "goal": st.column_config.TextColumn("Goal", help="Which direction is good."),
    }


def _csv(table: Sequence[dict[str, Any]], order: Sequence[str]) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, order, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()
