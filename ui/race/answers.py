"""Draws the answers of several runs side by side: while they train, and at the end, the best verdict first."""

from collections.abc import Mapping, Sequence

import streamlit as st

from ui import shell, verdict
from ui.launch import answers, curves
from ui.sheet import changed, sheet, unmarked
from unlearn.results import conclusion, outcome
from unlearn.results.compare import question_of
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

# The number of questions of each set that stand side by side.
EACH = 6
COUNTS = {2: "the two", 3: "the three", 4: "the four"}


def answers_now(racers: Mapping[str, Run]) -> None:
    """Draw the fixed questions with what each model says at its newest look."""
    told = {name: answers.lines(run) for name, run in racers.items()}
    rows: list[JsonObject] = []
    for name, lines in told.items():
        for place, line in enumerate(lines):
            if place == len(rows):
                rows.append({key: line[key] for key in ("set", "question", "answer")})
            if "now" in line and rows[place]["question"] == line["question"]:
                rows[place][name] = line["now"]
    if not rows:
        return
    from unlearn.figures.gradient import hue

    dark = shell.dark()
    said = [name for name in racers if any(name in row for row in rows)]
    places = list(racers)
    columns = [("Question", "none"), *((name, hue(places.index(name), dark)) for name in said)]
    shown = [{"cells": [answers.asked(row), *(_now(row, name) for name in said)]} for row in rows]
    sheet(columns, shown, key=f"race.now.{next(iter(racers.values())).id}")


def _now(row: JsonView, name: str) -> JsonObject:
    """What this racer says; a dash where it was not asked yet, which is not the same as saying nothing."""
    return changed(row["answer"], row[name]) if name in row else unmarked("")


def verdicts_at_end(racers: Mapping[str, Run], ranked: Sequence[tuple[Run, JsonObject]]) -> None:
    """Draw the verdicts, the best first, and where to compare the runs.

    ranked: what unlearn.results.outcome.ranked() returns.
    """
    if not ranked:
        return
    names = {run.id: name for name, run in racers.items()}
    for place, ((run, found), cell) in enumerate(zip(ranked, st.columns(len(ranked)), strict=True), 1):
        color, icon = verdict.BADGES[found["word"]]
        with cell, st.container(border=True, gap="small"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{place}. {shell.plain(names[run.id])}**", width="content")
                st.badge(found["word"], icon=icon, color=color, help=conclusion.MEANS[found["word"]])
            st.markdown(verdict.kept_together(outcome.short(found)))
            if words := outcome.alarm(run):
                st.caption(shell.plain(words))
            attacked = found["gone"]["value"] is not None
            if not attacked and found["word"] in ("collapsed", "nothing to forget"):
                # There is nothing that an attack could bring back.
                continue
            label = "Look at the attacks" if attacked else "Is it really gone? Attack it"
            if st.button(label, icon=":material/bolt:", key=f"attack.{run.id}"):
                st.switch_page(shell.page("stress"), query_params={"run": run.id})
    runs = [run for run, _ in ranked]
    label = f"Compare {COUNTS.get(len(runs), 'the best four')}" if len(runs) > 1 else "Compare the answers"
    if st.button(label, type="primary", icon=":material/compare:", key=f"compare.{runs[0].id}"):
        st.switch_page(shell.page("compare"), query_params={"runs": ",".join(run.id for run in runs)})


def answers_at_end(racers: Mapping[str, Run], ranked: Sequence[tuple[Run, JsonObject]]) -> None:
    """Draw the answers of the runs in columns, in the order of their verdicts."""
    if not ranked:
        return
    runs, names = [run for run, _ in ranked], {run.id: name for name, run in racers.items()}
    places = list(racers.values())
    side_by_side([(names[run.id], run, places.index(run)) for run in runs])


def side_by_side(runs: Sequence[tuple[str, Run, int]]) -> None:
    """Draw the same questions with the answers before, after each run, and of the retrained model.

    runs: (name, run, its place among the curves, whose colour it has here too).
    """
    from unlearn.figures.base import BEFORE, RETRAINED, paint
    from unlearn.figures.gradient import hue

    dark = shell.dark()
    samples = {name: {_key(s): s for s in run.samples()} for name, run, _ in runs}
    first = samples[runs[0][0]]
    asked = [one for one in first.values() if one["when"] == "before" and one["role"] in curves.ROLES]
    picked = [one for role in curves.ROLES for one in [row for row in asked if row["role"] == role][:EACH]]
    if not picked:
        return
    truth = any(key[0] == "retrained" for known in samples.values() for key in known)
    columns = [("Question", "none"), ("Before", paint(BEFORE, dark))]
    columns += [(name, hue(place, dark)) for name, _, place in runs]
    columns += [("Retrained without it", paint(RETRAINED, dark))] if truth else []
    lines = []
    for one in picked:
        old = one["text"]
        row = {"set": one["role"], "question": question_of(one), "answer": one["answer"].strip()}
        cells = [answers.asked(row)]
        cells += [unmarked(old)]
        for name, *_ in runs:
            said = samples[name].get(_key(one, "after"))
            cells.append(changed(old, said["text"]) if said else unmarked(""))
        if truth:
            known = next((k for name in samples if (k := samples[name].get(_key(one, "retrained")))), None)
            cells.append(changed(old, known["text"]) if known else unmarked(""))
        lines.append({"cells": cells})
    sheet(columns, lines, key=f"race.sheet.{runs[0][1].id}")
    count = len(lines)
    st.caption(f"{count} questions, the same for all; Compare shows every answer that was kept.")


def _key(sample: JsonObject, when: str = "") -> tuple[str, str, str, str]:
    return (when or sample["when"], sample["role"], sample["prompt"], sample["answer"])
