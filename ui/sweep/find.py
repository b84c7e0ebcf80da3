"""Draws "Find settings for me": its form, its progress, and what a search came to.

Everything on the screen is read from the search's folder, as with a sweep.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from ui import forms, shell, studies
from ui.sweep import form as sweeps
from ui.sweep.results import heat_map
from ui.verdict import kept_together
from unlearn.results import grid, sweep_table
from unlearn.results.pace import duration
from unlearn.results.search import choice, record
from unlearn.results.search.record import SearchConfig, SearchRecord
from unlearn.results.search.space import axes
from unlearn.store.runs import Run, RunConfig
from unlearn.store.shapes import JsonView
from unlearn.work import search
from unlearn.work.search import journal

if TYPE_CHECKING:
    from unlearn.methods.base import Method

# The values with which the form begins.
FIRST = {"find.methods": ["npo"], "find.minutes": 3.0}
DISTANCE = st.column_config.NumberColumn(
    format="percent", help="How far the mean probability of the forget answers lies from the target's."
)
KEPT = st.column_config.NumberColumn(
    format="percent", help=f"Utility after ÷ before. {grid.UTILITY} Above 100 % where it rose."
)


def label(found: SearchRecord) -> str:
    """Return the title that a person gave, or methods, budget and time."""
    config = found.config
    methods = ", ".join(shell.method_title(name) for name in config.methods)
    budget = f"{config.minutes:g} min" if config.minutes else f"{config.trials} trials"
    return found.meta.get("title") or f"Settings for {methods} · {budget} · {shell.short_label(found)}"


def choose(
    methods: "Mapping[str, type[Method]]", model: str, data: JsonView, size: str
) -> SearchConfig | None:
    """Draw the methods and the minutes, and return the search that they mean. None while something is missing."""
    for key, value in FIRST.items():
        st.session_state.setdefault(key, value)
    limit = SearchConfig.knobs()[1]
    minutes = st.number_input("Minutes to spend", 0.5, limit.high, step=1.0, key="find.minutes", **forms.KEEP)
    st.session_state["find.methods"] = [n for n in st.session_state["find.methods"] if n in methods]
    names = st.pills(
        "Methods to search among",
        list(methods),
        selection_mode="multi",
        format_func=lambda name: methods[name].title,
        wrap=True,
        key="find.methods",
        **forms.KEEP,
    )
    st.caption(
        "It tries settings around the tuned ones, learns from each which to try next, and gives up early on those that "
        "are behind. Half of the rows choose; the other half says how good the choice is."
    )
    try:
        journal.check()
        if not (model and data and names):
            return None
        runs = sweeps.templates(names, methods, model, data, size)
        config = SearchConfig(runs=runs, axes=tuple(axes(run) for run in runs), minutes=minutes)
        told = "; ".join(
            f"{methods[run.method].title}: " + ", ".join(f"{choice.label(a.name)} {a.words()}" for a in mine)
            for run, mine in zip(config.runs, config.axes, strict=True)
        )
        st.caption(shell.plain(f"Varied: {told}."))
        return config
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return None


def launch(config: SearchConfig) -> None:
    """Queue the search that the form describes."""
    studies.launch(PANEL, config.runs, lambda: record.create(config, shell.store(), owner=shell.owner()))


def how_far(found: SearchRecord) -> tuple[float, str]:
    """Return (fraction of the budget, what is done now)."""
    if found.state == "queued":
        return 0.0, studies.waiting(found)
    done, spent = len(found.trials()), found.spent()
    config = found.config
    phase, fraction, _ = (
        shell.runner().progress(found) if shell.runner().position(found) == 0 else ("", 0.0, 0.0)
    )
    words = f"{done} setting{'s' * (done != 1)} tried" + (f" of {config.trials}" if config.trials else "")
    words += f" · {duration(spent)} of {duration(60 * config.minutes)}" if config.minutes else ""
    # What is not carried out here tells no fraction of its own.
    parts = (
        spent / (60 * config.minutes) if config.minutes else 0.0,
        done / config.trials if config.trials else 0.0,
    )
    return min(1.0, max(fraction, *parts)), words + (f" · {phase}" if phase else "")


def members(found: SearchRecord) -> list[Run]:
    """Return the runs of this search that are still there."""
    return [run for run in shell.store().list() if run.meta.get("sweep") == found.id]


PANEL = studies.Panel(
    name="sweep",
    work=search,
    part="finished trials",
    label=label,
    done=lambda found: len(found.events("trial")),
    how_far=how_far,
    members=members,
)


def results(found: SearchRecord) -> None:
    """Draw the sentence, the best run, the figure and the table."""
    from unlearn.figures import search as figures

    trials, models, config = found.trials(), found.models(), found.config
    titles = {name: shell.method_title(name) for name in config.methods}
    taken = choice.best(trials, models, config)
    if taken is None:
        st.info("The first setting that is tried to its end is shown here.", icon=":material/info:")
        return
    first, *rest = choice.sentences(found)
    st.markdown(f"**{kept_together(first)}**")
    st.markdown(kept_together(" ".join(rest)))
    best_run(taken.trial.runs, config.run(taken.trial.method, taken.trial.settings, config.seeds[0]))
    heat_map(figures.front(trials, models, config, titles, shell.dark()), f"find.front.{found.id}")
    st.caption(
        f"{grid.UTILITY} The aim is the green line, the target: further left is no better, higher is. Drawn on the "
        "half of the rows that the search goes by; the sentence tells of the other half. Settings that were given up "
        "early have no final scores and are not drawn. Click a point for its run."
    )
    table(found, titles)


def best_run(runs: Sequence[str], config: RunConfig) -> None:
    """Draw the ways on from the best run: compare it, attack it, repeat it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        try:
            shell.find_run(runs[0])
            shell.link("compare", "Open the best run", ":material/arrow_forward:", runs=runs[0])
            shell.link("stress", "Is it really gone? Attack it", ":material/bolt:", run=runs[0])
        except ValueError:
            st.caption("The best run was deleted; its scores are kept here, and its command repeats it.")
        shell.copy_command(
            "find.command", config.command(), "Carries out the best settings as a run of their own."
        )


def table(found: SearchRecord, titles: Mapping[str, str]) -> None:
    """Draw every trial as a table and as CSV."""
    rows = []
    for one in choice.everything(found)["trials"]:
        other = one["reported"]
        rows.append(
            {
                "trial": one["trial"] + 1,
                "method": titles.get(one["method"], one["method"]),
                **{choice.label(name): value for name, value in one["settings"].items()},
                "ended": one["state"],
                "distance": _known(one["distance"]),
                "kept": _known(one["kept"]),
                "distance, other half": _known(other.get("distance")),
                "kept, other half": _known(other.get("kept")),
                "seconds": one["seconds"],
            }
        )
    with st.expander("All settings that were tried", icon=":material/table:"):
        columns = dict.fromkeys(("distance", "distance, other half"), DISTANCE)
        columns |= dict.fromkeys(("kept", "kept, other half"), KEPT)
        st.dataframe(
            rows, column_config=columns, hide_index=True, key="find.table", placeholder="–", alt="All trials"
        )
        st.download_button(
            "CSV of trials",
            sweep_table.to_csv(rows),
            "search-trials.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="find.csv",
        )


def _known(value: object) -> float | None:
    """The number for a table, which leaves a place empty where there is none."""
    return float(value) if isinstance(value, (int, float)) else None
