"""Draws the results of sequences: curves of several, the heat map of one, its runs, a table."""

import csv
import io
from collections.abc import Sequence

import streamlit as st

from ui import figure, shell
from ui.sequence.form import label, members
from ui.verdict import kept_together
from unlearn.results.compare import METRICS
from unlearn.store.shapes import JsonObject
from unlearn.work import sequence, told
from unlearn.work.sequence import SequenceRecord

# The columns of the table that are no scores.
NO_SCORES = ("sequence", "request", "after", "seconds", "run")
MEASURES = ("exact", "rougeL", "probability", "accuracy", "ppl")


def study(record: SequenceRecord, metric: str) -> JsonObject:
    """Return the plain record that the figures take."""
    config = record.config
    return {
        "label": label(record),
        "method": shell.method_title(config.run.method),
        "mode": config.mode,
        "order": config.order,
        "rows": sequence.summary(record, metric),
        "scores": record.scores(),
    }


def named(studies: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the studies with labels as short as possible to tell them apart: "NPO chain", or with order and
    time.
    """
    brief = [f"{one['method']} {one['mode']}" for one in studies]
    return [
        one | ({"label": name} if brief.count(name) == 1 else {})
        for one, name in zip(studies, brief, strict=True)
    ]


def results(records: Sequence[SequenceRecord]) -> None:
    """Draw the curves of all, the heat map of one, its runs, and the table."""
    from unlearn.figures import sequence as sequence_figures

    scored = [record for record in records if len(record.scores()) > 1]
    if not scored:
        st.info("The curves begin when the first request is honoured and scored.", icon=":material/info:")
        return
    for record in scored:
        name = f"{label(record)}: " if len(scored) > 1 else ""
        st.markdown(f"**{kept_together(name + told.of_sequence(record))}**")
    known = {name for event in scored[0].scores() for one in event["requests"].values() for name in one}
    metric = st.segmented_control(
        "Measured by",
        [name for name in MEASURES if name in known],
        format_func=lambda name: METRICS[name][0],
        default="exact" if "exact" in known else None,
        required=True,
        wrap=True,
        key="sequence.metric",
    )
    assert metric is not None, "required"
    studies = named([study(record, metric) for record in scored])
    panels = sequence_figures.panels(studies)
    places = [place for _ in panels[::2] for place in st.columns(2, gap="medium")]
    for panel, place in zip(panels, places, strict=False):
        with place:
            drawn = sequence_figures.curve(studies, panel, metric, shell.dark())
            figure.show(drawn, key=f"sequence.curves.{panel}")
    n = sum(score["n"] for score in scored[0].scores()[0]["requests"].values())
    seeds = sorted({record.config.run.seed for record in scored})
    st.caption(
        f"{METRICS[metric][0]}: {METRICS[metric][1]}. {n} questions to forget in all; seed "
        f"{', '.join(map(str, seeds))}; a point is one run, so differences of a few points can be chance."
    )
    st.subheader("Does an earlier request come back?", anchor=False)
    one = scored[0]
    if len(scored) > 1:
        by_id = {record.id: record for record in scored}
        picked = st.selectbox(
            "Sequence", list(by_id), format_func=lambda i: label(by_id[i]), key="sequence.one"
        )
        one = by_id[picked]
    heat_map(one, metric)
    table(scored, metric)


def heat_map(record: SequenceRecord, metric: str) -> None:
    """Draw the squares, the scores of a clicked one, and the runs behind them."""
    from unlearn.figures import requests as request_figures

    left, right = st.columns([3, 2])
    with left:
        map_ = request_figures.grid(study(record, metric), metric, shell.dark())
        event = figure.show(map_, key=f"sequence.grid.{record.id}.{metric}", select=True)
        st.caption(
            "Vermilion: its turn has come, and so much is left. Framed: still to come; the greyer, the more it "
            "lost too early. Click a square for its scores, or choose it beside the figure."
        )
    with right:
        points = event.selection.points
        # A figure is clicked with a mouse alone, so the same squares stand in a list.
        known = [(event["after"], request) for event in record.scores() for request in record.config.order]
        chosen = st.selectbox(
            "Scores of a square",
            known,
            format_func=lambda one: f"request {one[1]} after {one[0]} requests",
            index=None,
            placeholder="choose a request and a time",
            key=f"sequence.square.{record.id}",
        )
        if points:
            square(record, *points[0]["customdata"][:2])
        elif chosen:
            square(record, *chosen)
        runs = members(record)
        ids = ",".join(run.id for run in runs)
        shell.link("compare", "Compare its runs", ":material/compare:", runs=ids)
        for run in runs:
            shell.link("compare", shell.plain(run.title), ":material/arrow_forward:", runs=run.id)
        shell.copy_command(f"sequence.command.{record.id}", record.config.command(), "")


def square(record: SequenceRecord, after: int, request: int) -> None:
    """Draw every score of one request at one time, beside those of the original model."""
    from unlearn.figures.sequence import shown

    events = {event["after"]: event["requests"][str(request)] for event in record.scores()}
    now, was = events[after], events[0]
    st.markdown(f"**Request {request} after {after} requests** (n = {now['n']})")
    rows = [
        {
            "measure": METRICS[name][0],
            "original": shown(was.get(name), name),
            "then": shown(now.get(name), name),
        }
        for name in METRICS
        if name in now
    ]
    st.dataframe(
        rows, hide_index=True, key="sequence.square", placeholder="–", alt="Scores of the clicked square"
    )


def table(records: Sequence[SequenceRecord], metric: str) -> None:
    """Draw one row for each sequence and number of requests, and the same as CSV, where a share stays a fraction."""
    rows = []
    for record in records:
        events = {event["after"]: event for event in record.scores()}
        for row in sequence.summary(record, metric):
            request, run = (events[row["after"]][name] for name in ("request", "run"))
            rows.append({"sequence": label(record), "request": request} | row | {"run": run or ""})
    names = list(dict.fromkeys(name for row in rows for name in row))
    scores = [name for name in names if name not in NO_SCORES]
    with st.expander("All numbers", icon=":material/table:"):
        st.dataframe(
            in_per_cent(rows, scores, metric),
            column_config=_columns(scores, metric),
            hide_index=True,
            key="sequence.table",
            placeholder="–",
            alt="Scores after each request",
        )
        out = io.StringIO()
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        writer.writerows(rows)
        st.download_button(
            "Download CSV",
            out.getvalue(),
            f"sequence-{metric}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )


def in_per_cent(rows: Sequence[JsonObject], scores: Sequence[str], metric: str) -> list[JsonObject]:
    """Return the rows with these columns a hundred times as large where the metric is a share."""
    from unlearn.figures.sequence import SHARES

    if metric not in SHARES:
        return list(rows)
    return [
        row | {name: 100 * value for name in scores if isinstance(value := row.get(name), int | float)}
        for row in rows
    ]


def _columns(scores: Sequence[str], metric: str) -> JsonObject:
    """The heads of the columns with the unit, and what each is the mean of."""
    from unlearn.figures.sequence import SHARES

    number, unit = st.column_config.NumberColumn, ", %" * (metric in SHARES)
    helps = {
        "done": "Mean over the requests so far.",
        "to come": "Mean over the others.",
        "utility": "Mean of retain, general and neighbours.",
    }
    return {
        "after": number(help="Requests honoured so far."),
        "seconds": number("time (s)", help="Run and scoring.", format="%.0f"),
    } | {name: number(f"{name}{unit}", help=helps.get(name), format="%.3g") for name in scores}
