"""Lets a person choose runs and rows by a widget whose choice stands in the address."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import streamlit as st

from ui import shell, view
from unlearn.results.compare import SIDES, pair_samples
from unlearn.store.index import Summary
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject

T = TypeVar("T")
# The most runs of the store that a choice of one offers.
MOST = 1000
NOTES = {
    "stopped": "was stopped before its end; its weights are those of the last step",
    "interrupted": "ended with the program that ran it; it can be resumed on the Runs page",
    "failed": "failed",
}


def choose(
    label: str, param: str, options: Sequence[T], names: Callable[[T], str], first: T | None = None
) -> T:
    """Draw a selectbox bound to the address (?param=option) and return its choice.

    Without the address it is `first`, or else the first option.
    """
    texts = {str(option): option for option in options}
    key = f"pick.{param}"
    wanted = st.query_params.get(param, "")
    st.session_state[key] = texts.get(wanted, options[0] if first is None else first)

    def remember() -> None:
        st.query_params[param] = str(st.session_state[key])

    return st.selectbox(label, options, format_func=names, key=key, on_change=remember)


def choose_run(label: str, word: str, runs: Mapping[str, Summary], why: str, none: bool = False) -> str:
    """Draw the choice of a run, which travels over the pages and stands in the address, and return its id.

    none: "" may be chosen too, and is so at first. A run that the page does not offer is not exchanged for another
    without a word: why says after its name why it is not there. What was chosen stays chosen for the other pages.
    """
    wanted, options = view.value(word), ["", *runs] if none else list(runs)
    if wanted and wanted not in options:
        instead = "none" if none else shell.plain(run_names(runs)[options[0]])
        st.warning(f"{_named(wanted, why)} Shown instead: {instead}.")
    elif not wanted and not none:
        view.put(word, options[0], by_hand=False)
    else:
        view.write()
    key, names = f"pick.{word}", {"": "none"} | run_names(runs)
    st.session_state[key] = wanted if wanted in options else options[0]
    return st.selectbox(
        label,
        options,
        format_func=names.__getitem__,
        key=key,
        on_change=lambda: view.put(word, st.session_state[key]),
    )


def _named(run_id: str, why: str) -> str:
    """Why the run that an address names is not shown: its name and why; or that there is none of that name."""
    try:
        return f"The chosen run, {shell.plain(shell.run_label(shell.find_run(run_id)))}, {why}."
    except (ValueError, OSError):
        return "There is no run here of the name in the address: it was deleted, or the link came from another store."


def paired(runs: Sequence[Run]) -> list[JsonObject]:
    """Return compare.pair_samples, read again only when a run has written. A click must not parse a megabyte."""
    return _paired(tuple((run.path, stamp(run, "samples.jsonl")) for run in runs))


@lru_cache(maxsize=8)
def _paired(stamped: tuple[tuple[Path, int], ...]) -> list[JsonObject]:
    return pair_samples([Run(path) for path, _ in stamped])


def stamp(run: Run, name: str) -> int:
    """Return when a file of the run was last written, in nanoseconds. It is 0 where there is no file."""
    try:
        return (run.path / name).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def with_samples() -> dict[str, Summary]:
    """Return the runs that have answers to look at, the recorded ones last.

    Of a large store these are the newest MOST, and those that the address names: Runs finds the others.
    """
    answered = [known for known in shell.summaries() if known.answered]
    if len(answered) > MOST:
        named = {run for value in st.query_params.to_dict().values() for run in value.split(",")}
        named |= {view.value("run"), *map(view.value, SIDES[1:])}
        answered = [
            known
            for place, known in enumerate(answered)
            if place < MOST or known.id in named or shell.is_recorded(known)
        ]
    return {known.id: known for known in answered}


def spread() -> None:
    """Turn ?runs=a,b,c, with which other pages link, into this page's A, B and so on, or its run."""
    if runs := st.query_params.get("runs"):
        ids = runs.split(",")
        st.query_params.update({"run": ids[0]} | dict(zip(SIDES, ids, strict=False)))
        del st.query_params["runs"]


def beside(runs: Mapping[str, Summary]) -> list[Run]:
    """Draw the choice of the runs that stand side by side, two in a line, and return them: A first.

    There is always one more choice than runs that were chosen, up to one for each letter.
    """
    chosen: list[str] = []
    for place, letter in enumerate(SIDES):
        if place > max(1, len(chosen)) or (place > 1 and len(chosen) == len(runs)):
            if view.value(letter):
                view.put(letter, "", by_hand=False)
            continue
        if place % 2 == 0:
            cells = st.columns(2)
        others = {i: known for i, known in runs.items() if i not in chosen}
        names = ", ".join(SIDES[: len(chosen)].upper())
        why = f"has no answers to compare{f' beside {names}' if chosen else ''}"
        with cells[place % 2]:
            picked = choose_run(f"Run {letter.upper()}", letter, others, why, none=bool(chosen))
        chosen += [picked] if picked else []
    return [Run(runs[one].path) for one in chosen]


def by_keys() -> str:
    """Return how a row of a table is ticked without a mouse, which nothing on the screen shows. It is "" on a phone."""
    return "" if shell.is_phone() else " With the keyboard: the arrow keys, then Shift and Space."


def run_name(known: Summary) -> str:
    """Return the run's label and, where it did not end well, its state."""
    ended_well = known.last == "done" or shell.is_recorded(known)
    return shell.label(known) + ("" if ended_well else f" ({known.state})")


def run_names(runs: Mapping[str, Summary]) -> dict[str, str]:
    """Return the name of each run. Of two that were made alike in the same minute, each has the end of its id beside
    it: a list knows its entries by what it shows, so the same name twice would be one run.
    """
    names = {i: run_name(known) for i, known in runs.items()}
    often = Counter(names.values())
    return {i: f"{name} ({i[-4:]})" if often[name] > 1 else name for i, name in names.items()}


def honest(run: Run, name: str = "") -> None:
    """Say when a run did not end well, why, what there is of it, and which of its files cannot be read."""
    state = run.state
    if state not in ACTIVE:
        shell.unread(run, name)
    if state == "done" or shell.is_recorded(run):
        return
    label = shell.plain(name or shell.run_label(run))
    if state in ACTIVE:
        st.info(f"{label} is {state}: what it has written so far is shown.", icon=":material/pending:")
        return
    have = ", ".join(f"answers {when}" for when in dict.fromkeys(s["when"] for s in run.samples()))
    steps = len(run.events("step"))
    say = st.error if state == "failed" else st.warning
    why = f" {shell.plain(run.reason[:1].upper() + run.reason[1:].rstrip('.'))}." if run.reason else ""
    say(f"{label} {NOTES[state]}.{why} It has {steps} steps and {have or 'no answers'}.")


def empty(sentence: str) -> None:
    """Say that there is nothing to show yet and what to do about it, and end the page."""
    st.info(sentence, icon=":material/lightbulb:")
    with st.container(horizontal=True):
        shell.link("launch", "Unlearn something", ":material/ink_eraser:")
        shell.link("runs", "All runs", ":material/list:")
    st.stop()
