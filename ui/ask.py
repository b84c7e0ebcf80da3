"""Asks a person's own question to the models of one or several runs."""

from collections.abc import Sequence

import streamlit as st

from ui import shell
from ui.sheet import changed, sheet, unmarked
from ui.start import waking
from unlearn.results.compare import nats, number
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject


def sources(runs: Sequence[Run]) -> list[tuple[str, tuple[str, Run], str]]:
    """Return (title, source for runner.ask, colour) of each model that these runs have."""
    from unlearn.figures.base import AFTER, BEFORE, RETRAINED, paint

    dark = shell.dark()
    out = [("Before", ("before", runs[0]), paint(BEFORE, dark))]
    for (letter, (color, _)), run in zip(AFTER.items(), runs, strict=False):
        if "after" in run.scores():
            title = f"After {letter.upper()}" if len(runs) > 1 else "After"
            out.append((title, ("after", run), paint(color, dark)))
    kept = [run for run in runs if "retrained" in run.scores()]
    return out + [("Retrained without it", ("retrained", run), paint(RETRAINED, dark)) for run in kept[:1]]


def question_form(key: str) -> tuple[str, str, bool] | None:
    """Draw the form and return (words, answer, whether they are continued as they are) once Ask was pressed."""
    with st.form(key, border=False):
        question = st.text_input("Question or opening words", key=f"{key}.question", max_chars=1000)
        answer = st.text_input(
            "Right answer (optional: its log-prob is scored)", key=f"{key}.answer", max_chars=400
        )
        raw = st.checkbox("Continue my words as they are, without a prompt around", key=f"{key}.raw")
        pressed = st.form_submit_button("Ask", icon=":material/send:")
    if not pressed:
        return None
    if not question.strip():
        st.warning("Write a question first.")
        return None
    words = question if raw else question.strip()
    return words, f" {answer.strip()}" if answer.strip() else "", raw


def put(
    words: str, answer: str, raw: bool, asked: Sequence[tuple[str, tuple[str, Run], str]]
) -> list[JsonObject] | None:
    """Return the reply of each source, or None with the reason on the page: the device is busy, or weights
    are gone.
    """
    waking.wait_for_torch()
    try:
        with st.spinner("Asking each model in turn"):
            return [shell.runner().ask(source, words, answer, raw=raw) for _, source, _ in asked]
    except (RuntimeError, ValueError, OSError) as error:
        st.warning(shell.plain(str(error)), icon=":material/hourglass_empty:")
        return None


def ask(runs: Sequence[Run]) -> None:
    """Draw the form, and the last replies side by side."""
    asked = sources(runs)
    ids = [f"{when}/{run.id}" for _, (when, run), _ in asked]
    if (given := question_form("ask")) and (replies := put(*given, asked)):
        st.session_state["ask.last"] = (ids, given, replies)
    kept = st.session_state.get("ask.last")
    if not kept or kept[0] != ids:
        st.caption("Nothing asked yet. Greedy decoding, 40 tokens at most, one model after the other.")
        return
    _, (words, answer, _), replies = kept
    cells = [unmarked(words, answer.strip())]
    for reply in replies:
        lps = [number(token["lp"]) for token in reply["tokens"]]
        note = f"log-prob {nats(sum(lps) / len(lps))} a token" if answer and lps else ""
        cells.append(changed(replies[0]["text"], reply["text"], note))
    columns = [("Question", "none"), *((title, color) for title, _, color in asked)]
    sheet(columns, [{"cells": cells}], key="ask.sheet")
