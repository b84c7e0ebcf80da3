"""Draws what relearning brings back after methods that are to resist it, and what each says afterwards."""

from functools import partial

import streamlit as st

from ui import figure, shell
from ui.sheet import sheet, unmarked
from unlearn.models.catalogue import CATALOGUE
from unlearn.results import robust
from unlearn.results.benchmark import Spread
from unlearn.results.robust import ROBUST, Rows

HEADS = ("Of the right form, %", "Refusals, %", "Perplexity under the original")


def section() -> None:
    """Draw the section, or nothing where it was not measured."""
    rows = robust.recorded()
    worlds = robust.worlds(rows)
    if not worlds:
        return
    st.subheader("What resists relearning", anchor=False)
    world = worlds[0]
    if len(worlds) > 1:
        world = st.segmented_control(
            "Model",
            worlds,
            default=world,
            format_func=lambda name: CATALOGUE[name].title,
            required=True,
            wrap=True,
            key="methods.robust",
            label_visibility="collapsed",
        )
    st.markdown(shell.plain(robust.sentence(rows, world)))
    curves(rows, world)
    st.caption(
        "What is left is how likely the answers are that were not practised, from the retrained model after the same "
        "practice (0 %) to the original (100 %). Grey: plain methods, solid where they keep as much utility. The "
        "settings were chosen on other rows and with another seed."
    )
    if said := robust.said_sentence(rows, world):
        st.markdown(shell.plain(said))
        answers(rows, world)


def curves(rows: Rows, world: str) -> None:
    """Draw a figure for each robust method, two beside each other, or on a phone one below the other."""
    from unlearn.figures.robust import relearned

    stamp = robust.RECORD.stat().st_mtime_ns
    ways = list(robust.ways(rows, world, ROBUST))
    for at in range(0, len(ways), 2):
        for column, way in zip(st.columns(2), ways[at : at + 2], strict=False):
            with column:
                figure.show_kept(
                    (stamp, shell.dark()),
                    partial(relearned, rows, world, way, shell.dark()),
                    key=f"methods.robust.{world}.{way}",
                )


def answers(rows: Rows, world: str) -> None:
    """Draw the table of what kind of answers each model gives."""
    lines = [
        {
            "cells": [
                unmarked(title),
                unmarked(_percent(one["form"])),
                unmarked(_percent(one["refusals"])),
                unmarked(f"{one['perplexity'].mean:.3g}"),
            ]
        }
        for title, one in robust.said(rows, world).items()
    ]
    columns = [("Answers of", "none"), *((head, "none") for head in HEADS)]
    sheet(columns, lines, key=f"methods.answers.{world}", widths=("34%", *[""] * len(HEADS)))


def _percent(one: Spread) -> str:
    half = "" if one.high is None else f" ± {100 * (one.high - one.mean):.0f}"
    return f"{100 * one.mean:.0f}{half}"
