"""A sweep on its page: the form, what it will cost, progress, and the ways to end it or go on.

Everything on the screen is read from the sweep's folder, so a refresh, another tab or a sweep started on the command
line show the same. What came of it is in ui.sweepresults.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import streamlit as st

from ui import forms, shell
from ui.live import duration
from ui.sequences import attempt
from unlearn import sweep_record
from unlearn.runs import ACTIVE, Run, RunConfig
from unlearn.sweep_record import SweepConfig, SweepRecord, identity, seconds_left

EVERY = 2.0
RATES = tuple(float(f"{digit}e-{power}") for power in range(6, 0, -1) for digit in (1, 3))  # 1e-6 … 3e-1
EPOCHS, BATCHES, SEEDS = (1, 2, 5, 10, 20), (4, 8, 16, 32), 5
FIRST = {  # what the form begins with
    "sweep.methods": ["gd", "npo"],
    "sweep.low": 1e-4,
    "sweep.high": 3e-3,
    "sweep.epochs": [2, 5],
    "sweep.batches": [],
    "sweep.seeds": 1,
}


def label(record: SweepRecord) -> str:
    """The title that a person gave, or methods, size and time."""
    config = record.config
    methods = ", ".join(shell.method_title(name) for name in config.methods)
    cells = f"{len(config.cells())} cells"
    return record.meta.get("title") or f"{methods} · {cells} · {shell.short_label(record)}"


# -- the form --------------------------------------------------------------------------------------------------


def choose_grid() -> dict[str, Any]:
    """The axes of the grid: SweepConfig's fields but the templates."""
    for key, value in FIRST.items():
        st.session_state.setdefault(key, value)
    left, right = st.columns(2)
    rate = {"options": RATES, "format_func": lambda rate: f"{rate:.0e}".replace("e-0", "e-")}
    help = "Every step of the log scale between the two is tried: two rates a decade."
    low = left.selectbox("Learning rates from", key="sweep.low", help=help, **rate, **forms.KEEP)
    high = right.selectbox("to", key="sweep.high", **rate, **forms.KEEP)
    epochs = left.multiselect(
        "Epochs", EPOCHS, key="sweep.epochs", placeholder="each method's own", **forms.KEEP
    )
    batches = right.multiselect(
        "Batch sizes", BATCHES, key="sweep.batches", placeholder="each method's own", **forms.KEEP
    )
    help = "Each cell is repeated with as many seeds. Three or more before you claim a difference."
    seeds = left.number_input("Seeds", 1, SEEDS, key="sweep.seeds", help=help, **forms.KEEP)
    help = "Yao et al.'s rule of thumb: one epoch, few trials of the learning rate. Its regret is shown."
    guide = right.toggle("Follow the tuning guide too", key="sweep.guide", help=help, **forms.KEEP)
    help = "Only to ask a cell's model questions of your own; each is as large as the model."
    keep = right.toggle("Keep the weights", key="sweep.keep", help=help, **forms.KEEP)
    lrs = tuple(rate for rate in RATES if low <= rate <= high)
    axes = {"lrs": lrs, "epochs": tuple(epochs), "batch_sizes": tuple(batches), "seeds": tuple(range(seeds))}
    return axes | {"guide": guide, "keep_weights": keep}


def choose_methods(methods: Any) -> list[str]:
    """Which methods; each with its own tuned knobs."""
    st.session_state["sweep.methods"] = [
        name for name in st.session_state.get("sweep.methods", FIRST["sweep.methods"]) if name in methods
    ]
    return st.pills(
        "Methods, each with its tuned knobs",
        list(methods),
        selection_mode="multi",
        format_func=lambda name: methods[name].title,
        key="sweep.methods",
        **forms.KEEP,
    )


def templates(names: Sequence[str], methods: Any, model: str, data: Any, size: str) -> tuple[RunConfig, ...]:
    """One run a method with its tuned settings for this size of model."""
    from unlearn.preflight import default_tuning

    made = []
    for name in names:
        tuning = methods[name].tuning_for(default_tuning(model))
        tuned = dict(methods[name].settings(size, tuning))
        made.append(RunConfig(model=model, data=data, method=name, tuning=tuning, **tuned))
    return tuple(made)


def cost(config: SweepConfig) -> bool:
    """How many cells, how many of them are there already, and the time for the rest; False when it cannot start."""
    from unlearn.preflight import preflight

    runs = shell.store().list()
    finished = [run for run in runs[:40] if run.results()]
    there = {identity(run.config) for run in runs if run.results()}
    cells = config.cells()
    missing = [cell for cell in cells if identity(cell) not in there]
    try:
        times = {
            (run.method, epochs, batch): preflight(
                replace(run, epochs=epochs, batch_size=batch), finished
            ).seconds
            for run in config.runs
            for epochs, batch in product(
                config.epochs or (run.epochs,), config.batch_sizes or (run.batch_size,)
            )
        }
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return False
    known = all(times.values())
    total = sum(times[c.method, c.epochs, c.batch_size] or 0.0 for c in missing)
    took = (
        f"about {duration(total)}" if known and missing else "a time not known yet" if missing else "no time"
    )
    already = f", {len(cells) - len(missing)} of them computed before" if len(missing) < len(cells) else ""
    st.caption(f"{len(cells)} cells{already}; {took}. A finished cell is never computed again.")
    return True


def launch(config: SweepConfig) -> None:
    """Check, create, queue, and put it into the address, so that a refresh finds it again."""
    from unlearn.runner import check
    from unlearn.sweep import perform

    runner = shell.runner()
    try:
        for run in config.runs:
            check(run, runner.roots)
        record = sweep_record.create(config, shell.store(), owner=shell.owner())
        runner.enqueue(record, perform)
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    st.query_params["sweep"] = record.id
    st.session_state["sweep.form"] = False
    st.rerun()


def pick(found: Sequence[SweepRecord]) -> SweepRecord:
    """The sweep to show; it stands in the address."""
    by_id = {record.id: record for record in found}
    wanted = st.query_params.get("sweep", "")
    if wanted and wanted not in by_id:
        st.warning(f"There is no sweep {shell.plain(wanted[:80])} here; it may be deleted.")
    st.session_state["sweep.chosen"] = wanted if wanted in by_id else next(iter(by_id))

    def remember() -> None:
        st.query_params["sweep"] = st.session_state["sweep.chosen"]

    options = {"format_func": lambda i: label(by_id[i]), "key": "sweep.chosen", "on_change": remember}
    return by_id[st.selectbox("Sweep", list(by_id), **options)]


# -- one that goes on ------------------------------------------------------------------------------------------


def progress(record: SweepRecord) -> None:
    """State, what it does now, and the ways to end or go on; redrawn while it is active."""
    active = record.state in ACTIVE
    st.fragment(_progress, run_every=EVERY if active else None)(record, active, len(record.events("cell")))


def _progress(record: SweepRecord, was_active: bool, seen: int) -> None:
    state = record.state
    if not record.path.is_dir() or (
        was_active and (state not in ACTIVE or len(record.events("cell")) > seen)
    ):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        shell.state_badge(record)
        if state in ACTIVE:
            st.progress(*how_far(record), width="stretch")
        elif state == "interrupted":
            st.caption(
                "The program that ran it ended first. Finished cells stay; it goes on with the others."
            )
        elif state == "stopped":
            st.caption(shell.plain(record.reason))
    if state == "failed":
        st.error(shell.plain(record.reason))
    actions(record, state)


def how_far(record: SweepRecord) -> tuple[float, str]:
    """(fraction of the grid, what goes on now and how long the rest will take)."""
    place = shell.runner().position(record)
    if record.state == "queued":
        return 0.0, f"Waiting for the machine, {place} ahead of it" if place else "Waiting, it is next"
    count, total = len(record.cells()), len(record.config.cells())
    phase, fraction, _ = shell.runner().progress() if place == 0 else ("", count / total, 0.0)
    words = (
        f"{count} of {total} cells"
        if count < total or not record.config.guide
        else "Following the tuning guide"
    )
    words += f" · {phase}" if phase else ""
    left = seconds_left(record)
    return min(1.0, fraction), words + (f" · about {duration(left)} left" if left else "")


def actions(record: SweepRecord, state: str) -> None:
    """Stop, Resume, Delete; only in the browser that started it, and only where it runs."""
    runner, key = shell.runner(), f"sweep.{record.id}"
    if not shell.may_manage(record):
        st.caption("Started in another browser; only that one can stop, resume or delete it.")
        return
    if state in ACTIVE and runner.position(record) is None:
        st.caption("It runs in another process; stop it there with Ctrl-C.")
        return
    with st.container(horizontal=True):
        if state in ACTIVE:
            stopping = st.session_state.get(f"{key}.stopping", False)
            help = "Ends after this step; finished cells stay, and Resume goes on with the others."
            if st.button("Stop", icon=":material/stop:", key=f"{key}.stop", help=help, disabled=stopping):
                st.session_state[f"{key}.stopping"] = True
                runner.stop(record)
                st.rerun()
            return
        st.session_state.pop(f"{key}.stopping", None)
        if state != "done" and st.button("Resume", icon=":material/play_arrow:", key=f"{key}.resume"):
            attempt(lambda: resume(record))
        with st.popover("Delete", icon=":material/delete:", key=f"{key}.delete"):
            runs = members(record)
            too = st.checkbox(f"And its {len(runs)} runs", key=f"{key}.runs")
            if st.button("Delete for good", type="primary", key=f"{key}.yes"):
                attempt(lambda: [runner.discard(one) for one in [*(runs if too else []), record]])


def resume(record: SweepRecord, *, guide: bool = False) -> None:
    """Queue it again; with guide, an ended sweep goes on with the tuning guide."""
    from unlearn.sweep import perform

    if guide:
        sweep_record.ask_guide(record)
    shell.runner().resume(record, perform)


def members(record: SweepRecord) -> list[Run]:
    """The runs that this sweep made and that are still there; cells that it found in the store are not its own."""
    return [run for run in shell.store().list() if run.meta.get("sweep") == record.id]
