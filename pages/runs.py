"""Lists all runs with their verdicts, and what can be done with them next."""

import time

import streamlit as st

from ui import minus, runactions, shell, verdict
from ui.runs import table as runtable
from ui.runs import watching
from ui.runs.filters import filters
from ui.runs.folded import Folded, fold
from unlearn.results.compare import SIDES
from unlearn.store.runs import ACTIVE, Run

began = time.thread_time()
shell.guard()
shell.head("Runs", "What every run came to. Select rows to open, compare, repeat, export or delete them.")


def page() -> None:
    """Draw filters, actions and the table."""
    runs = st.session_state.pop(LISTED, None) or shell.summaries()
    watching.drawing(runs)
    mine = [run for run in runs if not shell.is_recorded(run)]
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
    fits, baseline, folding = filters(runs)
    fitting = [run for run in runs if fits(run)]
    shown = fold(fitting) if folding else fitting
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small")
    if not shown:
        st.info("No run fits these filters.")
        return
    lines, shown = len(shown), shown[: runtable.MOST]
    table_rows, forms = runtable.rows(shown, baseline), runtable.forms(shown, baseline)
    table = st.dataframe(
        minus.written(table_rows, forms),
        column_config=runtable.columns(baseline, forms),
        column_order=runtable.order(shown, table_rows),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        # The key changes with the list, so that a new list does not inherit a selection.
        key=f"runs.table.{hash(tuple(run.id for run in shown))}",
        height="content" if len(shown) <= 15 else 560,
        placeholder="–",
        alt="Runs with their verdict, scores, status, method, forget set and model",
    )
    picked = [shown[row] for row in table.selection.rows if row < len(shown)]
    single = [Run(line.path) for line in picked if not isinstance(line, Folded)]
    with bar:
        runactions.bar(single, [line for line in picked if isinstance(line, Folded)])
    ids = f" Selected: {', '.join(line.id for line in picked)}." if picked else ""
    newest = (
        f"The newest {len(shown)} of {lines} that fit; filter for older ones. " if lines > len(shown) else ""
    )
    st.caption(
        f"{newest}{len(fitting)} of {len(runs)} runs. pp = percentage points. Scores: one run, one seed each.{ids}"
    )
    # Below the table, so that a row which was selected does not move from under the mouse.
    verdict.show(single[: len(SIDES)])


# The script keeps what it has just read, so that the first drawing does not read it again.
LISTED = "runs.listed"
runs = st.session_state[LISTED] = shell.summaries()
if passed := shell.store().passed_over():
    st.caption(shell.plain(f"Not listed, as their settings cannot be read: {', '.join(sorted(passed))}."))
st.fragment(page)()
if any(run.state in ACTIVE for run in runs):
    watching.watch(time.thread_time() - began)
