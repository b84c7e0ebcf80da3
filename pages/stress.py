"""Attacks a finished run to find out whether its answers are suppressed or erased.

Attacks on a finished run, the worst case first, each beside its control.
"""

import streamlit as st

from ui import figure, formats, pick, shell, view
from ui import verdict as verdicts
from ui.stress import findings, panel
from ui.trust import depth
from unlearn.figures import residue as residue_figures
from unlearn.measure.judge import read_metrics
from unlearn.results import residue, verdict
from unlearn.store.runs import ACTIVE, Run
from unlearn.work import stress

DEPTH = ("uds", "drift")

shell.guard()
shell.head(
    "Stress",
    "Suppressed or erased? Each attack tries to bring the answers back; a model that never knew them is the control.",
)
pick.spread()
view.begin("stress", "run")
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
attacking = job is not None and not job.asked.get("metrics")
control, dark = record.get("control", ""), shell.dark()
found = verdict.worst_first(record)
known = (str(run.path), pick.stamp(run, "attacks.json"), dark)

if worst := residue.sentence(record, ranked=False):
    figure.show_kept(known, lambda: residue_figures.left(record, dark), key="stress.overview", top=30)
    st.caption(verdicts.kept_together(f"{worst} {residue.sweep_note(record)}"))
elif not record and not (attacking and job.state in ACTIVE):
    st.info(
        "This run was not attacked yet, so nobody knows whether its answers are gone. Attack everything, or choose "
        "single attacks below.",
        icon=":material/lightbulb:",
    )
if job is not None and attacking:
    panel.progress(job)
panel.sweep(run, record, job)
with st.expander("Single attacks", icon=":material/bolt:", expanded=not record, key="stress.single"):
    panel.launch(run, record, job)

if record:
    findings.card(record)
by_name = {entry["name"]: entry for entry in found}
if found:
    with st.expander("All numbers", icon=":material/table:", key="stress.numbers"):
        findings.table(residue.rows(record))
    drawn = [name for name in ("relearn", "dial") if name in by_name]
    # One alone has the whole width.
    places = st.columns(len(drawn), gap="large") if drawn else []
    for place, name in zip(places, drawn, strict=True):
        with place:
            findings.curve(by_name[name], control, known, dark)
    if entry := by_name.get("lens"):
        st.subheader("What each layer still holds", anchor=False)
        findings.squares(entry, control, known, dark)
for line in residue.left_out(record):
    st.caption(shell.plain(f"Left out: {line}"))

st.subheader("How deep is it gone?", anchor=False)
busy = job is not None and job.state in ACTIVE
if not depth.depth(run, key="stress") and "uds" not in read_metrics(run).get("metrics", {}):
    panel.measure(run, DEPTH, "Measure it", "stress.depth", busy)
depth.drift(run, key="stress")

st.subheader("Can forget texts be told from never-seen ones?", anchor=False)
if job is not None and not attacking:
    panel.progress(job)
findings.membership(run, busy, dark)
