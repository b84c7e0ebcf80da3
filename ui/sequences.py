"""Sequences of deletion requests on a page: the form's parts, progress, and what the finished ones show together.

Everything on the screen is read from the sequence's folder, so a refresh, another tab or a sequence started on the
command line show the same.
"""

import contextlib
import csv
import io
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from ui import choose, figure, shell
from ui.live import duration
from unlearn import sequence
from unlearn.runs import ACTIVE, Run
from unlearn.sequence import MODES, SequenceConfig, SequenceRecord

EVERY = 2.0
MOST = 6  # overlaid
MEASURES = ("exact", "rougeL", "probability", "accuracy", "ppl")
ORDER = "sequence.order"


def label(record: SequenceRecord) -> str:
    """NPO · chain · 1, 2, 3 · 21.11. 15:40, or the title that a person gave."""
    config = record.config
    order = ", ".join(map(str, config.order))
    return (
        record.meta.get("title")
        or f"{shell.method_title(config.run.method)} · {config.mode} · {order} · {shell.short_label(record)}"
    )


# -- the form --------------------------------------------------------------------------------------------------


def choose_order(requests: Sequence[int], key: str) -> tuple[int, ...]:
    """Which requests, in the order in which they arrive: that of picking, or shuffled."""
    name = f"{ORDER}.{key}"
    if name not in st.session_state:
        st.session_state[name] = list(requests)

    def shuffle() -> None:
        picked = st.session_state[name] or list(requests)
        st.session_state[name] = random.sample(picked, len(picked))

    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = st.multiselect(
            "Requests, in the order in which they arrive",
            requests,
            key=name,
            help="They arrive in the order in which you pick them: clear, then pick again.",
            persist_state="session",
        )
        st.button("Shuffle", icon=":material/shuffle:", key=f"{name}.shuffle", on_click=shuffle)
    return tuple(order)


def choose_mode() -> str:
    """How one request follows another, each with its sentence."""
    return st.radio(
        "How they are honoured",
        list(MODES),
        format_func=str.capitalize,
        captions=[MODES[mode] for mode in MODES],
        key="sequence.mode",
        persist_state="session",
    )


def cost(config: SequenceConfig) -> bool:
    """What all runs together will take, in a line; False with the reason when they cannot start."""
    from unlearn.preflight import preflight

    finished = [run for run in shell.store().list()[:40] if run.results()]
    template = {key: value for key, value in config.run.data.items() if key != "requests"}
    checks = []
    try:
        for k in range(1, len(config.order) + 1):
            asked = template | {"requests": list(config.requests_of(k))}
            checks.append(preflight(replace(config.run, data=asked), finished))
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return False
    tokens, flops = (sum(getattr(c, name) for c in checks) for name in ("tokens", "flops"))
    times = [c.seconds for c in checks]
    took = f"about {duration(sum(times))}" if all(times) else "a time not known yet"
    said = f"{len(checks)} runs, {sum(c.steps for c in checks)} steps, {choose.count(tokens).strip()} tokens"
    st.caption(f"{said}, {choose.count(flops, 'G')}FLOP, {took}.")
    for text in dict.fromkeys(text for c in checks for text in c.notes):
        st.caption(shell.plain(text))
    for text in dict.fromkeys(text for c in checks for text in c.warnings):
        st.warning(shell.plain(text), icon=":material/warning:")
    return True


def launch(config: SequenceConfig) -> None:
    """Check, create, queue, and put it into the address, so that a refresh finds it again."""
    from unlearn.runner import check

    runner = shell.runner()
    try:
        check(config.run, runner.roots)
        record = sequence.create(config, shell.store(), owner=shell.owner())
        runner.enqueue(record, sequence.perform)
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    beside = [i for i in st.query_params.get("sequence", "").split(",") if i]
    st.query_params["sequence"] = ",".join([record.id, *beside][:MOST])
    st.session_state["sequence.launched"] = True  # the form closes itself, so that what runs is in sight
    st.rerun()


# -- which ones ------------------------------------------------------------------------------------------------


def chosen(found: Sequence[SequenceRecord]) -> list[SequenceRecord]:
    """The sequences to show together; they stand in the address. The first one has the heat map."""
    by_id = {record.id: record for record in found}
    key = "sequence.chosen"
    wanted = [i for i in st.query_params.get("sequence", "").split(",") if i in by_id]
    st.session_state[key] = wanted or [next(iter(by_id))]

    def remember() -> None:
        st.query_params["sequence"] = ",".join(st.session_state[key])

    ids = st.multiselect(
        "Sequences to show together",
        list(by_id),
        format_func=lambda i: label(by_id[i]),
        key=key,
        on_change=remember,
        max_selections=MOST,
    )
    return [by_id[i] for i in ids]


# -- one that goes on ------------------------------------------------------------------------------------------


def progress(record: SequenceRecord) -> None:
    """State, what it does now, and the ways to end or go on; redrawn while it is active."""
    active = record.state in ACTIVE
    st.fragment(_progress, run_every=EVERY if active else None)(record, active, len(record.scores()))


def _progress(record: SequenceRecord, was_active: bool, seen: int) -> None:
    state = record.state
    if not record.path.is_dir() or (was_active and (state not in ACTIVE or len(record.scores()) > seen)):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{shell.plain(label(record))}**", width="content")
        shell.state_badge(record)
        if state == "done":
            actions(record, state)
            return
    if state in ACTIVE:
        fraction, words = how_far(record)
        st.progress(fraction, text=words)
    elif state == "failed":
        st.error(shell.plain(record.reason))
    elif state == "interrupted":
        st.warning(
            "The program that ran it ended first. What is scored stays; it goes on with what is missing."
        )
    elif record.reason:
        st.caption(shell.plain(record.reason))
    actions(record, state)


def how_far(record: SequenceRecord) -> tuple[float, str]:
    """(fraction of the whole, what goes on now and how long the rest will take)."""
    place, count = shell.runner().position(record), len(record.config.order)
    if record.state == "queued":
        return 0.0, f"Waiting for the machine, {place} ahead of it" if place else "Waiting, it is next"
    scored = [event for event in record.scores() if event["after"]]
    phase, fraction, _ = shell.runner().progress() if place == 0 else ("", len(scored) / count, 0.0)
    words = f"{phase[:1].upper()}{phase[1:]}" if phase else f"{len(scored)} of {count} requests honoured"
    if scored and len(scored) < count:
        left = sum(event["seconds"] for event in scored) / len(scored) * (count - len(scored))
        words += f", about {duration(left)} left"
    return min(1.0, fraction), words


def actions(record: SequenceRecord, state: str) -> None:
    """Stop, Resume, Delete; only in the browser that started it, and only where it runs."""
    runner, key = shell.runner(), f"sequence.{record.id}"
    if state == "done" and not shell.may_manage(record):
        return
    if not shell.may_manage(record):
        st.caption("Started in another browser; only that one can stop or resume it.")
        return
    if state in ACTIVE and runner.position(record) is None:
        st.caption("It runs in another process; stop it there with Ctrl-C.")
        return
    with st.container(horizontal=True):
        if state in ACTIVE:
            stopping = st.session_state.get(f"{key}.stopping", False)
            help = "Ends after this step; what is scored stays, and Resume goes on from there."
            if st.button("Stop", icon=":material/stop:", key=f"{key}.stop", help=help, disabled=stopping):
                st.session_state[f"{key}.stopping"] = True
                runner.stop(record)
                st.rerun()
            return
        st.session_state.pop(f"{key}.stopping", None)
        if state != "done" and st.button("Resume", icon=":material/play_arrow:", key=f"{key}.resume"):
            attempt(lambda: runner.resume(record, sequence.perform))
        with st.popover("Delete", icon=":material/delete:", key=f"{key}.delete"):
            runs = members(record)
            too = st.checkbox(f"And its {len(runs)} runs, with their weights", key=f"{key}.runs")
            if st.button("Delete for good", type="primary", key=f"{key}.yes"):
                attempt(lambda: delete(record, runs if too else []))


def delete(record: SequenceRecord, runs: Sequence[Run]) -> None:
    """The folder of the sequence, and of these runs."""
    for run in runs:
        shell.runner().discard(run)
    shell.runner().discard(record)
    left = [i for i in st.query_params.get("sequence", "").split(",") if i != record.id]
    st.query_params["sequence"] = ",".join(left)


def attempt(action: Any) -> None:
    """Do it and redraw; what it refuses is said in its own words."""
    try:
        action()
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    st.rerun()


def members(record: SequenceRecord) -> list[Run]:
    """The runs whose scores it keeps, in order, those left out that somebody deleted since."""
    found = []
    for event in record.scores():
        if event["run"]:
            with contextlib.suppress(ValueError):
                found.append(shell.store().get(event["run"]))
    return found


# -- what came of them -----------------------------------------------------------------------------------------


def study(record: SequenceRecord, metric: str) -> dict[str, Any]:
    """The plain record that the figures take."""
    config = record.config
    return {
        "label": label(record),
        "method": shell.method_title(config.run.method),
        "mode": config.mode,
        "order": config.order,
        "rows": sequence.summary(record, metric),
        "scores": record.scores(),
    }


def named(studies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with no longer a label than tells them apart: NPO chain, or with order and time."""
    brief = [f"{one['method']} {one['mode']}" for one in studies]
    return [
        one | ({"label": name} if brief.count(name) == 1 else {})
        for one, name in zip(studies, brief, strict=True)
    ]


def results(records: Sequence[SequenceRecord]) -> None:
    """Curves of all, the heat map of one, its runs, and the table."""
    from unlearn import plots_sequence
    from unlearn.compare import METRICS

    scored = [record for record in records if len(record.scores()) > 1]
    if not scored:
        st.info("The curves begin when the first request is honoured and scored.", icon=":material/info:")
        return
    known = {name for event in scored[0].scores() for one in event["requests"].values() for name in one}
    metric = st.segmented_control(
        "Measured by",
        [name for name in MEASURES if name in known],
        format_func=lambda name: METRICS[name][0],
        default="exact" if "exact" in known else None,
        required=True,
        key="sequence.metric",
    )
    studies = named([study(record, metric) for record in scored])
    figure.show(plots_sequence.curves(studies, metric, shell.dark()), key="sequence.curves", top=45)
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
    """The squares, what a clicked one says, and the runs behind them."""
    from unlearn import plots_sequence

    left, right = st.columns([3, 2])
    with left:
        map_ = plots_sequence.grid(study(record, metric), metric, shell.dark())
        event = figure.show(map_, key=f"sequence.grid.{record.id}.{metric}", select=True)
        st.caption("Filled: its turn has come. Outlined: still to come. Click a square for its scores.")
    with right:
        points = event.selection.points
        if points:
            square(record, *points[0]["customdata"][:2])
        runs = members(record)
        ids = ",".join(run.id for run in runs)
        shell.link("compare", "Compare its runs", ":material/compare:", runs=ids)
        for run in runs:
            shell.link("compare", shell.plain(run.title), ":material/arrow_forward:", runs=run.id)
        with st.popover("Copy command", icon=":material/terminal:", key=f"sequence.command.{record.id}"):
            st.code(record.config.command(), language="bash", wrap_lines=True)


def square(record: SequenceRecord, after: int, request: int) -> None:
    """Every score of one request at one time, beside those of the original model."""
    from unlearn.compare import METRICS, short

    events = {event["after"]: event["requests"][str(request)] for event in record.scores()}
    now, was = events[after], events[0]
    st.markdown(f"**Request {request} after {after} requests** (n = {now['n']})")
    rows = [
        {"measure": METRICS[name][0], "original": short(was.get(name)), "then": short(now.get(name))}
        for name in METRICS
        if name in now
    ]
    st.dataframe(rows, hide_index=True, key="sequence.square", alt="Scores of the clicked square")


def table(records: Sequence[SequenceRecord], metric: str) -> None:
    """One row a sequence and number of requests, and the same as CSV."""
    rows = []
    for record in records:
        events = {event["after"]: event for event in record.scores()}
        for row in sequence.summary(record, metric):
            request, run = (events[row["after"]][name] for name in ("request", "run"))
            rows.append({"sequence": label(record), "request": request} | row | {"run": run or ""})
    names = list(dict.fromkeys(name for row in rows for name in row))
    with st.expander("All numbers", icon=":material/table:"):
        st.dataframe(
            rows,
            column_config={
                "after": st.column_config.NumberColumn(help="Requests honoured so far."),
                "done": st.column_config.NumberColumn(help="Mean over the requests so far.", format="%.3g"),
                "to come": st.column_config.NumberColumn(help="Mean over the others.", format="%.3g"),
                "utility": st.column_config.NumberColumn(
                    help="Mean of retain, general and neighbours.", format="%.3g"
                ),
                "seconds": st.column_config.NumberColumn(help="Run and scoring.", format="%.0f"),
            }
            | {
                name: st.column_config.NumberColumn(format="%.3g")
                for name in names
                if name in ("retain", "general", "neighbours", "paraphrase")
            },
            hide_index=True,
            key="sequence.table",
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
