"""Draws the form that tests claims here, those that wait or are at work, and what came of them.

Everything is read from the claims' folders in the store, so a refresh, another tab and the next server show the same.
"""

import time
from collections.abc import Sequence

import streamlit as st

from ui import actions, shell, studies
from ui.claims import verdicts
from ui.demo import visitor
from ui.launch import where
from unlearn.claims import CLAIMS, study
from unlearn.claims.study import ClaimRecord
from unlearn.results.pace import duration
from unlearn.store.runs import ACTIVE
from unlearn.work.visitors import rules

MODES = {"quick": "Quick: few settings", "full": "Whole: all settings"}
# Before it is done an estimate never says that it is.
NEARLY = 0.95


def records() -> list[ClaimRecord]:
    """Return the claims that were begun in the app, newest first."""
    found = [one for one in ClaimRecord.every(shell.runs_root()) if one.config.get("stays")]
    return visitor.seen([one for one in found if one.config.get("claim") in CLAIMS])


def label(record: ClaimRecord) -> str:
    """Return the claim with its mode and time: "A5 The tuning guide works · quick · 29.11. 22:10"."""
    claim = CLAIMS[record.config["claim"]]
    return f"{claim.key} {claim.title} · {record.config['mode']} · {shell.when_made(record.id)}"


def how_far(record: ClaimRecord) -> tuple[float, str]:
    """Return (share of the budget that has passed, what is done now). How many runs there will be nobody knows."""
    if record.state == "queued":
        return 0.0, studies.waiting(record)
    runner = shell.runner()
    phase = runner.progress(record)[0] if runner.position(record) == 0 else ""
    began = next(
        (e["time"] for e in reversed(record.events("state")) if e["state"] == "running"), time.time()
    )
    passed = max(0.0, time.time() - began)
    words = f"{phase or 'Being tested'} · {duration(passed)}"
    spent = study.minutes(record.config["claim"]) if record.config["mode"] == "full" else None
    if not spent:
        return 0.0, words
    return min(NEARLY, passed / (60 * spent)), f"{words} of about {spent:g} CPU minutes"


PANEL = studies.Panel(
    name="claim",
    work=study,
    part="computed numbers",
    label=label,
    done=lambda record: int(record.state == "done"),
    how_far=how_far,
    members=lambda record: [],
)


def form() -> None:
    """Draw the choice of claims and how thoroughly they are tested, with what that takes."""
    if visitor.here():
        st.caption(
            "Visitors read what was found; `unlearn claims` tests it on a machine of your own.",
            width="content",
        )
        return
    with studies.form(PANEL, "Test claims here", empty=False):
        keys = st.pills(
            "Claims",
            list(CLAIMS),
            selection_mode="multi",
            format_func=lambda key: f"{key} {CLAIMS[key].title}",
            wrap=True,
            key="claim.keys",
            persist_state="session",
        )
        mode = st.segmented_control(
            "How thoroughly",
            list(MODES),
            format_func=MODES.__getitem__,
            default="quick",
            required=True,
            wrap=True,
            key="claim.mode",
        )
        assert mode is not None, "required"
        if keys:
            st.caption(
                f"{study.budget(keys, mode)} What this store has computed before is not computed again."
            )
        else:
            st.caption("Choose one or several claims.")
        with st.container(horizontal=True):
            if st.button("Test", type="primary", icon=":material/play_arrow:", disabled=not keys, key="go"):
                launch(keys, mode)
            command = f"python -m unlearn claims {' '.join(keys)} --{mode}" if keys else ""
            shell.copy_command("go.command", command)
            where.choose()


def launch(keys: Sequence[str], mode: str) -> None:
    """Queue the tests of these claims, each by itself, where this browser wants them."""
    runner, place = shell.runner(), where.chosen()
    try:
        rules.allow_kind(ClaimRecord, shell.owner())
        runner.reach(place)
        for key in keys:
            record = study.create(CLAIMS[key], mode, shell.runs_root(), owner=shell.owner())
            actions.do("begin", record, study.perform, place)
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    st.session_state[f"{PANEL.name}.launched"] = True
    st.rerun()


def tried(found: Sequence[ClaimRecord]) -> None:
    """Draw every test: those at work with their progress, then what the others came to, the newest first."""
    shown = [one for one in found if one.state != "done"]
    ended = [one for one in found if one not in shown]
    # What waits stands in the order in which it goes on.
    for record in sorted(shown, key=lambda one: (one.state not in ACTIVE, one.id)):
        studies.progress(PANEL, record)
    for record in ended[: studies.MOST]:
        _outcome(record)
    if older := ended[studies.MOST :]:
        with st.expander(f"{len(older)} older", key="claim.older", on_change="rerun") as part:
            for record in older if part.open else ():
                _outcome(record)


def _outcome(record: ClaimRecord) -> None:
    studies.progress(PANEL, record)
    entry, claim = record.entry, CLAIMS[record.config["claim"]]
    if not entry.get("finding"):
        st.caption("Its outcome cannot be read any more; test it again.")
        return
    verdicts.finding(entry["finding"])
    with st.expander(
        "Its numbers", key=f"claim.{record.id}.numbers", on_change="rerun", type="compact"
    ) as part:
        if part.open:
            verdicts.numbers(claim, entry, f"mine.{record.id}")
