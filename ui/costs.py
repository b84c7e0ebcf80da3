"""Draws what runs cost beside retraining, and asks for training tokens that only a person knows."""

from collections.abc import Sequence

import streamlit as st

from ui import actions, shell
from unlearn.report import numbers
from unlearn.results import cost
from unlearn.results.compare import SIDES
from unlearn.store.runs import Run

HELP = (
    "How many tokens the model was trained on, as its model card says; not known here. Retraining takes "
    "6 · N · these tokens FLOP, N the parameters, so the ratio to a run is theirs to its own trained tokens."
)


def training_tokens(model: str, key: str = "launch") -> float | None:
    """Draw a field for the tokens that a model was trained on, and return them.

    It is None where the catalogue knows them, or nothing was entered.
    """
    if not model or cost.is_known(model):
        return None
    return st.number_input(
        "Training tokens of the model",
        min_value=cost.LOW,
        max_value=cost.HIGH,
        value=None,
        format="%.3g",
        placeholder="not known, such as 2e12",
        key=f"costs.{key}.{model}",
        help=HELP,
        width=300,
    )


def remember(run: Run) -> None:
    """Keep with a new run what was entered for its model on the Unlearn page."""
    if entered := st.session_state.get(f"costs.launch.{run.config.model}"):
        actions.do("enter cost", run, entered)


def costs(runs: Sequence[Run]) -> None:
    """Draw time, tokens, FLOPs and memory of each run, and the ratio of retraining to it with its formula."""
    st.subheader("Cost", anchor=False)
    told = [dict(numbers.cost(run)) for run in runs]
    heads = list(SIDES[: len(runs)].upper()) if len(runs) > 1 else ["Value"]
    names = dict.fromkeys(name for one in told for name in one)
    rows: list[dict[str, str | None]] = [
        {"what": name, **{head: one.get(name) for head, one in zip(heads, told, strict=True)}}
        for name in names
    ]
    if not rows:
        st.info("A run counts its cost when it has ended.")
        return
    columns = {head: st.column_config.TextColumn(head, alignment="right") for head in heads}
    st.dataframe(
        rows,
        column_config={"what": "What", **columns},
        hide_index=True,
        placeholder="–",
        key="costs.table",
        alt="What the runs cost, beside retraining",
    )
    for head, run in zip(heads, runs, strict=True):
        if run.results() and not cost.of_run(run) and shell.may_manage(run):
            name = f"Run {head}: " if len(runs) > 1 else ""
            st.caption(f"{name}what retraining would take is not known for {shell.plain(run.config.model)}.")
            if entered := training_tokens(run.config.model, run.id):
                actions.pressed("enter cost", run, entered)
                st.rerun()
