"""Draws the form of a sweep, what it will cost, its progress, and the ways to end or resume it.

Everything on the screen is read from the sweep's folder, so a refresh, another tab or a sweep started on the command
line show the same. What came of it is in ui.sweep.results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import streamlit as st

from ui import forms, shell, studies
from unlearn.results import sweep_record
from unlearn.results.pace import duration
from unlearn.results.sweep_record import SweepConfig, SweepRecord, identity, seconds_left
from unlearn.store.runs import Run, RunConfig
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.store.studies import Study
from unlearn.work import sweep
from unlearn.work.preflight import preflight, tuned_for

if TYPE_CHECKING:
    from unlearn.methods.base import Method

# What the page can do; the first is the one button.
WAYS = ("Find settings for me", "Try a grid")
# The learning rates on offer, from 1e-6 to 3e-1.
RATES = tuple(float(f"{digit}e-{power}") for power in range(6, 0, -1) for digit in (1, 3))
EPOCHS, BATCHES, SEEDS = (1, 2, 5, 10, 20), (4, 8, 16, 32), 5
# The values with which the form begins.
FIRST = {
    "sweep.methods": ["gd", "npo"],
    "sweep.low": 1e-4,
    "sweep.high": 3e-3,
    "sweep.epochs": [2, 5],
    "sweep.batches": [],
    "sweep.seeds": 1,
}


def label(record: SweepRecord) -> str:
    """Return the title that a person gave, or methods, size and time."""
    config = record.config
    methods = ", ".join(shell.method_title(name) for name in config.methods)
    cells = f"{len(config.cells())} cells"
    return record.meta.get("title") or f"{methods} · {cells} · {shell.short_label(record)}"


# -- the form --------------------------------------------------------------------------------------------------


def choose_grid() -> JsonObject:
    """Draw the axes of the grid and return SweepConfig's fields but the templates."""
    for key, value in FIRST.items():
        st.session_state.setdefault(key, value)
    left, right = st.columns(2)

    def scientific(rate: float) -> str:
        return f"{rate:.0e}".replace("e-0", "e-")

    help = "Every step of the log scale between the two is tried: two rates a decade."
    low = left.selectbox(
        "Learning rates from", RATES, format_func=scientific, key="sweep.low", help=help, **forms.KEEP
    )
    high = right.selectbox("to", RATES, format_func=scientific, key="sweep.high", **forms.KEEP)
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


def choose_methods(methods: "Mapping[str, type[Method]]") -> list[str]:
    """Draw the choice of methods, each with its own tuned knobs, and return their names."""
    st.session_state["sweep.methods"] = [
        name for name in st.session_state.get("sweep.methods", FIRST["sweep.methods"]) if name in methods
    ]
    return st.pills(
        "Methods, each with its tuned knobs",
        list(methods),
        selection_mode="multi",
        format_func=lambda name: methods[name].title,
        wrap=True,
        key="sweep.methods",
        **forms.KEEP,
    )


def templates(
    names: Sequence[str], methods: "Mapping[str, type[Method]]", model: str, data: JsonView, size: str
) -> tuple[RunConfig, ...]:
    """Return one run for each method with its tuned settings for this model, or its size."""
    return tuple(
        RunConfig(model=model, data=data, method=name, **tuned_for(methods[name], model, size=size))
        for name in names
    )


def cost(config: SweepConfig) -> bool:
    """Draw the number of cells, how many are there already, and the time for the rest.

    It returns False when the sweep cannot start.
    """
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
    """Queue the sweep that the form describes."""
    studies.launch(
        PANEL, config.runs, lambda: sweep_record.create(config, shell.store(), owner=shell.owner())
    )


def pick(found: Sequence[Study], labels: Mapping[type[Study], Callable[..., str]]) -> Study:
    """Draw the choice of a sweep or a search and return it. It stands in the address.

    labels: what another kind than a sweep is called.
    """
    by_id = {record.id: record for record in found}
    studies.warn_of_gone(PANEL, found)
    wanted = st.query_params.get("sweep", "")
    st.session_state["sweep.chosen"] = wanted if wanted in by_id else next(iter(by_id))

    def remember() -> None:
        st.query_params["sweep"] = st.session_state["sweep.chosen"]

    def shown(name: str) -> str:
        return labels.get(type(by_id[name]), label)(by_id[name])

    return by_id[
        st.selectbox(
            "Search or sweep", list(by_id), format_func=shown, key="sweep.chosen", on_change=remember
        )
    ]


# -- one that goes on --------------------------------------------------------------------------------------------


def how_far(record: SweepRecord) -> tuple[float, str]:
    """Return (fraction of the grid, what is done now and how long the rest will take)."""
    if record.state == "queued":
        return 0.0, studies.waiting(record)
    place = shell.runner().position(record)
    count, total = len(record.cells()), len(record.config.cells())
    phase, fraction, _ = shell.runner().progress(record) if place == 0 else ("", count / total, 0.0)
    words = (
        f"{count} of {total} cells"
        if count < total or not record.config.guide
        else "Following the tuning guide"
    )
    words += f" · {phase}" if phase else ""
    left = seconds_left(record)
    return min(1.0, fraction), words + (f" · about {duration(left)} left" if left else "")


def members(record: SweepRecord) -> list[Run]:
    """Return the runs that this sweep made and that are still there.

    Cells that it found in the store are not its own.
    """
    return [run for run in shell.store().list() if run.meta.get("sweep") == record.id]


PANEL = studies.Panel(
    name="sweep",
    work=sweep,
    part="finished cells",
    label=label,
    done=lambda record: len(record.events("cell")),
    how_far=how_far,
    members=members,
)
