"""Draws further metrics on Compare, and starts a background job that computes more.

A job is a stress record (unlearn.work.stress), which the runner carries out between runs; the run itself stays as
it is.
"""

from collections.abc import Sequence

import streamlit as st

from ui import actions, shell
from ui.launch import where
from unlearn.data.base import TITLES
from unlearn.metrics import BENCHMARKS, METRICS
from unlearn.metrics import EVERY as KNOWN
from unlearn.report.numbers import metrics
from unlearn.results import compare
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject
from unlearn.work import stress
from unlearn.work.stress import StressRecord

EVERY = 2.0
# Only these are offered, because every run has the others.
MORE = [name for name in METRICS if name not in compare.METRICS]
MEMBERSHIP = [name for name in MORE if name.startswith("mia_")] + ["privleak"]
# These need no forward pass of their own: the first reading of the models gives them.
QUICK = (
    *("target_ppl", "target_accuracy", "mia_loss", "mia_zlib", "mia_reference", "privleak"),
    *("collapse", "rep_3", "distinct_2", "entity_loss"),
)
PRESETS = {"Quick": list(QUICK), "Membership": MEMBERSHIP, "Everything": MORE}
# The metrics of a benchmark by its name; they need a run on that benchmark.
PRESETS |= {
    family.upper(): [name for name, metric in BENCHMARKS.items() if metric.benchmark == family]
    for family in dict.fromkeys(metric.benchmark for metric in BENCHMARKS.values())
}
CHOSEN = "further.names"


def further(runs: Sequence[Run]) -> None:
    """Draw the table of what is there, the jobs that are active, and the form for more."""
    st.subheader("Further metrics", anchor=False)
    jobs = [(run, job) for run in runs if (job := stress.latest(run)) and job.asked.get("metrics")]
    active = any(job.state in ACTIVE for _, job in jobs)
    st.fragment(_jobs, run_every=EVERY if active else None)(jobs, active)
    sheet(runs)
    mine = [run for run in runs if shell.may_manage(run)]
    ended = [run for run in mine if run.state not in ACTIVE]
    if not mine:
        st.caption(
            "More can be computed in the browser that started the run, or with `evaluate` on the command line."
        )
    elif ended and not active:
        form(ended)


def sheet(runs: Sequence[Run]) -> None:
    """Draw metrics.json of the runs, beyond the score table."""
    found = metrics(runs)
    if not found:
        st.caption(
            "None was computed yet: membership inference, truth ratio, forget quality, repetition and more."
        )
        return
    heads = {
        letter: f"After {letter.upper()}" if len(runs) > 1 else "After"
        for letter in compare.SIDES[: len(runs)]
    }
    if found["rows"]:
        table = [
            row | {"role": TITLES.get(row["role"], row["role"])} | dict(zip(heads, row["after"], strict=True))
            for row in found["rows"]
        ]
        right = {"before": "Before", **heads, "retrained": "Retrained"}
        columns: JsonObject = {
            key: st.column_config.TextColumn(head, alignment="right") for key, head in right.items()
        }
        words = {"role": "Rows", "ideal": "Ideal", "help": "What it is"}
        columns |= {key: st.column_config.TextColumn(head) for key, head in words.items()}
        columns["title"] = st.column_config.TextColumn("Metric", width="medium")
        st.dataframe(
            table,
            column_order=["title", "role", "n", *right, "ideal", "help"],
            column_config=columns,
            hide_index=True,
            key="further.table",
            placeholder="–",
            alt="Further metrics by rows, before and after",
        )
    for text in found["broken"]:
        st.warning(shell.plain(text))
    if found["left_out"]:
        st.caption(shell.plain("Left out: " + "; ".join(found["left_out"]) + "."))


def form(runs: Sequence[Run]) -> None:
    """Draw the choice of metrics, by preset or one by one. Its button queues a job for each run."""
    st.session_state.setdefault(CHOSEN, list(QUICK))

    def preset() -> None:
        if name := st.session_state["further.preset"]:
            st.session_state[CHOSEN] = PRESETS[name]

    with st.popover("Compute more metrics", icon=":material/add_chart:", key="further.open"):
        st.segmented_control("Preset", list(PRESETS), wrap=True, key="further.preset", on_change=preset)
        names = st.multiselect(
            "Metrics",
            [*MORE, *BENCHMARKS],
            key=CHOSEN,
            format_func=lambda name: KNOWN[name].title,
            help="  \n".join(
                f"**{KNOWN[name].title}**: {shell.plain(KNOWN[name].help)}" for name in [*MORE, *BENCHMARKS]
            ),
        )
        st.caption(
            "The models are loaded again and asked again; what is there already is not computed twice."
        )
        if told := where.told():
            st.caption(told)
        if st.button("Compute", type="primary", key="further.compute", disabled=not names):
            _start(runs, names)


def _start(runs: Sequence[Run], names: Sequence[str]) -> None:
    try:
        for run in runs:
            actions.do("measure", run, names)
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    st.rerun()


def _jobs(jobs: Sequence[tuple[Run, StressRecord]], was_active: bool) -> None:
    """Draw what each job does now. The page is drawn again once when the last one ends."""
    if was_active and not any(job.state in ACTIVE for _, job in jobs):
        st.rerun()
    for run, job in jobs:
        state, place = job.state, shell.runner().position(job)
        if state in ACTIVE:
            phase, fraction, _ = shell.runner().progress(job) if place == 0 else ("", 0.0, 0.0)
            name, _, doing = phase.partition(":")
            words = f"{KNOWN[name].title}: {doing.strip()}" if name in KNOWN else phase
            words = words or ("waiting for the machine" if place else "it runs in another process")
            label = f"{shell.plain(shell.run_label(run))}: {shell.plain(words)}"
            with st.container(horizontal=True, vertical_alignment="center"):
                st.progress(fraction, text=label)
                mine = place is not None and shell.may_manage(job)
                if mine and st.button("Stop", key=f"further.stop.{job.id}"):
                    actions.pressed("stop", job)
                    st.rerun(scope="fragment")
        elif state == "failed":
            st.error(f"{shell.plain(shell.run_label(run))}: {shell.plain(job.reason)}")
        elif state in ("stopped", "interrupted"):
            why = f" {shell.plain(job.reason)}" if job.reason else ""
            st.caption(
                f"{shell.plain(shell.run_label(run))}: the last computation was {state}; what was done is kept.{why}"
            )
