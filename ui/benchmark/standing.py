"""Draws the Benchmark page: the verdict, the plane, the table with a filter, and one line with its way to Launch."""

from collections.abc import Sequence

import streamlit as st

from ui import figure, shell
from unlearn.results import benchmark
from unlearn.results.benchmark import COLUMNS, HERE, KINDS, OWN, PAPER, Line, Spread
from unlearn.results.compare import rounded
from unlearn.store.config import RunConfig
from unlearn.store.shapes import JsonObject

# What each kind of row is, for a person.
SAID = {
    HERE: "one command, on this product's model with a truth (smollm2-tofu)",
    OWN: "your runs for which TOFU's metrics were computed",
    PAPER: "tables and logs that others published, of other models",
}


AIM = "The aim is the retrained model ◆; left of the dotted line a test tells the two apart"
# Of the two traces of names the one that is laid out for this width is seen.
TRACE = ".st-key-benchmark-plane .scatterlayer .trace:nth-last-child"
NAMES = (
    f"@media (max-width: 600px) {{{TRACE}(2) {{display: none}}}} "
    f"@media (min-width: 601px) {{{TRACE}(1) {{display: none}}}}"
)


def known() -> list[Line]:
    """Return every line: the record, the runs of this store that have TOFU's metrics, and published numbers."""
    judged = [run for run in shell.store().list() if (run.path / "metrics.json").is_file()]
    return benchmark.lines(runs=judged)


def measured(lines: Sequence[Line]) -> bool:
    """Return whether any method was measured here."""
    return any(line.kind == HERE for line in lines)


def choose(lines: Sequence[Line]) -> list[Line]:
    """Draw the filter and return the lines that it lets through."""
    sets = sorted({line.data for line in lines})
    kinds = [kind for kind in KINDS if any(line.kind == kind for line in lines)]
    if not sets:
        return []
    with st.container(horizontal=True, vertical_alignment="bottom"):
        data = st.segmented_control(
            "Forget set",
            sets,
            default="tofu-forget10" if not measured(lines) and "tofu-forget10" in sets else sets[0],
            required=True,
            wrap=True,
            key="benchmark.data",
            format_func=lambda name: name.removeprefix("tofu-"),
            help="Of TOFU's 4,000 rows 40 (1 %), 200 (5 %) or 400 (10 %) are to be forgotten.",
        )
        shown = st.pills(
            "Shown",
            kinds,
            default=kinds,
            selection_mode="multi",
            wrap=True,
            key="benchmark.kinds",
            help="  \n".join(f"**{kind}**: {SAID[kind]}" for kind in kinds),
        )
        models = sorted({line.model for line in lines if line.data == data and line.kind in shown})
        model = st.multiselect("Models", models, key=f"benchmark.models.{data}", placeholder="all")
    return [
        line
        for line in lines
        if line.data == data and line.kind in shown and (not model or line.model in model)
    ]


def first(lines: Sequence[Line]) -> None:
    """Draw the verdict of what was measured here, where there is one."""
    if said := benchmark.verdict(lines):
        st.markdown(f"**{shell.plain(said)}**")


def plane(lines: Sequence[Line]) -> None:
    """Draw utility against forget quality."""
    from unlearn.figures import benchmark as drawn

    shown = [line for line in lines if {"utility", "log10"} <= set(line.values)]
    if not shown:
        st.info("Nothing that is chosen has both numbers.")
        return
    st.html(f"<style>{NAMES}</style>")
    figure.show(
        drawn.plane(shown, AIM, shell.dark()),
        key="benchmark.plane",
    )
    st.caption(
        "Bars are 95 % intervals: over seeds where there are two or more, else over the questions where that was kept. "
        "Hollow marks are published numbers of other models: "
        "compare their order, not their heights. Dotted: p = 0.05."
    )


def table(lines: Sequence[Line]) -> Line | None:
    """Draw the table and return the line that a person chose."""
    if not lines:
        return None
    used = [name for name in COLUMNS if any(name in line.values for line in lines)]
    rows = [_row(line, used) for line in lines]
    columns: JsonObject = {
        name: st.column_config.TextColumn(COLUMNS[name][0], help=COLUMNS[name][1], alignment="right")
        for name in used
    }
    heads = {"name": "Method", "kind": "From", "model": "Model"}
    columns |= {
        key: st.column_config.TextColumn(head, width=190 if key == "name" else None)
        for key, head in heads.items()
    }
    helps = {"seeds": "Runs with other seeds that the line is the mean of.", "n": "Items of the forget set."}
    columns |= {
        key: st.column_config.TextColumn(
            key.capitalize() if key == "seeds" else key, help=said, alignment="right"
        )
        for key, said in helps.items()
    }
    event = st.dataframe(
        rows,
        column_config=columns,
        hide_index=True,
        key="benchmark.table",
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        alt="Methods on TOFU: utility, forget quality and more",
    )
    picked = event.selection.rows
    return lines[picked[0]] if picked and picked[0] < len(lines) else None


def _row(line: Line, used: Sequence[str]) -> JsonObject:
    failed = f" ({line.failed} of {line.seeds} diverged)" if line.failed else ""
    row: JsonObject = {"name": line.name + failed, "kind": line.kind, "model": line.model}
    row |= {"seeds": str(line.seeds) if line.kind == HERE else "", "n": str(line.n or "")}
    return row | {name: _cell(line.values.get(name)) for name in used}


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return ""
    if spread.low is None or spread.high is None:
        return rounded(spread.mean)
    return f"{rounded(spread.mean)} ({rounded(spread.low)} to {rounded(spread.high)})"


def one(line: Line) -> None:
    """Draw where a line comes from, and the way to run it again."""
    with st.container(border=True):
        st.markdown(f"**{shell.plain(line.name)}**, {shell.plain(line.model)}, {line.data}")
        if line.kind == PAPER:
            st.caption(f"Published by others, not measured here: {shell.plain(line.source)}.")
            if line.url.startswith("https://"):
                st.link_button("Where it was published", line.url, icon=":material/open_in_new:")
        elif line.kind == OWN:
            shell.link("compare", "Compare", ":material/compare:", a=line.run)
        elif line.settings:
            st.caption(f"Measured here at the method's defaults; {shell.plain(line.source)}.")
            config = RunConfig.from_json(dict(line.settings))
            st.code(config.command(), language="bash", wrap_lines=True)
            if st.button("Run this again", icon=":material/replay:", type="primary", key="benchmark.again"):
                st.session_state["config.fill"] = config
                st.switch_page(shell.page("launch"))
        else:
            st.caption(f"No method made this row; {shell.plain(line.source)}.")
