"""Runs: everything that was ever asked for, what came of it, and what to do with it next."""

import streamlit as st

from ui import runactions, shell
from ui.runs import table as runtable
from unlearn.store.runs import ACTIVE

shell.guard()
shell.head("Runs", "Select rows to open, compare, repeat, export or delete them.")


def page(active: bool) -> None:
    """Filters, actions and the table; redrawn every two seconds while something runs."""
    mine = shell.store().list()
    runs = mine + shell.recorded()
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

    known = {run: runtable.facts(run) for run in runs}
    search, states, method, base = st.columns([3, 3, 3, 4], vertical_alignment="bottom")
    words = search.text_input("Search", key="runs.search", placeholder="title, data, model", live=True)
    wanted = states.multiselect("Status", sorted({k["state"] for k in known.values()}), key="runs.states")
    titles = {k["method"]: shell.method_title(k["method"], run) for run, k in known.items()}
    only = method.multiselect("Method", list(titles), format_func=titles.get, key="runs.methods")
    finished = {run.id: shell.run_label(run) for run in runs if known[run]["scores"].get("after")}
    names = runtable.BASELINES | finished
    baseline = base.selectbox(
        "Scores relative to", list(names), format_func=lambda name: names.get(name, name), key="runs.baseline"
    )

    swept = sum(facts["sweep"] for facts in known.values())
    counts = {name: sum(name in facts["outcomes"] for facts in known.values()) for name in runtable.OUTCOMES}
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
        facts = known[run]
        if (facts["sweep"] and not with_swept) or (ended and not set(ended) & set(facts["outcomes"])):
            return False
        text = f"{shell.run_label(run)} {run.id} {facts['model']} {facts['method']}".lower()
        listed = not wanted or facts["state"] in wanted
        return (
            listed and (not only or facts["method"] in only) and all(w in text for w in words.lower().split())
        )

    shown = [run for run in runs if fits(run)]
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small")
    if not shown:
        hidden = f" {swept} runs made by a sweep are hidden." if swept and not with_swept else ""
        st.info(f"No run fits these filters.{hidden}")
        return
    table_rows = runtable.rows(shown, baseline)
    table = st.dataframe(
        table_rows,
        column_config=runtable.columns(baseline),
        column_order=[name for name in table_rows[0] if name != "id"],
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"runs.table.{hash(tuple(run.id for run in shown))}",  # a new list must not inherit a selection
        height="content" if len(shown) <= 15 else 560,
        placeholder="–",
        alt="Runs with status, model, forget set, method and scores",
    )
    picked = [shown[row] for row in table.selection.rows if row < len(shown)]
    with bar:
        runactions.bar(picked)
    ids = f" Selected: {', '.join(run.id for run in picked)}." if picked else ""
    st.caption(
        f"{len(shown)} of {len(runs)} runs. pp = percentage points. Scores: one run, one seed each.{ids}"
    )


busy = any(run.state in ACTIVE for run in shell.store().list())
st.fragment(page, run_every=2.0 if busy else None)(busy)
