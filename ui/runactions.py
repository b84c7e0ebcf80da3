"""Draws the actions for the selected runs: those that can be done with them, and only where something is selected."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from ui import actions, pick, shell
from ui.demo import visitor
from ui.runs.folded import Folded
from ui.typed import path_field, upload
from unlearn.report import card
from unlearn.results.compare import LETTERS, SIDES
from unlearn.store import upkeep
from unlearn.store.index import Summary
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.transfer import export_run, import_run
from unlearn.work.visitors import rules


def bar(chosen: Sequence[Run], studies: Sequence[Folded] = ()) -> None:
    """Draw all actions for the selection, in one row. studies: the chosen lines of sweeps and sequences."""
    if not chosen and not studies:
        st.caption(f"Select a row to see what can be done with it.{pick.by_keys()}", width="content")
    for study in studies:
        title = f"Open the {study.kind}" if len(studies) == 1 else f"Open {study.label}"
        go(title, study.kind, **{study.kind: study.id})
    if studies and not chosen:
        newest = [run for study in studies for run in study.runs]
        go("Compare its newest runs", "compare", runs=_ids(newest))
    if chosen:
        _of_runs(chosen)
    import_button()
    if chosen and not all(map(shell.may_manage, chosen)):
        st.caption(
            "Started in another browser, or shipped with the app: it can be read and repeated, not changed."
        )


def _of_runs(chosen: Sequence[Run]) -> None:
    """Draw the actions for single runs."""
    one = chosen[0] if len(chosen) == 1 else None
    mine = all(map(shell.may_manage, chosen))
    active = [run for run in chosen if run.state in ACTIVE]
    if one:
        go("Open", "launch", run=one.id)
    many = len(chosen) > len(SIDES)
    go(f"Compare the first {len(SIDES)}" if many else "Compare", "compare", runs=_ids(chosen))
    if one:
        go("Attack", "stress", run=one.id)
        go("Repeat", "launch", clone=one.id)
    if one and mine:
        rename(one)
    if (
        one
        and shell.may_begin_again(one)
        and st.button("Resume", key="runs.resume", help=shell.resume_help(one))
    ):
        attempt(lambda: actions.do("resume", one))
    stoppable = mine and active and all(shell.runner().position(run) is not None for run in active)
    if stoppable and st.button("Stop", key="runs.stop"):
        attempt(lambda: [actions.do("stop", run) for run in active])
    if mine and not active and st.button("Delete", key="runs.delete"):
        confirm_delete(list(chosen))
    if one:
        st.download_button(
            "Export",
            lambda: packed(one),
            file_name=f"{one.id}.zip",
            mime="application/zip",
            on_click="ignore",
            help="The whole run as one file: settings, curves, weights, the rows that were to be forgotten and the "
            "answers to them. `unlearn export --without-rows` leaves those two out.",
        )
    if one and not active and "after" in one.scores():
        papers(one)
    report_button(chosen, "runs.report")


def _ids(runs: Sequence[Run | Summary]) -> str:
    """The runs that Compare shows, as it reads them from an address."""
    return ",".join(run.id for run in runs[: len(SIDES)])


def papers(run: Run) -> None:
    """Draw the downloads for people outside: the receipt of a deletion request, and the model card."""
    st.download_button(
        "Receipt",
        lambda: receipt_bytes(run),
        file_name=f"{run.id}-receipt.html",
        mime="text/html",
        on_click="ignore",
        key="runs.receipt",
        help="For whoever asked for the deletion: which rows, by their hashes, when, how, with which outcome, and what "
        "is not proven. No row stands in it.",
    )
    st.download_button(
        "Model card",
        lambda: card_bytes(run),
        file_name="README.md",
        mime="text/markdown",
        on_click="ignore",
        key="runs.card",
        help="The README.md that a published model needs: what it was made to forget, scores, verdict, limits.",
    )


def receipt_bytes(run: Run) -> bytes:
    """Return the receipt as an HTML page, made only when somebody asks for it."""
    from unlearn.report import receipt

    return visitor.public_bytes(receipt.html(receipt.receipt(run)))


def card_bytes(run: Run) -> bytes:
    """Return the model card, made only when somebody asks for it."""
    return visitor.public_bytes(card.text(run).encode())


def go(label: str, page: str, **query: str) -> None:
    """Draw a link that looks like the buttons beside it."""
    if st.button(label, key=f"runs.{label}"):
        st.switch_page(shell.page(page), query_params=query)


def rename(run: Run) -> None:
    """Draw the field in which a person gives the run a title of their own."""
    with st.popover("Rename", key="runs.rename"):
        title = st.text_input("Title", run.meta.get("title", ""), max_chars=120, key=f"runs.title.{run.id}")
        if st.button("Save title", key=f"runs.title.{run.id}.save"):
            attempt(lambda: actions.do("rename", run, title.strip()))


@st.dialog("Delete for good?", icon=":material/delete:")
def confirm_delete(chosen: Sequence[Run]) -> None:
    """Ask before deleting, which cannot be undone, and name what is deleted."""
    for run in chosen:
        st.markdown(f"- {shell.plain(shell.run_label(run))}")
    st.caption("Curves, answers and weights are removed from this machine.")
    for line in upkeep.resting_on(chosen, shell.store()):
        st.warning(shell.plain(line), icon=":material/link_off:")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", key="runs.delete.yes"):
            for run in chosen:
                attempt(partial(actions.do, "delete", run), again=False)
            st.rerun()
        if st.button("Keep", key="runs.delete.no"):
            st.rerun()


def import_button() -> None:
    """Draw the import of a run from a file. The file is checked before anything of it is kept.

    A visitor is not offered it: the weights would be a model of somebody else.
    """
    if visitor.here():
        return
    with st.popover("Import", key="runs.import"):
        file = upload(
            "A run exported as .zip", "zip", "runs.import.file", st.get_option("server.maxUploadSize")
        )
        try:
            help = (
                "On the machine that runs this app, inside an allowed folder: for a run too large to upload."
            )
            path = path_field("Or its path", "runs.import.path", help=help, placeholder="/path/to/run.zip")
            given = path if path is not None else file.getvalue() if file is not None else None
            if given is None or not st.button("Add this run", type="primary", key="runs.import.add"):
                return
            rules.refuse_import(shell.owner())
            run = import_run(given, shell.store(), owner=shell.owner())
        except (ValueError, OSError) as error:
            st.error(shell.plain(f"import: {str(error).removeprefix('data: ').removeprefix('import: ')}"))
            return
        st.toast(f"Imported {shell.plain(shell.run_label(run))}")
        st.rerun()


def report_button(chosen: Sequence[Run], key: str) -> None:
    """Draw a button for one HTML file with everything about these runs.

    The file is made when somebody asks for it.
    """
    most = len(LETTERS)
    if not 1 <= len(chosen) <= most:
        st.button("Report", disabled=True, key=f"{key}.off", help=f"Select 1 to {most} runs.")
        return
    st.download_button(
        "Report",
        lambda: report_bytes(chosen),
        file_name=f"{chosen[0].id}.html" if len(chosen) == 1 else "unlearning-report.html",
        mime="text/html",
        on_click="ignore",
        key=key,
        help="Scores, answers, tokens, curves, settings and limits as one file for reading offline.",
    )


def report_bytes(chosen: Sequence[Run]) -> bytes:
    """Return the report's bytes. plotly is imported only when somebody asks for them."""
    from unlearn.report.build import html

    return visitor.public_bytes(html(chosen))


def packed(run: Run) -> bytes:
    """Return the bytes of the run's zip file, made only when somebody asks for them."""
    with tempfile.TemporaryDirectory() as folder:
        return visitor.public_bytes(export_run(run, Path(folder)).read_bytes())


def attempt(action: Callable[[], object], again: bool = True) -> None:
    """Carry out the action and redraw. A refusal is shown in its own words."""
    try:
        action()
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    if again:
        st.rerun()
