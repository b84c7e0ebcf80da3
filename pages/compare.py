"""Compares one or two runs on the same prompts: answers, scores, curves and settings."""

import streamlit as st

from ui import figure, formats, pick, runactions, shell, verdict
from ui.ask import ask
from ui.compare.answers import answers
from ui.compare.blind import blind_test
from ui.compare.further import further
from ui.compare.scores import score_sheet
from ui.costs import costs
from ui.published import put_beside
from ui.replay import replay
from unlearn.results import compare
from unlearn.store.runs import Run

shell.guard()
shell.head("Compare", "The same questions before and after, run beside run. The address holds the choice.")
pick.spread()
runs = pick.with_samples()
if not runs:
    pick.empty("There is no run with answers yet. Start one; its answers before and after land here.")

left, right, last = st.columns([5, 5, 1.4], vertical_alignment="bottom")
with left:
    a = Run(runs[pick.choose("Run A", "a", list(runs), lambda i: pick.run_name(runs[i]))].path)
with right:
    others = ["", *(i for i in runs if i != a.id)]
    b = pick.choose("Run B", "b", others, lambda i: pick.run_name(runs[i]) if i else "none")
chosen = [a, *([Run(runs[b].path)] if b else [])]
with last:
    runactions.report_button(chosen, "compare.report")
for letter, run in zip("AB", chosen, strict=False):
    pick.honest(run, f"{letter}: {shell.run_label(run)}" if b else "")
if b:
    for word, key in (("data", "data_hash"), ("models", "model_hash")):
        if len({run.results().get(key) for run in chosen if run.results()}) > 1:
            st.warning(f"A and B started from different {word}: only rows that both have are side by side.")
verdict.show(chosen)

dark = shell.dark()
names = [
    "Answers",
    "Scores",
    "Watch it forget",
    "Curves",
    "Trade-off",
    "Settings",
    "Your question",
    "Blind test",
]
tabs = dict(zip(names, st.tabs(names, key="compare.tab", on_change="rerun"), strict=True))

if tabs["Answers"].open:
    with tabs["Answers"]:
        rows = pick.paired(chosen)
        if rows:
            scored = {row["role"]: row["n"] for row in compare.score_table([a])}
            answers(rows, a.id, two=bool(b), scored=scored)
        else:
            st.info("Run A has no answers yet.")

if tabs["Scores"].open:
    with tabs["Scores"]:
        formats.sheet(chosen)
        score_sheet(chosen)
        further(chosen)
        put_beside("compare.published", chosen)

if tabs["Watch it forget"].open:
    with tabs["Watch it forget"]:
        for letter, run in zip("AB", chosen, strict=False):
            if b:
                st.markdown(f"**{letter}: {shell.plain(shell.run_label(run))}**")
            replay(run, key=f"compare.replay.{letter}")

if tabs["Curves"].open:
    from unlearn.figures import base as figures

    with tabs["Curves"]:
        steps = {letter: run.events("step") for letter, run in zip("AB", chosen, strict=False)}
        if not any(steps.values()):
            st.info("No training step was recorded.")
        elif b:
            figure.show(figures.losses_compare(steps, dark), key="compare.losses")
            st.caption("Methods minimise different things: compare shapes within a panel, not heights.")
        else:
            figure.show(figures.losses(steps["A"], dark=dark), key="compare.losses")

if tabs["Trade-off"].open:
    from unlearn.figures import base as figures

    with tabs["Trade-off"]:
        metric = st.segmented_control(
            "Score",
            list(compare.METRICS),
            default="exact",
            required=True,
            key="compare.metric",
            format_func=lambda name: compare.METRICS[name][0],
            help="  \n".join(f"**{title}**: {what}" for title, what, _ in compare.METRICS.values()),
        )
        points = compare.tradeoff_points(chosen, shell.store().list(), metric)
        if len(points) < 2:
            st.info("A trade-off needs a run that scored forget and retain rows after training.")
        else:
            named = compare.METRICS[metric][0]
            figure.show(figures.tradeoff(points, named, dark), key="compare.tradeoff")
            st.caption(
                "Star: original. Diamond: retrained without it. Grey: your other runs on the same data."
            )
            for words in dict.fromkeys(filter(None, map(compare.truth_words, chosen))):
                st.caption(shell.plain(words))

if tabs["Settings"].open:
    with tabs["Settings"]:
        only = bool(b) and st.toggle("Differences only", value=True, key="compare.differences")
        settings = compare.config_table(chosen, only)
        heads = {"setting": "Setting", "a": "A" if b else "Value", "b": "B"}
        if settings:
            st.dataframe(settings, column_config=heads, hide_index=True, key="compare.settings")
        else:
            st.info("A and B were asked for the same thing.")
        for letter, run in zip("AB", chosen, strict=False):
            st.caption(f"Command that repeats {letter if b else 'it'}")
            st.code(run.config.command(), language="bash", wrap_lines=True)
        costs(chosen)

if tabs["Your question"].open:
    with tabs["Your question"]:
        ask(chosen)

if tabs["Blind test"].open:
    with tabs["Blind test"]:
        if b:
            st.caption(f"Of run A, {shell.plain(shell.run_label(a))}.")
        blind_test(a, pick.paired([a]))
