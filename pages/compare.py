"""Compares up to four runs on the same prompts: verdict, answers, scores, curves and settings."""

import streamlit as st

from ui import formats, pick, runactions, shell, verdict, view
from ui.ask import ask
from ui.benchmark.published import put_beside
from ui.compare import overview
from ui.compare.answers import answers
from ui.compare.blind import blind_test
from ui.compare.further import further
from ui.compare.scores import score_sheet
from ui.costs import costs
from ui.demo import visitor
from ui.replay import replay
from unlearn.results import compare
from unlearn.results.compare import SIDES

NAMES = (
    *("Answers", "Scores", "Watch it forget", "Curves", "Trade-off", "Settings"),
    *("Your question", "Blind test"),
)

shell.guard()
shell.head(
    "Compare", "The same questions before and after, run beside run. The address holds the whole view."
)
pick.spread()
view.begin("compare", *SIDES, "tab", "rows", "show", "fell", "score")
runs = pick.with_samples()
if not runs:
    pick.empty("There is no run with answers yet. Start one; its answers before and after land here.")

left, right = st.columns([10, 1.4], vertical_alignment="bottom")
with left:
    chosen = pick.beside(runs)
with right:
    runactions.report_button(chosen, "compare.report")
a, lettered = chosen[0], dict(zip(SIDES.upper(), chosen, strict=False))
several = len(chosen) > 1
for letter, run in lettered.items():
    pick.honest(run, f"{letter}: {shell.run_label(run)}" if several else "")
names = " and ".join(lettered) if len(chosen) < 3 else "The runs"
for word, key in (("data", "data_hash"), ("models", "model_hash")) if several else ():
    if len({run.results().get(key) for run in chosen if run.results()}) > 1:
        st.warning(f"{names} started from different {word}: only rows that A has are side by side.")
verdict.show(chosen)
rows, dark = pick.paired(chosen), shell.dark()
scored = {row["role"]: row["n"] for row in compare.score_table([a])}
overview.outcomes(rows, scored, dark)

keep = view.widget("compare.tab", "tab", NAMES[0], NAMES)
tabs = dict(zip(NAMES, st.tabs(NAMES, key="compare.tab", on_change=keep), strict=True))

if tabs["Answers"].open:
    with tabs["Answers"]:
        if rows:
            answers(rows, a.id, several, scored=scored)
        else:
            st.info("Run A has no answers yet.")

if tabs["Scores"].open:
    with tabs["Scores"]:
        formats.sheet(chosen)
        overview.scores(chosen, dark)
        if several:
            overview.beside(chosen)
        with st.expander("All numbers", icon=":material/table:", key="scores.all"):
            score_sheet(chosen)
        further(chosen)
        put_beside("compare.published", chosen)

if tabs["Watch it forget"].open:
    with tabs["Watch it forget"]:
        for letter, run in lettered.items():
            if several:
                st.markdown(f"**{letter}: {shell.plain(shell.run_label(run))}**")
            replay(run, key=f"compare.replay.{letter}")

if tabs["Curves"].open:
    with tabs["Curves"]:
        overview.curves(chosen, dark)

if tabs["Trade-off"].open:
    with tabs["Trade-off"]:
        overview.tradeoff(chosen, dark)

if tabs["Settings"].open:
    with tabs["Settings"]:
        only = several and st.toggle("Differences only", value=True, key="compare.differences")
        settings = compare.config_table(chosen, only)
        heads = {"setting": "Setting"} | {side: side.upper() if several else "Value" for side in SIDES}
        if settings:
            st.dataframe(
                visitor.public_rows(settings),
                column_config=heads,
                hide_index=True,
                key="compare.settings",
                placeholder="–",
                alt="Settings of the runs",
            )
        else:
            st.info(f"{names} were asked for the same thing.")
        for letter, run in lettered.items():
            st.caption(f"Command that repeats {letter if several else 'it'}")
            st.code(visitor.public(run.config.command()), language="bash", wrap_lines=True)
        costs(chosen)

if tabs["Your question"].open:
    with tabs["Your question"]:
        ask(chosen)

if tabs["Blind test"].open:
    with tabs["Blind test"]:
        if several:
            st.caption(f"Of run A, {shell.plain(shell.run_label(a))}.")
        blind_test(a, pick.paired([a]))
