"""Asks the model, when Launch is pressed, whether it knows what it is to forget; a tick goes on where it does not."""

import json
from collections.abc import Sequence

import streamlit as st

from ui import shell
from ui.demo import visitor
from unlearn.store.runs import RunConfig
from unlearn.work.known import Known

KEY = "form.known"
# What the answers depend on.
ASKED = ("model", "data", "prompt", "system", "start", "max_length", "tuning", "precision", "adapter")


def ask_first(configs: Sequence[RunConfig]) -> bool:
    """Whether the launch may go on. Where the model knows nothing the page is drawn anew, with notice().

    ValueError for what a visitor may not ask for.
    """
    visitor.allow(configs)
    if ticked(configs):
        return True
    for key, config in _distinct(configs).items():
        try:
            with st.spinner("Asking the model whether it knows these rows"):
                found = shell.runner().known(config)
        except RuntimeError:
            # Another run has the device. This one waits for it, and scores what it knew before it trains.
            continue
        if found.nothing:
            st.session_state[KEY] = (key, found)
            st.rerun()
    return True


def notice(configs: Sequence[RunConfig]) -> bool:
    """Draw why the last launch was held up, with examples and a tick, and return whether it is ticked."""
    told: tuple[str, Known] | None = st.session_state.get(KEY)
    if told is None or told[0] not in _distinct(configs):
        return True
    key, found = told
    lines = [found.words()]
    lines += [
        f"- {shell.plain(one['question'])} → {shell.plain(one['said'] or '(nothing)')} "
        f"(right: {shell.plain(one['answer'])})"
        for one in found.examples
    ]
    st.warning("\n".join([lines[0], "", *lines[1:], "", found.rule]), icon=":material/help:")
    return st.checkbox("Launch all the same", key=_tick(key))


def ticked(configs: Sequence[RunConfig]) -> bool:
    """Whether the person wants it all the same."""
    told = st.session_state.get(KEY)
    return told is not None and told[0] in _distinct(configs) and bool(st.session_state.get(_tick(told[0])))


def _tick(key: str) -> str:
    return f"{KEY}.{key}"


def _distinct(configs: Sequence[RunConfig]) -> dict[str, RunConfig]:
    found: dict[str, RunConfig] = {}
    for config in configs:
        asked = {name: value for name, value in config.to_json().items() if name in ASKED}
        found.setdefault(json.dumps(asked, sort_keys=True, default=str), config)
    return found
