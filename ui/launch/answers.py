"""Draws what a model says to the fixed questions of its run: before, now, and what the retrained model says."""

import math
from typing import TYPE_CHECKING

import streamlit as st

from ui.launch import stages
from unlearn.results import likelihood
from unlearn.results.compare import question_of
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ColumnConfig


def now(run: Run) -> None:
    """Draw the fixed questions with what the model says now, as a table.

    Before the model was asked they stand there alone, so that nobody looks at a white page.
    """
    rows, records = lines(run), run.probes()
    if not rows:
        return
    bar = st.column_config.ProgressColumn(
        "likelihood", min_value=0, max_value=100, format="%.0f %%", width="small",
        help="Of the right answer: the mean probability of one of its tokens.",
    )  # fmt: skip
    names: dict[str, ColumnConfig | str] = {
        "set": st.column_config.TextColumn("set", width="small"),
        "answer": "right answer",
        "p": bar,
    }
    last = records[-1]["step"] if records else 0
    said = min((item.get("said", last) for item in records[-1]["items"]), default=last) if records else 0
    names["now"] = f"says at step {said}"
    asked = "before and now" if records else "that will be asked"
    st.dataframe(rows, column_config=names, hide_index=True, key=f"probes.{run.id}", alt=f"Questions {asked}")


def lines(run: Run) -> list[JsonObject]:
    """Return a line for each fixed question. What nobody has said yet is left out."""
    records = run.probes()
    if not records:
        return [
            {"set": one["role"], "question": one["question"], "answer": one["answer"].strip()}
            for one in stages.rows_to_come(run)
        ]
    first = {(item["role"], item["index"]): item for item in records[0]["items"]}
    truth = {
        (s["role"], s["prompt"], s["answer"]): s["text"] for s in run.samples() if s["when"] == "retrained"
    }
    rows = []
    for item in records[-1]["items"]:
        row = {
            "set": item["role"],
            "question": question_of(item),
            "answer": item["answer"].strip(),
            "before": first.get((item["role"], item["index"]), {}).get("text", "").strip(),
            "now": item["text"].strip(),
        }
        if truth:
            row["retrained"] = truth.get((item["role"], item["prompt"], item["answer"]), "").strip()
        share = likelihood.of_answer(item)
        rows.append(row | {"p": 100 * share if math.isfinite(share) else None})
    return rows
