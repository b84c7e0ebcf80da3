"""Attacks a finished run to find out whether its answers are suppressed or erased.

Attacks on a finished run, the worst case first, each beside its control.
"""

import streamlit as st

from ui import figure, formats, pick, shell, view
from ui import verdict as verdicts
from ui.stress import panel
from unlearn.figures import stress as stress_figures
from unlearn.results import verdict
from unlearn.store.runs import ACTIVE, Run
from unlearn.work import stress

shell.guard()
shell.head(
    "Stress",
    "Suppressed or erased? Each attack tries to bring the answers back; a model that never knew them is the control.",
)
pick.spread()
view.begin("stress", "run", "layer")
runs = {run.id: run for run in panel.attackable()}
if not runs:
    pick.empty(
        "No finished run has weights to attack yet. Start one; when it has ended it can be chosen here."
    )
run = Run(runs[pick.choose_run("Run", "run", runs, "has not ended, or keeps no weights to attack")].path)
pick.honest(run)
verdicts.show([run])
formats.sheet([run])
record, job = stress.read_attacks(run), stress.latest(run)
panel.launch(run, record, job)
if job is not None and not job.asked.get("metrics"):
    panel.progress(job)

found = verdict.worst_first(record)
if not record:
    st.info(
        "This run was not attacked yet. Carry out all attacks (a minute for the bundled model), or choose some.",
        icon=":material/lightbulb:",
    )
else:
    panel.card(record)
control, dark = record.get("control", ""), shell.dark()
by_name = {entry["name"]: entry for entry in found}
if found:
    st.subheader("Worst case first", anchor=False)
    figure.show(stress_figures.overview(found, control, dark), key="stress.overview")
    panel.table(found, control)
    left, right = st.columns(2, gap="large")
    if entry := by_name.get("relearn"):
        with left:
            st.subheader("Does practice on a part bring back the rest?", anchor=False)
            figure.show(stress_figures.relearning(entry, control, dark), key="stress.relearn")
            st.caption(panel.setting(entry))
    if entry := by_name.get("dial"):
        with right:
            st.subheader("The forgetting dial", anchor=False)
            figure.show(stress_figures.dial(entry, dark), key="stress.dial")
            st.caption(panel.setting(entry))
    if entry := by_name.get("lens"):
        st.subheader("What each layer still holds", anchor=False)
        panel.squares(entry, control, dark)
panel.left_out(record)

st.subheader("Can forget texts be told from never-seen ones?", anchor=False)
if job is not None and job.asked.get("metrics"):
    panel.progress(job)
panel.membership(run, job is not None and job.state in ACTIVE, dark)
