"""Draws the newest things that were done here: a run with its verdict, a sweep or a sequence as one line."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import streamlit as st

from ui import shell, verdict
from ui.runs import folded
from ui.sequence import form as sequences
from ui.sweep import form as sweeps
from unlearn.results import conclusion, outcome
from unlearn.results.sweep_record import SweepRecord
from unlearn.store.disk import is_run_id
from unlearn.store.index import Summary
from unlearn.store.runs import Run
from unlearn.work import told
from unlearn.work.sequence import SequenceRecord

MOST = 5
ICONS = {"sweep": ":material/grid_on:", "sequence": ":material/format_list_numbered:"}


def recent(runs: Sequence[Summary]) -> None:
    """Draw the newest of these runs and the studies that they belong to."""
    if not runs:
        return
    st.subheader("Recent runs", anchor=False)
    for line in folded.fold(runs)[:MOST]:
        with st.container(horizontal=True, vertical_alignment="center"):
            if isinstance(line, folded.Folded):
                _study(line.kind, line.id)
            else:
                _run(line)


def _run(known: Summary) -> None:
    found = conclusion.of_run(Run(known.path))
    if found and known.last == "done":
        color, icon = verdict.BADGES[found["word"]]
        st.badge(found["word"], icon=icon, color=color, help=conclusion.MEANS[found["word"]])
    else:
        shell.state_badge(known)
    st.markdown(shell.plain(shell.label(known)), width="content")
    if known.answered:
        shell.link("compare", "Compare", ":material/compare:", runs=known.id)
    else:
        shell.link("launch", "Open", ":material/open_in_new:", run=known.id)
    # Last, since it is as long as its numbers: a link behind it would stand alone on the next line.
    if found:
        st.caption(verdict.kept_together(outcome.short(found)), width="content")


def _study(kind: str, name: str) -> None:
    """Draw one study; of one that was deleted its runs are left, which the page Runs shows."""
    found = _told(kind, name) if is_run_id(name) else None
    if found is None:
        st.badge(kind, color="gray")
        st.markdown(f"The runs of a {kind} that is not here any more", width="content")
        shell.link("runs", "Runs", ":material/list:")
        return
    title, said = found
    st.badge(kind, icon=ICONS[kind], color="gray")
    st.markdown(shell.plain(title), width="content")
    st.caption(verdict.kept_together(said), width="content")
    shell.link(kind, "Open", ":material/open_in_new:", **{kind: name})


def _told(kind: str, name: str) -> tuple[str, str] | None:
    """Return title and result of a study, or None where it cannot be read."""
    folder = SweepRecord.FOLDER if kind == "sweep" else SequenceRecord.FOLDER
    path = shell.runs_root() / folder / name
    try:
        return _told_at(kind, path, (path / "events.jsonl").stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=32)
def _told_at(kind: str, path: Path, _: int) -> tuple[str, str]:
    """What was said of a study is made again only when it has written."""
    if kind == "sweep":
        return sweeps.label(SweepRecord(path)), told.of_sweep(SweepRecord(path))
    return sequences.label(SequenceRecord(path)), told.of_sequence(SequenceRecord(path))
