"""Draws the answers of the runs as a table, with filters for its rows."""

import math
from collections.abc import Mapping, Sequence

import streamlit as st

from ui import shell, view
from ui.sheet import changed, sheet, unmarked
from unlearn.data.base import TITLES
from unlearn.results.compare import VERDICTS, fall, nats, number, sides
from unlearn.store.shapes import JsonObject, JsonView

# The number of rows on the screen at first.
EACH = 12
MEANING = (
    "**forgotten**: right before, not right after. **not forgotten**: still right. **over-forgotten**: the "
    "answer is empty or repeats itself, or the right answer is over 2 nats a token less likely than after "
    "retraining without it. **never known**: not right before either. Of several runs one is enough."
)


def answers(rows: Sequence[JsonObject], run_id: str, several: bool, scored: Mapping[str, int]) -> None:
    """Draw the role chooser, the filters and the table. A click on "tokens" leads to the Tokens page.

    scored: the number of rows of each role over which the scores are means. Answers are kept of the first of them
    alone.
    """
    from unlearn.figures.base import AFTER, BEFORE, RETRAINED, paint

    shown = filtered(rows)
    if not shown:
        st.info("No row passes these filters: take one away.", icon=":material/filter_alt_off:")
        return
    dark = shell.dark()
    columns = [("Question and right answer", "none"), ("Before", paint(BEFORE, dark))]
    letters = [side for side in sides(rows[0]) if any(row[side] for row in rows)]
    columns += [
        (f"After {side.upper()}" if several else "After", paint(AFTER[side][0], dark)) for side in letters
    ]
    truth = any(row["retrained"] for row in shown)
    columns += [("Retrained without it", paint(RETRAINED, dark))] if truth else []
    more = st.session_state.get("answers.more", 0)
    drawn, lines = shown[: EACH * (more + 1)], []
    st.caption(_counted(len(drawn), shown, rows, scored))
    for row in drawn:
        old = row["before"] or {"text": ""}
        cells = [unmarked(row["question"], row["answer"].strip()), cell(row["before"])]
        for side in letters:
            was = row[f"before_{side}"] or row["before"]
            cells.append(cell(row[side], (was or old)["text"], row[f"verdict_{side}"], fall(was, row[side])))
        cells += [cell(row["retrained"], old["text"])] if truth else []
        lines.append({"cells": cells, "open": f"{row['role']}/{row['index']}"})
    if opened := sheet(columns, lines, key="compare.sheet"):
        role, index = opened.split("/")
        st.switch_page(shell.page("tokens"), query_params={"run": run_id, "role": role, "row": index})
    if len(shown) > len(lines) and st.button(f"{len(shown) - len(lines)} more", key="answers.button"):
        st.session_state["answers.more"] = more + 1
        st.rerun()


def _counted(
    drawn: int, shown: Sequence[JsonObject], rows: Sequence[JsonObject], scored: Mapping[str, int]
) -> str:
    """Say how many rows are on the screen, of how many that were kept, of how many that were scored."""
    role = shown[0]["role"]
    kept, of = sum(row["role"] == role for row in rows), scored.get(role) or 0
    more = f" Answers are kept of the first {kept} rows; the scores are over {of}." if of > kept else ""
    fit = f"{len(shown)} that fit, of " if len(shown) < kept else ""
    return f"{drawn} of {fit}{kept} rows, most changed first. Δ: log-prob after minus before.{more}"


def filtered(rows: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the rows that pass the widgets above the table (role, verdict, fall), most changed ones first."""
    roles = list(dict.fromkeys(row["role"] for row in rows))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        keep = view.widget("answers.role", "rows", roles[0], roles)
        role = st.segmented_control(
            "Rows in the table",
            roles,
            required=True,
            format_func=lambda role: TITLES.get(role, role),
            wrap=True,
            key="answers.role",
            on_change=keep,
        )
        here = [row for row in rows if row["role"] == role]
        counts = {verdict: sum(verdict in _verdicts(row) for row in here) for verdict in VERDICTS}
        options = [verdict for verdict in VERDICTS if counts[verdict]]
        names = lambda verdict: f"{verdict} ({counts[verdict]})"  # noqa: E731
        wanted = options and st.pills(
            "Show only",
            options,
            selection_mode="multi",
            format_func=names,
            wrap=True,
            key=f"answers.{role}",
            help=MEANING,
            on_change=view.widget(f"answers.{role}", "show", [], options),
        )
        least = st.number_input(
            "Fell by at least (nats)",
            min_value=0.0,
            value=None,
            step=0.5,
            width=190,
            key="answers.least",
            on_change=view.widget("answers.least", "fell", None),
            placeholder="any",
            help="How much less likely the right answer became: log-prob before minus after, mean per token.",
        )
    if wanted:
        here = [row for row in here if _verdicts(row) & set(wanted)]
    if least:
        here = [row for row in here if _furthest(row) >= least]
    return sorted(here, key=_furthest, reverse=True)


def _verdicts(row: JsonView) -> set[str]:
    return {row[f"verdict_{side}"] for side in sides(row)}


def _furthest(row: JsonView) -> float:
    """How far the right answer fell after the run that took most of it."""
    falls = [fall(row[f"before_{side}"], row[side]) for side in sides(row)]
    return max((one for one in falls if math.isfinite(one)), default=-math.inf)


def cell(
    sample: JsonObject | None, old: str | None = None, verdict: str = "", fell: float = math.nan
) -> dict:
    """Return one answer as a cell: its words (changed ones marked where `old` is given), verdict and
    log-prob.
    """
    if sample is None:
        return unmarked("", "not there")
    note = f"{verdict}\n" if verdict else ""
    note += f"log-prob {nats(-number(sample['nll']))}"
    note += f" · Δ {nats(-fell, sign=True)}" if math.isfinite(fell) else ""
    return unmarked(sample["text"], note) if old is None else changed(old, sample["text"], note)
