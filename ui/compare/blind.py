"""Draws the blind test on Compare: two answers without their names, votes, and the result."""

import secrets
from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from ui import shell
from unlearn.data.base import TITLES
from unlearn.results import blind
from unlearn.results.compare import rounded
from unlearn.store.caps import mode
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

BUTTONS = {"left": "The left one", "same": "No difference", "right": "The right one"}


def blind_test(run: Run, rows: Sequence[Mapping[str, object]]) -> None:
    """Draw one ballot after the other: choose the rows, vote, see the result.

    rows are compare.pair_samples of the run.
    """
    key = f"blind.{run.id}"
    state = st.session_state.get(key)
    if state is None:
        _begin(run, rows, key)
    elif len(state["cast"]) < len(state["pairs"]):
        _vote(run, state)
    else:
        _result(run, state, key)


def _begin(run: Run, rows: Sequence[Mapping[str, object]], key: str) -> None:
    roles = list(dict.fromkeys(row["role"] for row in rows))
    if not roles:
        st.info("The run has no answers yet.")
        return
    st.caption(
        "Answers before and after unlearning stand side by side in random order. Say which one is better; which was "
        "which, and the right answer, is told at the end. Only rows whose two answers differ are shown."
    )
    role = st.segmented_control(
        "Rows",
        roles,
        default=roles[0],
        required=True,
        wrap=True,
        format_func=lambda role: TITLES.get(role, role),
        key=f"{key}.role",
    )
    seed = secrets.token_hex(6)
    pairs = blind.ballot([row for row in rows if row["role"] == role], seed)
    if not pairs:
        st.info("Before and after give the same answers on these rows: nothing to vote on.")
    else:
        begun = {"id": seed, "pairs": pairs, "cast": [], "role": role}
        start = partial(st.session_state.__setitem__, key, begun)
        st.button(f"Start: {len(pairs)} pairs", type="primary", key=f"{key}.start", on_click=start)
    if kept := blind.tally(blind.votes(run)):
        with st.expander("All votes on this run so far", key=f"{key}.all"):
            _table(kept, f"{key}.kept")


def _vote(run: Run, state: JsonObject) -> None:
    at, pair = len(state["cast"]), state["pairs"][len(state["cast"])]
    st.progress(at / len(state["pairs"]), text=f"Pair {at + 1} of {len(state['pairs'])}")
    st.markdown(f"**{shell.plain(pair['question'])}**")
    for side, place in zip(("left", "right"), st.columns(2), strict=True):
        with place, st.container(border=True):
            st.caption(side.capitalize())
            st.text(pair[side].strip() or "(nothing)")
    with st.container(horizontal=True):
        for choice, label in BUTTONS.items():
            cast = partial(_cast, run, state, pair, choice)
            st.button(label, key=f"blind.{state['id']}.{at}.{choice}", on_click=cast)


def _keeps(run: Run) -> bool:
    """Whether votes on the run are kept with it. A shipped run is read-only, and in a demo that of somebody else is;
    votes on these are kept in this browser alone.
    """
    return not shell.is_recorded(run) and (mode() != "demo" or shell.may_manage(run))


def _cast(run: Run, state: JsonObject, pair: JsonObject, choice: str) -> None:
    try:
        if not _keeps(run):
            state["cast"].append(blind.vote_record(state["id"], pair, choice))
        else:
            state["cast"].append(blind.vote(run, state["id"], pair, choice))
    except (ValueError, OSError) as error:
        st.toast(shell.plain(str(error)), icon=":material/error:")


def _result(run: Run, state: JsonObject, key: str) -> None:
    (found,) = blind.tally(state["cast"]).values()
    st.markdown(
        f"Of {found['n']} pairs of {shell.plain(state['role'])} rows you preferred the answer **before** unlearning "
        f"{found['before']} times and the one **after** it {found['after']} times; {found['same']} times neither. "
        f"A fair coin would be as uneven with probability {rounded(found['p'])}."
    )
    lines = [
        {
            "question": pair["question"],
            "right answer": pair["answer"].strip(),
            "left": f"{pair['left'].strip()} ({pair['is_left']})",
            "right": f"{pair['right'].strip()} ({'after' if pair['is_left'] == 'before' else 'before'})",
            "better": cast["better"],
        }
        for pair, cast in zip(state["pairs"], state["cast"], strict=True)
    ]
    st.dataframe(
        lines,
        hide_index=True,
        key=f"{key}.told",
        placeholder="–",
        alt="Which answer was which, and the votes",
    )
    if not _keeps(run):
        st.caption("This run is read-only here: these votes are not kept.")
    else:
        st.caption("All votes on this run so far, yours among them:")
        _table(blind.tally(blind.votes(run)), f"{key}.sum")
    st.button("Vote again", key=f"{key}.again", on_click=partial(st.session_state.__delitem__, key))


def _table(kept: Mapping[str, JsonView], key: str) -> None:
    rows = [
        {"rows": TITLES.get(role, role)} | {**found, "p": rounded(found["p"])} for role, found in kept.items()
    ]
    heads = {
        "before": st.column_config.NumberColumn("Before is better", format="%d"),
        "after": st.column_config.NumberColumn("After is better", format="%d"),
        "same": st.column_config.NumberColumn("No difference", format="%d"),
        "n": st.column_config.NumberColumn("Votes", format="%d"),
        "p": st.column_config.TextColumn(
            "p", help="Two-sided sign test: how likely a fair coin is as uneven.", alignment="right"
        ),
    }
    st.dataframe(rows, column_config=heads, hide_index=True, key=key, placeholder="–", alt="Votes by rows")
