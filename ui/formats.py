"""Draws what a chat model still says in each prompt format, for every page that shows what a run left."""

from collections.abc import Sequence

import streamlit as st

from unlearn.results import formats
from unlearn.results.compare import SIDES
from unlearn.store.runs import Run


def sheet(runs: Sequence[Run]) -> None:
    """Draw what a chat model still says in each prompt format, where it was asked."""
    table = formats.rows(runs)
    if not table:
        return
    st.subheader("In every prompt format", anchor=False)
    for letter, run in zip(SIDES.upper(), runs, strict=False):
        said = formats.headline(run)
        st.markdown(f"{letter}: {said}" if said and len(runs) > 1 else said)
    text, letters = st.column_config.TextColumn, SIDES[: len(runs)]
    after = {one: text(f"After {one.upper()}" if len(runs) > 1 else "After") for one in letters}
    truth = {"retrained": text("Retrained")} if any(row["retrained"] for row in table) else {}
    heads = {"role": text("Rows"), "format": text("Asked"), "before": text("Before"), **after, **truth}
    st.dataframe(
        table,
        column_order=list(heads),
        column_config=heads,
        hide_index=True,
        height="content",
        key="formats.table",
        placeholder="–",
        alt="Right answers in each prompt format, before and after",
    )
    st.caption(
        "Right: the greedy answer holds half of the true answer's words. At most 25 questions a role; in brackets the "
        "95 % interval."
    )
