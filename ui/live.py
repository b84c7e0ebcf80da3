"""Draws a run as it happens, in a fragment that redraws itself every two seconds.

It reads the run's folder and nothing else, so a refresh, another tab or a run started on the command line
all show the same. Figures are rebuilt only when there are new steps, because a rebuilt figure loses its
zoom; Pause redraw freezes them while the numbers go on. A class that watches shares one figure, since
drawing six of the same would cost the training that they watch.
"""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from ui import actions, shell
from ui.figure import CONFIG, untitled
from unlearn.results.compare import Written, question_of
from unlearn.results.pace import duration, seconds_to_go
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ColumnConfig

# Seconds between redraws.
EVERY = 2.0
# The points of a curve. A panel is a few hundred pixels wide, and they are sent every two seconds.
LIVE_POINTS = 300
# The number of figures that are kept for the next viewer.
SHARED = 8
PHASES = {
    "loading model": "Loading the model",
    "scoring before": "Asking the questions before",
    "scoring retrained": "Asking the model that never saw it",
    "reference": "Computing the reference",
    "training": "Unlearning",
    "scoring after": "Asking the same questions after",
    "saving": "Saving",
}

# Where the other answers of AltPO come from.
SOURCES = {"rows": "the data's wrong answers", "model": "the model itself", "another text": "another text"}

# Each (run, dark), with the time when it was drawn and what drawn() returns.
_drawn: dict[tuple[str, bool], tuple[float, Any]] = {}
_drawing = threading.Lock()


def live(run: Run, together: Sequence[Run] = ()) -> None:
    """Show the run, and keep showing it while it is queued or running.

    together are the runs to compare it with.
    """
    active = run.state in ACTIVE
    st.fragment(_panel, run_every=EVERY if active else None)(
        run, active, [run, *(r for r in together if r != run)]
    )


def _panel(run: Run, was_active: bool, together: Sequence[Run]) -> None:
    if not run.path.is_dir():
        if was_active:
            st.rerun()
        st.info("This run was deleted.", icon=":material/delete:")
        return
    state, steps = run.state, run.events("step")
    if was_active and state not in ACTIVE:
        # This happens once: the page now has something else to offer, and this fragment stops.
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{shell.plain(shell.run_label(run))}**", width="content")
        shell.state_badge(run)
    if state in ACTIVE:
        fraction, words = progress(run, steps)
        st.progress(fraction, text=words)
        controls(run)
    else:
        ended(run, state)
        onward(run, together)
    for event in run.events("note"):
        if event.get("text"):
            st.caption(shell.plain(event["text"]))
    alternates(run)
    if steps:
        curves(run, steps, state in ACTIVE)
    if run.probes():
        probes_now(run)


def alternates(run: Run) -> None:
    """Draw the other answers that the model is taught to prefer, where the method has some (AltPO)."""
    rows = [row for event in run.events("note") for row in event.get("alternates", ())]
    if not rows:
        return
    with st.expander("Other answers that it is taught", icon=":material/alt_route:"):
        st.dataframe(
            [
                {"answer": row["answer"], "taught instead": " · ".join(row["alternates"])}
                | {"from": SOURCES.get(row["source"], row["source"])}
                for row in rows
            ],
            hide_index=True,
            alt="True answers with the other answers that are taught instead, and where these come from",
        )


def progress(run: Run, steps: Sequence[JsonObject]) -> tuple[float, str]:
    """Return (fraction of the training done, what is done now and how long it will take, in words)."""
    place = shell.runner().position(run)
    if run.state == "queued":
        ahead = f"{place} ahead of it" if place else "it is next"
        return 0.0, f"Waiting for the machine, {ahead}"
    notes = [event["phase"] for event in run.events("note") if event.get("phase")]
    phase = PHASES.get(notes[-1], notes[-1].capitalize()) if notes else "Starting"
    if not steps:
        return 0.0, phase
    last = steps[-1]
    step, of = last["step"], max(last["of"], 1)
    if step >= of:
        return 1.0, phase if phase != PHASES["training"] else PHASES["scoring after"]
    left = seconds_to_go(steps)
    return step / of, f"{PHASES['training']}: step {step} of {of}" + (
        f", about {duration(left)} left" if left else ""
    )


def controls(run: Run) -> None:
    """Draw Stop and keep, and Discard, only in the browser that started the run and only where it runs.

    Pause is there for all.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        st.toggle("Pause redraw", key=f"pause.{run.id}", help="Freezes the figures, not the run.")
        stop_or_discard(run)


def stop_or_discard(run: Run) -> None:
    """Draw the two ways to end a run early, or say why this browser cannot."""
    if sequence := run.meta.get("sequence"):
        shell.link("sequence", "Part of a sequence; stop that", ":material/stop:", sequence=sequence)
    elif shell.runner().position(run) is None:
        st.caption("It runs in another process; stop it there with Ctrl-C.")
    elif not shell.may_manage(run):
        st.caption("Started in another browser; only that one can stop it.")
    elif stopping(run):
        st.caption("Stopping after this step.")
    else:
        help = "Ends after this step, keeps the weights, and can be compared."
        press, key = actions.pressed, f"stop.{run.id}"
        st.button("Stop and keep", key, help, press, ("stop", run), icon=":material/stop:")
        with st.popover("Discard", icon=":material/delete:", key=f"discard.{run.id}"):
            st.write("Stop it and delete everything it wrote?")
            key = f"discard.{run.id}.yes"
            st.button("Delete this run", key, None, press, ("discard", run), type="primary")


def stopping(run: Run) -> bool:
    """Return whether somebody asked the run to stop and it has not stopped yet."""
    asked = [event["time"] for event in run.events("note") if event.get("asked") == "stop"]
    return bool(asked) and asked[-1] >= run.events("state")[-1]["time"]


def ended(run: Run, state: str) -> None:
    """Draw the outcome: why the run failed, or the three numbers that matter and where to look next."""
    if state == "failed":
        st.error(
            shell.plain(
                run.reason or f"It failed without a reason. Its last events: {run.path / 'events.jsonl'}"
            )
        )
    elif state == "interrupted":
        st.warning("The program that ran it ended first. Everything up to its last step is here.")
    elif run.reason:
        st.caption(shell.plain(run.reason))
    shell.unread(run)
    if shell.may_begin_again(run):
        key, help = f"resume.{run.id}", shell.resume_help(run)
        if st.button("Resume", key, help, icon=":material/play_arrow:"):
            actions.pressed("resume", run)
            st.rerun()
    outcome(run)


def onward(run: Run, together: Sequence[Run]) -> None:
    """Draw the links that lead on from a run that has ended."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if run.scores().get("after"):
            ids = ",".join(other.id for other in together if other.scores().get("after"))
            shell.link("compare", "Compare the answers", ":material/compare:", runs=ids)
            shell.link("tokens", "Look at the tokens", ":material/token:", runs=run.id)
        words, icon = "Again with changes", ":material/content_copy:"
        if st.button(words, icon=icon, key=f"clone.{run.id}", type="tertiary"):
            st.switch_page(shell.page("launch"), query_params={"clone": run.id})


# A change below one percentage point (of the value, where that is above 1) gets no colour.
NOISE = 0.01
# Each row: role, metric, label, format, which direction is good, and what it is.
SHOWN = (
    ("forget", "exact", "Forget set answered", "{:.0%}", "down", "Forget questions answered word for word."),
    ("retain", "exact", "Retain set answered", "{:.0%}", "up", "Retain questions answered word for word."),
    ("general", "ppl", "General perplexity", "{:.2f}", "down", "How surprised the model is by other text."),
)


def outcome(run: Run) -> None:
    """Draw three scores after the run, each with its change since before and, where it exists, the retrained
    model's.
    """
    scores = run.scores()
    after, before, truth = (scores.get(when, {}) for when in ("after", "before", "retrained"))
    shown = [(row, value) for row in SHOWN if (value := _value(after, row)) is not None]
    if not shown:
        return
    for (row, now), cell in zip(shown, st.columns(3)[: len(shown)], strict=True):
        role, _, label, form, good, help = row
        was, exact = _value(before, row), _value(truth, row)
        help += f" n = {after[role].get('n', '?')}, seed {run.config.seed}."
        if exact is not None:
            help += f" Retrained from scratch: {form.format(exact)}."
        delta = None if was is None else f"from {form.format(was)}"
        falls = was is not None and now < was
        same = was is None or abs(now - was) <= NOISE * max(1.0, abs(was))
        better = falls == (good == "down")
        color: Literal["off", "green", "red"] = "off" if same else "green" if better else "red"
        arrow: Literal["off", "down", "up"] = "off" if same else "down" if falls else "up"
        cell.metric(label, form.format(now), delta, delta_color=color, delta_arrow=arrow, help=help)


def _value(scores: JsonObject, row: tuple[str, ...]) -> float | None:
    value = scores.get(row[0], {}).get(row[1])
    return float(value) if value is not None else None


def curves(run: Run, steps: Sequence[JsonObject], active: bool) -> None:
    """Draw the losses, anew only when there is something new and nobody paused."""
    paused = active and st.session_state.get(f"pause.{run.id}", False)
    kept, dark = st.session_state.get("live.figure"), shell.dark()
    key = (run.id, steps[-1]["step"], dark)
    if kept is None or kept[0][::2] != key[::2] or (kept[0] != key and not paused):
        kept = st.session_state["live.figure"] = drawn(run, steps, active, dark)
    last = steps[-1]
    terms = " · ".join(f"{name} {_number(value)}" for name, value in last["terms"].items())
    st.caption(f"Step {last['step']}: {terms} · gradient norm {_number(last.get('grad_norm'))}")
    st.markdown(f"**{shell.plain(kept[2])}**")
    st.plotly_chart(
        kept[1], key=f"losses.{run.id}", config=CONFIG, alt=f"Training terms up to step {kept[0][1]}: {terms}"
    )


def drawn(
    run: Run, steps: Sequence[Mapping[str, object]], active: bool, dark: bool
) -> tuple[tuple, Any, str]:
    """Return ((run, step, dark), figure, its title), which all viewers share.

    So each redraw makes one new figure, not one for each tab.
    """
    from unlearn.figures import base as figures

    with _drawing:
        made, kept = _drawn.get((run.id, dark), (-math.inf, None))
        fresh = active and time.monotonic() - made < EVERY * 0.9
        if kept is None or (kept[0][1] != steps[-1]["step"] and not fresh):
            figure = figures.losses(steps, dark=dark, points=LIVE_POINTS)
            kept = ((run.id, steps[-1]["step"], dark), figure, untitled(figure))
            _drawn.pop((run.id, dark), None)
            _drawn[run.id, dark] = (time.monotonic(), kept)
            for old in list(_drawn)[:-SHARED]:
                del _drawn[old]
    return kept


def probes_now(run: Run) -> None:
    """Draw what the model says now to the fixed probes, beside what it said before."""
    records = run.probes()
    first = {(item["role"], item["index"]): item for item in records[0]["items"]}
    rows = [
        {
            "set": item["role"],
            "question": question_of(item),
            "answer": item["answer"].strip(),
            "before": first.get((item["role"], item["index"]), {}).get("text", "").strip(),
            "now": item["text"].strip(),
            "p": _probability(item["nll"]),
        }
        for item in records[-1]["items"]
    ]
    bar = st.column_config.ProgressColumn(
        "likelihood", min_value=0, max_value=100, format="%.0f %%", width="small",
        help="Probability of the right answer, mean per token: exp(−NLL).",
    )  # fmt: skip
    names: dict[str, ColumnConfig | str] = {
        "set": st.column_config.TextColumn("set", width="small"),
        "answer": "right answer",
        "p": bar,
    }
    names["now"] = (
        f"says at step {min(item.get('said', records[-1]['step']) for item in records[-1]['items'])}"
    )
    st.dataframe(
        rows, column_config=names, hide_index=True, key=f"probes.{run.id}", alt="Probes before and now"
    )


def _probability(nll: float | str) -> float | None:
    value = float(nll)
    return 100 * math.exp(-max(value, 0.0)) if math.isfinite(value) else None


def _number(value: Written) -> str:
    return "–" if value is None else f"{float(value):.3g}".replace("-", "−")
