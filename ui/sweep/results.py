"""Draws the results of a sweep: squares for forgot and kept, windows, trade-off, matched forgetting, guide, tables."""

import math
from collections.abc import Mapping, Sequence

import streamlit as st

from ui import actions, figure, shell, studies
from unlearn.results import grid, sweep_table
from unlearn.results.compare import METRICS, rounded
from unlearn.results.grid import Cell
from unlearn.results.sweep_record import SweepRecord
from unlearn.store.runs import ACTIVE
from unlearn.store.shapes import JsonView

PER_ROW = 2
SHARE = st.column_config.NumberColumn(format="percent")
TIMES = st.column_config.NumberColumn(format="%.3g")


def results(record: SweepRecord) -> None:
    """Draw every part for which there are cells."""
    from unlearn.figures import sweep as sweep_figures
    from unlearn.figures.base import aim

    cells = record.cells()
    if not cells:
        words = (
            "The figures begin with the first finished cell."
            if record.state in ACTIVE
            else "No cell has finished, so there is nothing to draw. Resume goes on with all of them."
        )
        st.info(words, icon=":material/info:")
        return
    titles = {name: shell.method_title(name) for name in record.config.methods}
    st.markdown(f"**{shell.plain(sweep_figures.good_sentence(cells, titles))}**")
    explain(record, cells)
    # Side by side where there is room, one below the other on a phone.
    methods = list(dict.fromkeys(cell.method for cell in cells))
    for i, method in enumerate(methods):
        if i % PER_ROW == 0:
            places = st.columns(min(PER_ROW, len(methods)), gap="large")
        with places[i % PER_ROW]:
            drawn = sweep_figures.squares(cells, method, titles, shell.dark())
            heat_map(drawn, f"sweep.squares.{record.id}.{method}")
    figure.show(sweep_figures.windows(cells, titles, shell.dark()), key="sweep.windows")
    st.caption(
        "A rate counts when every seed is good; it stands for the stretch half-way to its neighbours on the grid."
    )
    metric = st.segmented_control(
        "Forgetting is read from",
        grid.SHARES,
        format_func=lambda name: METRICS[name][0],
        default=grid.SHARES[0],
        required=True,
        wrap=True,
        key="sweep.metric",
    )
    heat_map(sweep_figures.front(cells, titles, metric, shell.dark()), f"sweep.front.{record.id}.{metric}")
    setting_by_name(cells, titles)
    goal = aim(any(math.isfinite(grid.utility(cell, "retrained")) for cell in cells))
    st.caption(f"{goal} Filled: good with every seed. Click a point for its runs.")
    matched(cells, titles, metric)
    tuning_guide(record, titles)
    tables(record, cells)


def explain(record: SweepRecord, cells: Sequence[Cell]) -> None:
    """Explain what good and utility mean here, with the numbers behind them."""
    if why := grid.why_none_good(cells):
        st.info(why, icon=":material/info:")
    first = next((cell for cell in cells if cell.state == "done"), cells[0])
    target, truth = grid.target(first), grid.truth(first)
    if math.isnan(target):
        return
    also = f" (the retrained model's own: {rounded(truth)})" if not math.isnan(truth) else ""
    n = first.scores.get("before", {}).get("approximate", {}).get("n", 0)
    seeds = record.config.seeds
    st.markdown(
        f"- ✓ **forgot** (left square, % of the answers' probability that is gone): forget PPL ≥ {grid.REACHED} × "
        f"{rounded(target)}, the original's PPL on {n} texts of that kind that it never saw{also}\n"
        f"- ✓ **kept** (right square, utility in %): retain and general PPL ≤ {grid.KEPT} × the original's\n"
        f"- coloured: both, with {'each of ' if len(seeds) > 1 else ''}seed {', '.join(map(str, seeds))}; lightly: "
        "with some seeds; ×: diverged",
        help=grid.UTILITY,
    )


def heat_map(drawn: object, key: str) -> None:
    """Draw a figure in which a clicked point opens its runs."""
    event = figure.show(drawn, key=key, top=10, select=True)
    points = event.selection.points
    if points and points[0].get("customdata"):
        open_runs(str(points[0]["customdata"][0]))


def setting_by_name(cells: Sequence[Cell], titles: Mapping[str, str]) -> None:
    """Draw a choice of the same settings by their names, because a figure is clicked with a mouse alone."""
    known = {one.runs: one for one in grid.settings(cells) if one.runs}
    picked = st.selectbox(
        "Open the runs of a setting",
        list(known),
        format_func=lambda runs: (
            f"{titles.get(known[runs].method, known[runs].method)}, {known[runs].words()}"
        ),
        index=None,
        placeholder="choose one, or click a square or a point above",
        key="sweep.setting",
    )
    if picked:
        open_runs(picked)


def open_runs(ids: str) -> None:
    """Draw a link to each of these runs, which have commas between them."""
    with st.container(horizontal=True):
        for run_id in ids.split(","):
            try:
                run = shell.find_run(run_id)
            except ValueError:
                st.caption("This run was deleted; its scores are kept in the sweep.")
                continue
            config = run.config
            said = f"lr {config.lr:g}, {grid.passes(config.epochs)}, seed {config.seed}"
            said = f"{shell.method_title(config.method)}, {said}"
            shell.link("compare", f"Open {shell.plain(said)}", ":material/arrow_forward:", runs=run_id)


def tuning_guide(record: SweepRecord, titles: Mapping[str, str]) -> None:
    """Draw the guide as one button, and its regret once it was followed."""
    st.subheader("Tuning guide", anchor=False, help="Yao et al. 2024, arXiv 2402.15159, in operational form.")
    rows = sweep_table.guide_rows(record)
    if not rows:
        st.caption(
            "One epoch, batch a quarter of the forget set, learning rate upwards until the target is reached; "
            "rejected if general PPL rose over 10 %."
        )
        asked = record.config.guide or record.state in ACTIVE or not shell.may_manage(record)
        if st.button("Follow the tuning guide", icon=":material/explore:", key="sweep.ask", disabled=asked):
            studies.attempt(lambda: actions.do("follow guide", record))
        return
    for method in dict.fromkeys(row["method"] for row in rows):
        st.markdown(
            shell.plain(
                guide_sentence(titles.get(method, method), [r for r in rows if r["method"] == method])
            )
        )
    shown = [{key: value for key, value in row.items() if key not in ("reason", "run")} for row in rows]
    shown = [row | {"method": titles.get(row["method"], row["method"])} for row in shown]
    columns = dict.fromkeys(("utility", "grid's best"), SHARE) | {"took lr": TIMES}
    columns["regret"] = st.column_config.NumberColumn(
        format="percent",
        help="(U* - U) / U*: U* is the best utility of the grid's cells of this method and seed that reached the "
        "target, U that of the guide's choice, 0 when it took nothing. Negative: better than the grid.",
    )
    st.dataframe(
        shown,
        column_config=columns,
        hide_index=True,
        key="sweep.guide.table",
        placeholder="–",
        alt="The guide's trials",
    )


def guide_sentence(title: str, rows: Sequence[JsonView]) -> str:
    """Return a sentence on what the guide took, or why nothing, with its regret over seeds."""
    mean, sd, n = grid.mean_sd(row["regret"] for row in rows if row["regret"] is not None)
    lost = (
        f"; regret {100 * mean:.0f} %"
        if n
        else "; the grid has no cell that reached the target to compare with"
    )
    spread = f" ± {100 * sd:.0f} (n = {n} seeds)" if n > 1 else ""
    return f"{title}: {rows[0]['reason']}, {rows[0]['trials']} trials{lost}{spread}."


def matched(cells: Sequence[Cell], titles: Mapping[str, str], metric: str) -> None:
    """Draw the methods compared where they forget equally."""
    st.subheader("At matched forgetting", anchor=False)
    level, whose = grid.level_of(cells, metric)
    start = 0.5 if math.isnan(level) else round(min(1.0, max(0.0, level)), 2)
    left, right = st.columns(2)
    key = f"sweep.level.{metric}.{start}"
    chosen = left.slider(
        "Forgetting",
        0.0,
        1.0,
        start,
        0.01,
        format="percent",
        key=key,
        help=f"Begins at that of {whose}." if whose else None,
    )
    tolerance = right.slider("Tolerance", 0.01, 0.3, 0.05, 0.01, format="percent", key="sweep.tolerance")
    every = sweep_table.matched_rows(cells, chosen, tolerance, metric)
    if none := [titles.get(row["method"], row["method"]) for row in every if not row["settings there"]]:
        st.caption(
            shell.plain(
                f"{', '.join(none)}: no setting within {100 * tolerance:.0f} points of {100 * chosen:.0f} %."
            )
        )
    rows = [row for row in every if row["settings there"]]
    if not rows:
        return
    rows = [row | {"method": titles.get(row["method"], row["method"])} for row in rows]
    rows.sort(key=lambda row: -(row.get("utility") or -1.0))
    columns = {
        "settings there": st.column_config.NumberColumn(
            help="Settings whose mean forgetting lies within the tolerance."
        ),
        "utility": st.column_config.NumberColumn(
            help=f"{grid.UTILITY} Mean over seeds of the best of them.", format="percent"
        ),
        "sd": st.column_config.NumberColumn(help="Over seeds; empty with one.", format="percent"),
        "forgetting": SHARE,
        "lr": st.column_config.NumberColumn(format="%g"),
    }
    st.dataframe(
        rows,
        column_config=columns,
        hide_index=True,
        key="sweep.matched",
        placeholder="–",
        alt="Methods at equal forgetting",
    )


def tables(record: SweepRecord, cells: Sequence[Cell]) -> None:
    """Draw every cell as a table and as CSV, and the command that repeats the sweep."""
    rows = sweep_table.cell_rows(cells)
    with st.expander("All numbers", icon=":material/table:"):
        numbers = ("forget PPL", "target", "retrained", "retain ×", "general ×")
        columns = dict.fromkeys(numbers, TIMES) | dict.fromkeys(("forgetting", "utility"), SHARE)
        columns |= {"lr": st.column_config.NumberColumn(format="%g")}
        st.dataframe(
            rows, column_config=columns, hide_index=True, key="sweep.table", placeholder="–", alt="All cells"
        )
        with st.container(horizontal=True):
            for name, some in (("cells", rows), ("methods", sweep_table.method_rows(cells))):
                st.download_button(
                    f"CSV of {name}",
                    sweep_table.to_csv(some),
                    f"sweep-{name}.csv",
                    "text/csv",
                    icon=":material/download:",
                    on_click="ignore",
                    key=f"sweep.csv.{name}",
                )
