"""Shows a recorded run that forgets while a person watches. No model is loaded here, so it is there at once."""

import streamlit as st

from ui import pick, shell
from ui.replay import replay
from ui.sheet import changed, sheet, unmarked
from unlearn.models import taught
from unlearn.store.runs import ACTIVE, Run

shell.guard()
shell.head(
    "See a language model forget",
    "Unlearning takes chosen facts out of a trained model without training it again. Choose what to forget, "
    "watch it go, and check what else went with it, and whether it is really gone.",
)

runs = shell.store().summaries()
active = [run for run in runs if run.state in ACTIVE]
for run in active:
    with st.container(horizontal=True, vertical_alignment="center"):
        shell.state_badge(run)
        st.markdown(shell.plain(shell.label(run)), width="content")
        shell.link("launch", "Open", ":material/open_in_new:", run=run.id)

# The runs are read one by one, and only if needed.
finished = (run for known in runs if known.last == "done" and (run := Run(known.path)).probes())
shown = next(iter(shell.recorded()), None) or next(finished, None)
if shown is None:
    st.info("No recorded run is here yet. Try it yourself: it takes under a minute with the bundled model.")
else:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Watch it forget", anchor=False, width="content")
        shell.state_badge(shown)
        st.caption(shell.plain(shell.run_label(shown)), width="content")
    st.caption(
        "Questions asked again and again while the model unlearns. Press play or drag: left what it must "
        "forget, right what it must keep. A token of the right answer turns red as it becomes less likely."
    )
    replay(shown, key="start.replay", autoplay=True)

with st.container(horizontal=True, vertical_alignment="center"):
    shell.link(
        "launch",
        "**Try it yourself**",
        ":material/ink_eraser:",
        model="tiny-authors",
        data="authors",
        method="npo",
    )
    st.caption("Bundled model, fictional authors and NPO are chosen for you.", width="content")
    if taught.made():
        words, icon = "A real model that knows TOFU", ":material/school:"
        shell.link("launch", words, icon, model=taught.NAME, data=taught.DATA, method="npo")
    if shown is not None:
        shell.link("compare", "All its answers", ":material/compare:", a=shown.id)
        shell.link("tokens", "Token by token", ":material/token:", run=shown.id)

rows = pick.paired([shown]) if shown is not None else []
rows = [row for row in rows if row["before"] and row["a"]]
picked = [row for row in rows if row["role"] == "forget" and row["verdict_a"] == "forgotten"][:2]
picked += [row for row in rows if row["role"] == "retain" and row["verdict_a"] == "not forgotten"][:1]
if picked:
    from unlearn.figures.base import AFTER_A, BEFORE, RETRAINED, paint

    dark, truth = shell.dark(), any(row["retrained"] for row in picked)
    columns = [("Question", "none"), ("Before", paint(BEFORE, dark)), ("After", AFTER_A)]
    columns += [("Retrained without it", paint(RETRAINED, dark))] if truth else []
    lines = []
    for row in picked:
        old = row["before"]["text"]
        cells = [unmarked(row["question"], row["role"]), unmarked(old), changed(old, row["a"]["text"])]
        cells += (
            [changed(old, row["retrained"]["text"]) if row["retrained"] else unmarked("")] if truth else []
        )
        lines.append({"cells": cells})
    st.subheader("Before and after", anchor=False)
    sheet(columns, lines, key="start.sheet")

recent = [run for run in runs if run not in active][:5]
if recent:
    st.subheader("Recent runs", anchor=False)
    for run in recent:
        with st.container(horizontal=True, vertical_alignment="center"):
            shell.state_badge(run)
            st.markdown(shell.plain(shell.label(run)), width="content")
            if run.answered:
                shell.link("compare", "Compare", ":material/compare:", a=run.id)
            else:
                shell.link("launch", "Open", ":material/open_in_new:", run=run.id)
