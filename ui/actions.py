"""Lists every action that changes a run or a study, and asks first whether this browser may.

A page greys out what is not allowed, but a grey button is only a picture: the question is asked again where the action
happens, so that no page can forget it. A new action is added here.
tests/ui/test_actions.py tests every action of the list.
"""

from collections.abc import Callable, Sequence

import streamlit as st

from ui import shell
from ui.launch import where
from unlearn.engines.place import Place
from unlearn.results import cost, sweep_record
from unlearn.results.sweep_record import SweepRecord
from unlearn.store.engine import Perform
from unlearn.store.runs import Record, Run
from unlearn.work import stress, sweep
from unlearn.work.stress import StressRecord


def do(name: str, record: Record, *given: object) -> object:
    """Carry out an action of ACTIONS on the record.

    ValueError where this browser may not; else as the action.
    """
    refuse_foreign(name, record)
    return ACTIONS[name](record, *given)


def refuse_foreign(name: str, *records: Record) -> None:
    """Raise ValueError unless this browser may manage all of the records."""
    for record in records:
        if not shell.may_manage(record):
            raise ValueError(
                f"{name}: {record.title} was started in another browser, or ships with the app. Do it there, or "
                "repeat the run as your own."
            )


def pressed(name: str, record: Record, *given: object) -> None:
    """Carry out an action as do() does, for a button's on_click. A refusal is shown at the page's edge."""
    try:
        do(name, record, *given)
    except (ValueError, OSError) as error:
        st.toast(shell.plain(str(error)), icon=":material/error:")


def _begin(record: Record, perform: Perform | None = None, place: Place | None = None) -> None:
    shell.runner().submit(record, perform=perform, place=place)


def _resume(record: Record, perform: Perform | None = None) -> None:
    shell.runner().resume(record, perform)


def _begin_stress(create: Callable[[], StressRecord]) -> None:
    """Queue a stress test where this browser wants it. It is made once that place was reached."""
    runner, place = shell.runner(), where.chosen()
    runner.admit(shell.owner())
    runner.reach(place)
    _begin(create(), stress.perform, place)


def _attack(run: Run, attacks: Sequence[str], seed: int | None = None) -> None:
    """Another seed than that of the attacks that are there begins them anew."""
    _begin_stress(lambda: stress.create(run, attacks, seed=seed, owner=shell.owner()))


def _sweep_attacks(run: Run, minutes: float, seed: int | None = None) -> None:
    _begin_stress(lambda: stress.create(run, minutes=minutes, seed=seed, owner=shell.owner()))


def _measure(run: Run, metrics: Sequence[str]) -> None:
    _begin_stress(lambda: stress.create(run, metrics=metrics, owner=shell.owner()))


def _follow_guide(record: SweepRecord) -> None:
    """Let an ended sweep go on with the tuning guide."""
    sweep_record.ask_guide(record)
    _resume(record, sweep.perform)


ACTIONS: dict[str, Callable[..., object]] = {
    "begin": _begin,
    "stop": lambda record: shell.runner().stop(record),
    "resume": _resume,
    "discard": lambda record: shell.runner().discard(record),
    "delete": lambda run: shell.store().delete(run),
    "rename": lambda record, title: record.set_meta(title=title),
    "attack": _attack,
    "sweep attacks": _sweep_attacks,
    "measure": _measure,
    "enter cost": lambda run, tokens: cost.enter(run, tokens),
    "follow guide": _follow_guide,
}
