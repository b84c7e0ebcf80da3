"""Draws the blind vote of a class: one link, a browser each, and one tally that everybody sees grow."""

import secrets
from urllib.parse import urlsplit

import streamlit as st

from ui import pick, shell
from ui.compare.blind import BUTTONS
from unlearn.results import classroom
from unlearn.results.classroom import Classroom
from unlearn.store import environment
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject
from unlearn.work.visitors import admission

EVERY = 2.0
# Names under which a computer reaches only itself.
ALONE = ("127.0.0.1", "localhost", "::1")
PURPOSE = {"forget": "what it was to forget", "retain": "what it was to keep"}


def code() -> str:
    """Return the class's code: that in the address, else the server's own, else a new one of this session."""
    given = st.query_params.get("vote", "")
    if classroom.CODE.fullmatch(given):
        return given
    return environment.CLASS.text() or st.session_state.setdefault("class.code", classroom.new_code())


def link(code: str) -> str:
    """Return the address that a class opens, as this browser reaches the server."""
    parts = urlsplit(st.context.url or "")
    home = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return f"{home}/lesson?class={code}"


def host(run: Run) -> None:
    """Draw the teacher's side: begin a class on this run, its link and code, and the tally as it grows."""
    rows = pick.paired([run])
    room = classroom.read(shell.runs_root(), code())
    if room is None:
        role = st.segmented_control(
            "Judge answers on",
            list(PURPOSE),
            default="retain",
            required=True,
            format_func=PURPOSE.__getitem__,
            wrap=True,
            key="class.role",
        )
        made = Classroom(code(), run.id, str(role))
        count = len(classroom.pairs(made, rows))
        if not count:
            st.info("Before and after give the same answers on these rows: nothing to vote on.")
        elif st.button(
            f"Begin a vote on {count} pair{'s' * (count != 1)}",
            type="primary",
            icon=":material/how_to_vote:",
            key="class.go",
        ):
            try:
                root, me = shell.runs_root(), shell.owner()
                admission.begin_vote(root, made.code, made.run, made.role, me)
            except (ValueError, OSError) as error:
                st.error(shell.plain(str(error)))
                return
            st.rerun()
        return
    st.markdown(
        f"Open **{shell.plain(link(room.code))}**, or enter the code **{room.code}** on the page Lesson."
    )
    if urlsplit(st.context.url or "").hostname in ALONE:
        st.caption(
            "Only this computer can open that address. For a class, start the app with "
            "`unlearn-studio --host ADDRESS`, ADDRESS being this computer's in the network.",
        )
    st.fragment(_tally, run_every=EVERY)(room)
    st.button("A new class", key="class.new", on_click=_begin_anew)


def _begin_anew() -> None:
    st.query_params["vote"] = classroom.new_code()


def _tally(room: Classroom) -> None:
    found = classroom.tally(shell.runs_root(), room)
    st.markdown(shell.plain(classroom.sentence(found, room.role)))
    if found["n"]:
        names = {"before": "Before is better", "after": "After is better", "same": "No difference"}
        for (key, name), cell in zip(names.items(), st.columns(3), strict=True):
            cell.metric(name, found[key])


def voter(code: str) -> None:
    """Draw the class's side: one pair after the other, then what all have said so far."""
    root, room = shell.runs_root(), classroom.read(shell.runs_root(), code)
    if room is None:
        _wait(code)
        return
    try:
        run = shell.find_run(room.run)
    except ValueError:
        st.info("The run of this class is not here any more.", icon=":material/delete:")
        return
    pairs = classroom.pairs(room, pick.paired([run]))
    me = _me()
    done = {vote["index"] for vote in classroom.votes(root, room) if vote["voter"] == me}
    left = [pair for pair in pairs if pair["index"] not in done]
    st.progress(
        1 - len(left) / max(1, len(pairs)), text=f"{len(pairs) - len(left)} of {len(pairs)} pairs judged"
    )
    if left:
        _ballot(room, left[0], me)
        return
    st.markdown("Thank you. This is what the class says so far; which answer was which is told with it.")
    st.fragment(_tally, run_every=EVERY)(room)


def _wait(code: str) -> None:
    """Draw that the class has not begun, and look again until it has."""

    def look() -> None:
        if classroom.read(shell.runs_root(), code) is not None:
            st.rerun()
        st.info(
            f"No vote with the code {code} has begun here. Where the code is right, wait: the page goes on by "
            "itself when the vote begins.",
            icon=":material/hourglass_empty:",
        )

    if classroom.CODE.fullmatch(code):
        st.fragment(look, run_every=EVERY)()
    else:
        st.warning("This is no code of a class. It has five letters or digits.", icon=":material/help:")
    # The lesson's page has the field for it.
    label = "Enter another code"
    st.button(label, icon=":material/pin:", key="class.other", on_click=st.query_params.clear)


def _ballot(room: Classroom, pair: JsonObject, me: str) -> None:
    st.markdown(f"**{shell.plain(pair['question'])}**")
    st.caption("Which answer reads better? You do not have to know which one is true.")
    for side, place in zip(("left", "right"), st.columns(2), strict=True):
        with place, st.container(border=True):
            st.caption(side.capitalize())
            st.text(pair[side].strip() or "(nothing)")
    with st.container(horizontal=True):
        for choice, label in BUTTONS.items():
            st.button(
                label,
                key=f"class.{room.code}.{pair['index']}.{choice}",
                on_click=_cast,
                args=(room, pair, me, choice),
            )


def _cast(room: Classroom, pair: JsonObject, me: str, choice: str) -> None:
    try:
        classroom.cast(shell.runs_root(), room, me, pair, choice)
    except (ValueError, OSError) as error:
        st.toast(shell.plain(str(error)), icon=":material/error:")


def _me() -> str:
    """The browser's name, so that a refresh does not vote twice; without a cookie the session's."""
    return shell.owner() or st.session_state.setdefault("class.me", secrets.token_hex(8))
