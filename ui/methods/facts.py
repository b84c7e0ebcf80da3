"""Draws one method as its own file describes it: idea, cost, failure, formula, settings, source."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from ui import forms, shell
from ui.sheet import sheet, unmarked
from unlearn.data.base import TITLES
from unlearn.methods.base import BUNDLED
from unlearn.models.load import CATALOGUE
from unlearn.results.measured import aim, measured
from unlearn.store.config import FORMATS
from unlearn.store.knobs import Knob
from unlearn.store.shapes import JsonView

if TYPE_CHECKING:
    from unlearn.methods.base import Method


SIZES = {"tiny": "Tiny, < 20 M", "small": "Small, < 1 B", "large": "Large, ≥ 1 B"}
# The roles in the table of what was measured.
COLUMNS = {role: TITLES[role] for role in ("forget", "paraphrase", "retain", "neighbours", "general")}
# The tuning with which the Unlearn page starts for each size.
TUNING = {"tiny": "full", "small": "lora", "large": "lora"}


def facts(method: "Method") -> None:
    """Draw everything that a method states about itself."""
    st.subheader(method.title, anchor=False)
    st.markdown(shell.plain(method.sentence))
    if method.collapses:
        st.warning(shell.plain(method.collapses), icon=":material/warning:")
    st.latex(method.formula)
    left, right = st.columns(2)
    with left:
        st.markdown(f"**When to use it.** {shell.plain(method.when)}")
        st.markdown(f"**How it fails.** {shell.plain(method.risk)}")
    with right:
        st.markdown(f"**Cost.** {shell.plain(method.cost)}")
        st.markdown(f"**Paper.** [{shell.plain(method.paper)}]({method.url})")
        for name, knobs in method.also.items():
            said = ", ".join(f"{k} = {plain_value(v)}" for k, v in knobs.items())
            st.caption(shell.plain(f"Called “{name}” in the paper" + (f": {said}" if said else ".")))
    with st.container(horizontal=True, vertical_alignment="center"):
        if method.follows:
            shell.link("runs", "Choose a finished run, and begin it there", ":material/blur_on:")
        else:
            shell.link("launch", "Unlearn with it", ":material/ink_eraser:", method=method.name)
        if method.changes_weights and not method.follows:
            st.button(
                "See its gradient",
                icon=":material/trending_down:",
                type="tertiary",
                on_click=lambda: st.query_params.update(view="explorer", method=method.name),
            )
    st.markdown("**Settings**, with the values that a run of each model size starts with")
    settings_sheet(settings_table(method), f"methods.settings.{method.name}")
    if rows := measured_table(method):
        st.markdown("**Measured here** with these settings: right answers, before → after, in %")
        st.table(rows, border="horizontal", hide_index=True, alt=f"What {method.title} did at its settings")
        for said in filter(None, map(aim, measured(method))):
            st.caption(shell.plain(said.replace("%", " %")))
    with st.expander("The source that runs", icon=":material/code:"):
        st.code(source(method), language="python", line_numbers=True)


def settings_sheet(rows: Sequence[Mapping[str, str]], key: str) -> None:
    """Draw the settings with what they mean below their names. A column without a word is left out."""
    heads = [
        head for head in rows[0] if head not in ("Setting", "Meaning") and any(row[head] for row in rows)
    ]
    columns = [("Setting", "none"), *((head, "none") for head in heads)]
    lines = [
        {"cells": [unmarked(row["Setting"], row["Meaning"]), *(unmarked(row[head]) for head in heads)]}
        for row in rows
    ]
    sheet(columns, lines, key=key, widths=("36%", *[""] * len(heads)))


def settings_table(method: "Method") -> list[dict[str, str]]:
    """Return the rows of learning rate, epochs, batch size and the method's own knobs.

    Each row has one tuned value for each model size, or model.
    """
    first = method.tunings[0]
    ways = {size: way if way in method.tunings else first for size, way in TUNING.items()}
    tuned = {SIZES[size]: method.settings(size, way) for size, way in ways.items()}
    origins = {SIZES[size]: method.origin(size) for size in ways}
    every = "+".join(FORMATS)
    for size, way in ways.items():
        if method.in_several(size, way, prompt=every):
            head = f"{SIZES[size]}, several formats"
            tuned[head] = method.settings(size, way, prompt=every)
            origins[head] = method.origin(size, tuning=way, prompt=every)
    # Any of them shows what they have in common.
    bundled = "tiny-dialogues"
    if method.settings_of("tiny", bundled) == BUNDLED:
        tuned["Bundled"] = method.settings("tiny", ways["tiny"], bundled)
        origins["Bundled"] = method.origin("tiny", bundled)
    for name in method.own_models():
        entry = CATALOGUE[name]
        tuned[entry.title] = method.settings(entry.size, method.tuning_for(entry.tuning), name)
        origins[entry.title] = method.origin(entry.size, name)
    rows = [_own_row(k, tuned) for k in forms.OWN]
    for knob in method.knobs():
        values = {head: knob_value(knob, found["knobs"][knob.name]) for head, found in tuned.items()}
        reach = ", ".join(knob.titles) if knob.choices else "on, off" if knob.kind == "bool" else ""
        rows.append(
            {
                "Setting": knob.label,
                "Default": knob_value(knob, knob.default),
                "Range": reach or f"{plain_value(knob.low)} to {plain_value(knob.high)}",
                **values,
                "Meaning": knob.help,
            }
        )
    rows.append(
        {"Setting": "Origin", "Default": "", "Range": "", **origins, "Meaning": "Where the values come from."}
    )
    return rows


def measured_table(method: "Method") -> list[dict[str, str]]:
    """Return one row for each model on which the method was measured at its default settings."""
    rows = []
    for found in measured(method):
        changes = {
            COLUMNS[role]: f"{100 * c.before:.0f} → {100 * c.after:.0f}"
            + (f" ± {100 * c.sd:.0f}" if found.seeds > 1 else "")
            for role, c in found.roles.items()
            if role in COLUMNS
        }
        rows.append(
            {
                "Model": CATALOGUE[found.model].title,
                "Seeds": str(found.seeds),
                **{head: changes.get(head, "–") for head in COLUMNS.values()},
                "General perplexity": f"× {found.perplexity:.3g}",
                "Collapsed": f"{found.collapsed} of {found.seeds}" if found.collapsed else "",
            }
        )
    return rows


def overview(methods: JsonView) -> list[dict[str, str]]:
    """Return one row for each method, in teaching order."""
    return [
        {
            "Method": method.title,
            "Idea": method.sentence,
            "Known to collapse": "yes" if method.collapses else "",
            "Paper": method.url,
        }
        for method in methods.values()
    ]


def at_a_glance(rows: Sequence[Mapping[str, str]]) -> None:
    """Draw overview() with every idea in full, and the papers as links below."""
    lines = [
        {
            "cells": [
                unmarked(row["Method"], row["Known to collapse"] and "known to collapse"),
                unmarked(row["Idea"]),
            ]
        }
        for row in rows
    ]
    sheet([("Method", "none"), ("Idea", "none")], lines, key="methods.all", widths=("30%", ""))
    papers = {row["Paper"]: row["Method"] for row in rows}
    st.caption("Papers: " + " · ".join(f"[{shell.plain(title)}]({url})" for url, title in papers.items()))


@st.cache_data(max_entries=64, show_spinner=False)
def _source(module: str) -> str:
    return inspect.getsource(sys.modules[module])


def source(method: "Method") -> str:
    """Return the text of the file in which the method stands, as it was imported."""
    return _source(method.__module__)


def plain_value(value: object) -> str:
    """Write a setting as a person writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}".replace("-", "−") if isinstance(value, int | float) else str(value)


def knob_value(knob: Knob, value: object) -> str:
    """Write a setting's value as the form shows it."""
    return knob.title(str(value)) if knob.choices else plain_value(value)


def _own_row(knob: Knob, tuned: JsonView) -> dict[str, str]:
    values = {head: plain_value(found[knob.name]) for head, found in tuned.items()}
    reach = f"{plain_value(knob.low)} to {plain_value(knob.high)}"
    return {"Setting": knob.label, "Default": "", "Range": reach, **values, "Meaning": knob.help}
