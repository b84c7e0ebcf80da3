"""Shows a recorded run that forgets while a person watches. No model is loaded here, so it is there at once."""

import streamlit as st

from ui import pick, shell
from ui.demo import visitor
from ui.replay import replay
from ui.sheet import changed, sheet, unmarked
from ui.start.recent import recent
from unlearn.models import taught
from unlearn.store.runs import ACTIVE, Run
from unlearn.work.visitors import rules

# Rows to forget and rows to keep of "Before and after".
SHOWN = {"forget": ("forgotten", 3), "retain": ("not forgotten", 2)}

shell.guard()
shell.head(
    "See a language model forget",
    "Unlearning takes chosen facts out of a trained model without training it again. Choose what to forget, "
    "watch it go, and check what else went with it, and whether it is really gone.",
)

runs = shell.mine()
active = [run for run in runs if run.state in ACTIVE]
for run in active:
    with st.container(horizontal=True, vertical_alignment="center"):
        shell.state_badge(run)
        st.markdown(shell.plain(shell.label(run)), width="content")
        shell.link("launch", "Open", ":material/open_in_new:", run=run.id)

with st.container(horizontal=True, vertical_alignment="center"):
    go = st.button("Try it yourself", type="primary", icon=":material/ink_eraser:", key="start.try")
    shell.link("lesson", "A lesson in five steps", ":material/school:")
    if taught.made() and visitor.offered({taught.NAME: ""}, rules.models()):
        words, icon = "A real model that knows TOFU", ":material/neurology:"
        shell.link("launch", words, icon, model=taught.NAME, data=taught.DATA, method="npo")
    st.caption("Bundled model, fictional authors and NPO are chosen for you.", width="content")
if go:
    chosen = {"model": "tiny-authors", "data": "authors", "method": "npo"}
    st.switch_page(shell.page("launch"), query_params=chosen)

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
        "Questions asked again and again while the model unlearns. Press play or drag: first what it must "
        "forget, then what it must keep. A piece of the right answer turns red as it becomes less likely."
    )
    replay(shown, key="start.replay", autoplay=True)
    with st.container(horizontal=True, vertical_alignment="center"):
        shell.link("compare", "All its answers", ":material/compare:", runs=shown.id)
        shell.link("tokens", "Token by token", ":material/token:", run=shown.id)

rows = pick.paired([shown]) if shown is not None else []
rows = [row for row in rows if row["before"] and row["a"]]
# First those whose new answer is one that some row has, because it reads as an answer.
answers = {row["answer"].strip() for row in rows}
rows.sort(key=lambda row: row["a"]["text"].strip() not in answers)
picked = [
    row
    for role, (verdict, most) in SHOWN.items()
    for row in [r for r in rows if r["role"] == role and r["verdict_a"] == verdict][:most]
]
if picked:
    from unlearn.figures.base import AFTER_A, BEFORE, RETRAINED, paint

    dark, truth = shell.dark(), any(row["retrained"] for row in picked)
    columns = [("Question", "none"), ("Before", paint(BEFORE, dark)), ("After", AFTER_A)]
    columns += [("Retrained without it", paint(RETRAINED, dark))] if truth else []
    lines = []
    for row in picked:
        old = row["before"]["text"]
        purpose = {"forget": "to forget", "retain": "to keep"}[row["role"]]
        cells = [unmarked(row["question"], purpose), unmarked(old), changed(old, row["a"]["text"])]
        if truth:
            beside = row["retrained"]
            cells.append(changed(old, beside["text"]) if beside else unmarked(""))
        lines.append({"cells": cells})
    st.subheader("Before and after", anchor=False)
    sheet(columns, lines, key="start.sheet")
    st.caption(
        f"{len(lines)} examples that read well; the link above leads to every answer, the odd ones too."
    )

recent([run for run in runs if run not in active])
