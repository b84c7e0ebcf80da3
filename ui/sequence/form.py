"""Draws the form of a sequence of deletion requests, what it will cost, and how far it is.

Everything on the screen is read from the sequence's folder, so a refresh, another tab or a sequence started on the
command line show the same. What came of it is in ui.sequence.results.
"""

import contextlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from ui import choose, forget_set, shell, studies
from unlearn.methods import UNDO
from unlearn.results.pace import duration
from unlearn.store.runs import Run
from unlearn.work import sequence
from unlearn.work.preflight import Preflight, preflight
from unlearn.work.sequence import MODES, SequenceConfig, SequenceRecord

ORDER = "sequence.order"
# Seconds for which an estimate is kept: how much memory is free changes by itself.
KEPT = 60.0
# Modes that are called by an abbreviation.
NAMES = {"ties": "TIES"}


def label(record: SequenceRecord) -> str:
    """Return the title that a person gave, or a text such as "NPO · chain · 1, 2, 3" with the time."""
    config = record.config
    order = ", ".join(map(str, config.order))
    return (
        record.meta.get("title")
        or f"{shell.method_title(config.run.method)} · {config.mode} · {order} · {shell.short_label(record)}"
    )


# -- the form --------------------------------------------------------------------------------------------------


def choose_order(requests: Sequence[int], key: str) -> tuple[int, ...]:
    """Draw the choice of requests and return them in the order in which they arrive: as picked, or shuffled."""
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
    """Draw the choice of how one request follows another, each way with its sentence."""
    return st.radio(
        "How they are honoured",
        list(MODES),
        format_func=lambda mode: NAMES.get(mode, mode.capitalize()),
        captions=[MODES[mode] for mode in MODES],
        key="sequence.mode",
        persist_state="session",
    )


def choose_undo() -> float:
    """Draw the choice of a step of UNDO after each request, and return the share of every weight that it takes."""
    on = st.toggle(
        "Undo what only hides, after each request (UNDO)",
        key="sequence.undo",
        help=f"{UNDO.sentence} It needs every weight, so in a chain what may change must be all weights.",
        persist_state="session",
    )
    if not on:
        return 0.0
    share = next(knob for knob in UNDO.knobs() if knob.name == "share")
    return st.slider(
        "Share of every weight that is lost", 0.05, 0.8, float(share.default), 0.05, key="sequence.undo.share",
        help=share.help, persist_state="session",
    )  # fmt: skip


def cost(config: SequenceConfig) -> bool:
    """Draw what all runs together will take, in a line.

    It returns False, with the reason shown, when they cannot start.
    """
    finished = [run for run in shell.store().list()[:40] if run.results()]
    try:
        known = forget_set.stamped(dict(config.run.data)), tuple(run.id for run in finished)
        checks = _checks(json.dumps(config.to_json(), sort_keys=True), known, config, finished)
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return False
    tokens, flops = (sum(getattr(c, name) for c in checks) for name in ("tokens", "flops"))
    times = [c.seconds for c in checks if c.seconds]
    took = f"about {duration(sum(times))}" if len(times) == len(checks) else "a time not known yet"
    said = f"{len(checks)} runs, {sum(c.steps for c in checks)} steps, {choose.count(tokens).strip()} tokens"
    st.caption(f"{said}, {choose.count(flops, 'G')}FLOP, {took}.")
    for text in dict.fromkeys(text for c in checks for text in c.notes):
        st.caption(shell.plain(text))
    for text in dict.fromkeys(text for c in checks for text in c.warnings):
        st.warning(shell.plain(text), icon=":material/warning:")
    return True


@st.cache_data(max_entries=8, ttl=KEPT, show_spinner=False)
def _checks(asked: str, known: object, _config: SequenceConfig, _finished: Sequence[Run]) -> list[Preflight]:
    """What each run of a sequence takes. A visit to the page changes nothing of it, and each costs some 7 ms.

    known: the rows as their files are now, and the runs whose speed counts.
    """
    template = {key: value for key, value in _config.run.data.items() if key != "requests"}
    return [
        preflight(replace(_config.run, data=template | {"requests": list(_config.requests_of(k))}), _finished)
        for k in range(1, len(_config.order) + 1)
    ]


def launch(config: SequenceConfig) -> None:
    """Queue the sequence that the form describes. The sequences that were shown stay beside it."""

    def create() -> SequenceRecord:
        return sequence.create(config, shell.store(), owner=shell.owner())

    studies.launch(PANEL, [config.run], create, beside=studies.MOST)


# -- which ones ------------------------------------------------------------------------------------------------


def chosen(found: Sequence[SequenceRecord]) -> list[SequenceRecord]:
    """Draw the choice of sequences to show together and return them.

    They stand in the address, and the first one has the heat map.
    """
    by_id = {record.id: record for record in found}
    key = "sequence.chosen"
    wanted = [i for i in studies.addressed(PANEL) if i in by_id]
    st.session_state[key] = wanted or [next(iter(by_id))]

    def remember() -> None:
        st.query_params["sequence"] = ",".join(st.session_state[key])

    ids = st.multiselect(
        "Sequences to show together",
        list(by_id),
        format_func=lambda i: label(by_id[i]),
        key=key,
        on_change=remember,
        max_selections=studies.MOST,
    )
    return [by_id[i] for i in ids]


# -- one that goes on --------------------------------------------------------------------------------------------


def how_far(record: SequenceRecord) -> tuple[float, str]:
    """Return (fraction of the whole, what is done now and how long the rest will take)."""
    if record.state == "queued":
        return 0.0, studies.waiting(record)
    place, count = shell.runner().position(record), len(record.config.order)
    scored = [event for event in record.scores() if event["after"]]
    phase, fraction, _ = shell.runner().progress(record) if place == 0 else ("", len(scored) / count, 0.0)
    words = f"{phase[:1].upper()}{phase[1:]}" if phase else f"{len(scored)} of {count} requests honoured"
    if scored and len(scored) < count:
        left = sum(event["seconds"] for event in scored) / len(scored) * (count - len(scored))
        words += f", about {duration(left)} left"
    return min(1.0, fraction), words


def members(record: SequenceRecord) -> list[Run]:
    """Return the runs whose scores the sequence keeps, in order, without those that somebody deleted since."""
    found = []
    for event in record.scores():
        if event["run"]:
            with contextlib.suppress(ValueError):
                found.append(shell.store().get(event["run"]))
    return found


PANEL = studies.Panel(
    name="sequence",
    work=sequence,
    part="what is scored",
    label=label,
    done=lambda record: len(record.scores()),
    how_far=how_far,
    members=members,
)
