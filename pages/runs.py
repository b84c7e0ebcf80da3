"""Lists all runs with their outcomes, and what can be done with them next."""

import time

import streamlit as st

from ui import runactions, shell, verdict
from ui.runs import table as runtable
from unlearn.store.runs import ACTIVE, Run

shell.guard()
shell.head("Runs", "Select rows to open, compare, repeat, export or delete them.")


def page(active: bool) -> None:
    """Draw filters, actions and the table. They are drawn again every few seconds while something runs."""
    runs = st.session_state.pop(LISTED, None) or shell.summaries()
    mine = [run for run in runs if not shell.is_recorded(run)]
    if active and not any(run.state in ACTIVE for run in runs):
        st.rerun()
    if not runs:
        st.info("No run yet. Start one on the Unlearn page, or import one that somebody exported.")
        shell.link("launch", "Start a run", ":material/ink_eraser:")
        runactions.import_button()
        return
    if not mine:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(
                "What is listed is an example that came with the studio; no run of your own exists yet. Start one, or "
                "import one that somebody exported.",
                icon=":material/lightbulb:",
            )
            shell.link("launch", "Start a run", ":material/ink_eraser:")

    state_of = {run.id: runtable.state_of(run) for run in runs}
    search, states, method, base = st.columns([3, 3, 3, 4], vertical_alignment="bottom")
    words = search.text_input("Search", key="runs.search", placeholder="title, data, model", live=True)
    wanted = states.multiselect("Status", sorted(set(state_of.values())), key="runs.states")
    titles = {run.method: run.method_title or shell.method_title(run.method) for run in runs}
    only = method.multiselect("Method", list(titles), format_func=titles.get, key="runs.methods")
    finished = {run.id: shell.label(run) for run in runs[: runtable.MOST] if run.scores.get("after")}
    names = runtable.BASELINES | finished
    baseline = base.selectbox(
        "Scores relative to", list(names), format_func=lambda name: names.get(name, name), key="runs.baseline"
    )

    swept = sum(bool(run.sweep) for run in runs)
    counts = {name: sum(name in runtable.came(run)[0] for run in runs) for name in runtable.OUTCOMES}
    more = st.container(horizontal=True, vertical_alignment="center")
    with_swept = not swept or more.toggle(
        f"Made by a sweep ({swept})",
        key="runs.swept",
        help="Cells of a sweep; the Sweep page shows them together.",
    )
    ended = any(counts.values()) and more.pills(
        "Came out",
        [name for name in counts if counts[name]],
        selection_mode="multi",
        format_func=lambda name: f"{name} ({counts[name]})",
        key="runs.outcomes",
        label_visibility="collapsed",
        help="  \n".join(f"**{name}**: {what}." for name, what in runtable.OUTCOMES.items()),
    )

    def fits(run) -> bool:
        if (run.sweep and not with_swept) or (ended and not set(ended) & set(runtable.came(run)[0])):
            return False
        text = f"{shell.label(run)} {run.id} {run.model} {run.method}".lower() if words else ""
        listed = not wanted or state_of[run.id] in wanted
        return listed and (not only or run.method in only) and all(w in text for w in words.lower().split())

    shown = [run for run in runs if fits(run)]
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small")
    told = st.container()
    if not shown:
        hidden = f" {swept} runs made by a sweep are hidden." if swept and not with_swept else ""
        st.info(f"No run fits these filters.{hidden}")
        return
    fitting, shown = len(shown), shown[: runtable.MOST]
    table_rows = runtable.rows(shown, baseline)
    table = st.dataframe(
        table_rows,
        column_config=runtable.columns(baseline),
        column_order=[name for name in table_rows[0] if name != "id"],
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        # The key changes with the list, so that a new list does not inherit a selection.
        key=f"runs.table.{hash(tuple(run.id for run in shown))}",
        height="content" if len(shown) <= 15 else 560,
        placeholder="–",
        alt="Runs with status, model, forget set, method and scores",
    )
    picked = [Run(shown[row].path) for row in table.selection.rows if row < len(shown)]
    with bar:
        runactions.bar(picked)
    with told:
        verdict.show(picked[:2])
    ids = f" Selected: {', '.join(run.id for run in picked)}." if picked else ""
    newest = (
        f"The newest {len(shown)} of {fitting} that fit; filter for older ones. "
        if fitting > len(shown)
        else ""
    )
    st.caption(
        f"{newest}{fitting} of {len(runs)} runs. pp = percentage points. Scores: one run, one seed each.{ids}"
    )


# The script keeps what it has just read, so that the first drawing does not read it again.
LISTED, EVERY = "runs.listed", "runs.every"
# Of a core, for drawing; what streamlit does to send it comes on top.
SHARE = 0.013
runs = st.session_state[LISTED] = shell.summaries()
if passed := shell.store().passed_over():
    st.caption(shell.plain(f"Not listed, as their settings cannot be read: {', '.join(sorted(passed))}."))
busy = any(run.state in ACTIVE for run in runs)
# A viewer costs at most about 2 % of a core, however many rows there are and however long this machine takes for them.
began = time.thread_time()
every = st.session_state.get(EVERY, 2.0)
st.fragment(page, run_every=every if busy else None)(busy)
st.session_state[EVERY] = max(2.0, (time.thread_time() - began) / SHARE)
