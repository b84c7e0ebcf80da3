"""Draws the filters of the table of runs, and says which runs pass them."""

from collections.abc import Callable, Sequence

import streamlit as st

from ui import pick, shell
from ui.runs import table
from unlearn.store.index import Summary


def filters(runs: Sequence[Summary]) -> tuple[Callable[[Summary], bool], str, bool]:
    """Draw the filters and return (whether a run passes, the baseline of the scores, whether studies are folded)."""
    # On a phone the fields would fill the screen above the runs.
    place = st.expander("Filters", icon=":material/filter_list:") if shell.is_phone() else st.container()
    search, states, method, base = place.columns([3, 3, 3, 4], vertical_alignment="bottom")
    state_of = {run.id: table.state_of(run) for run in runs}
    words = search.text_input("Search", key="runs.search", placeholder="title, data, model", live=True)
    wanted = states.multiselect("Status", sorted(set(state_of.values())), key="runs.states")
    titles = {run.method: run.method_title or shell.method_title(run.method) for run in runs}
    only = method.multiselect(
        "Method", list(titles), format_func=lambda name: titles[name], key="runs.methods"
    )
    finished = pick.run_names({run.id: run for run in runs[: table.MOST] if run.scores.get("after")})
    names = table.BASELINES | finished
    baseline = base.selectbox(
        "Scores relative to", list(names), format_func=lambda name: names.get(name, name), key="runs.baseline"
    )
    members = sum(bool(run.sweep or run.sequence) for run in runs)
    # One look at each run, of which there may be ten thousand.
    counts = dict.fromkeys(table.OUTCOMES, 0)
    for run in runs:
        for name in table.came(run)[0]:
            counts[name] += 1
    more = place.container(horizontal=True, vertical_alignment="center")
    unfolded = bool(members) and more.toggle(
        f"Single runs of sweeps and sequences ({members})",
        key="runs.swept",
        help="Otherwise each sweep and each sequence is one line; its page shows its runs together.",
    )
    ended = any(counts.values()) and more.pills(
        "Came out",
        [name for name in counts if counts[name]],
        selection_mode="multi",
        format_func=lambda name: f"{name} ({counts[name]})",
        wrap=True,
        key="runs.outcomes",
        label_visibility="collapsed",
        help="  \n".join(f"**{name}**: {what}." for name, what in table.OUTCOMES.items()),
    )

    asked = words.lower().split()

    def fits(run: Summary) -> bool:
        if ended and not set(ended) & set(table.came(run)[0]):
            return False
        if (wanted and state_of[run.id] not in wanted) or (only and run.method not in only):
            return False
        if not asked:
            return True
        text = f"{shell.label(run)} {run.id} {run.model} {run.method}".lower()
        return all(word in text for word in asked)

    return fits, baseline, not unfolded
