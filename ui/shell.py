"""What every page leans on: the run store, the runner, who is watching, and heads, badges and links.

The runner and the preload thread live in `st.cache_resource` and not in module globals: a module global
is silently replaced when a watched file changes, and a run must outlive that, and the tab, and the page.
torch is imported by a background thread, so that the first page is there in a second or two.
"""

import gc
import hashlib
import threading
from functools import cache
from pathlib import Path
from typing import Literal

import streamlit as st

from unlearn.data.catalogue import CATALOGUE, load
from unlearn.engines.thread import Runner
from unlearn.methods import METHODS
from unlearn.store import environment, records
from unlearn.store.home import ASSETS, HOME, runs_folder
from unlearn.store.index import Summary
from unlearn.store.runs import ACTIVE, Record, Run, RunConfig, RunStore

RECORDED = str(ASSETS / "recorded")
# Seconds before torch is imported, while nobody waits for it.
HEAD_START = 2.0
Colour = Literal["red", "orange", "blue", "green", "gray"]
# State: (colour, icon); what a person reads is the state itself.
STATES: dict[str, tuple[Colour, str]] = {
    "queued": ("gray", ":material/hourglass_empty:"),
    "running": ("blue", ":material/play_arrow:"),
    "done": ("green", ":material/check:"),
    "stopped": ("gray", ":material/stop:"),
    "failed": ("red", ":material/error:"),
    "interrupted": ("orange", ":material/power_off:"),
}


def guard() -> None:
    """The first line of every page.

    On a fresh server a deep link runs its page without main.py, because streamlit takes our pages/ folder
    for its older multipage layout until st.navigation has run once. So say so, and start again.
    """
    try:
        from streamlit.runtime.pages_manager import PagesManager

        stray = PagesManager.uses_pages_directory
        PagesManager.uses_pages_directory = False
    except (ImportError, AttributeError):
        return
    if stray:
        st.rerun()


def runs_root() -> Path:
    """Where runs live: the folder in UNLEARN_RUNS, or ./runs; the command line's own place."""
    return runs_folder().absolute()


def store() -> RunStore:
    """Every run of this machine."""
    return RunStore(runs_root())


def uploads() -> Path:
    """Where uploaded tables are kept, so that a run's settings can name them; also allowed to be read."""
    folder = runs_root() / ".uploads"
    environment.ROOTS.add_path(folder)
    return folder


@st.cache_resource(show_spinner=False)
def _runner(root: str) -> "Runner":
    """One runner a server; it stops its run and joins its thread at exit by itself."""
    uploads()
    return Runner(RunStore(Path(root)))


def runner() -> "Runner":
    """The server's runner (unlearn.engines.thread.Runner): submit, stop, resume, discard, ask. Needs no torch yet."""
    return _runner(str(runs_root()))


@st.cache_resource(show_spinner=False)
def _awaited() -> threading.Event:
    """Set by the first page that cannot go on without torch."""
    return threading.Event()


@st.cache_resource(show_spinner=False)
def preload() -> threading.Event:
    """Import torch and its friends in the background, once; the event is set when they are there.

    The first page has a head start, because the import would take half of its time; unless it waits for torch itself.

    gc.freeze then takes their objects out of the collections that streamlit runs after each script, which
    would otherwise cost a quarter of a second a page and slow a training thread down by half.
    """
    ready, awaited = threading.Event(), _awaited()

    def work() -> None:
        awaited.wait(HEAD_START)
        try:
            import peft  # noqa: F401
            import torch  # noqa: F401
            import transformers  # noqa: F401
        finally:
            gc.collect()
            gc.freeze()
            ready.set()

    threading.Thread(target=work, name="preload", daemon=True).start()
    return ready


def wait_for_torch() -> None:
    """Return when torch is imported; until then the page shows what it waits for."""
    ready = preload()
    _awaited().set()
    if ready.is_set():
        return
    space = st.empty()
    with space.container():
        with st.spinner("Waking up the numerics library, once per server start (a few seconds)"):
            st.skeleton(height=120)
            ready.wait(120)
    space.empty()


def owner() -> str:
    """A name for this browser: the same after a refresh and in every tab, different in another browser.

    It is a hash of the token inside the XSRF cookie (the cookie itself is masked anew at each request).
    Empty where there is no cookie; then everything is treated as shared.
    """
    parts = str(st.context.cookies.get("_streamlit_xsrf", "")).strip('"').split("|")
    try:
        mask, masked = bytes.fromhex(parts[1]), bytes.fromhex(parts[2])
        token = bytes(byte ^ mask[i % len(mask)] for i, byte in enumerate(masked))
    except (IndexError, ValueError, ZeroDivisionError):
        return ""
    return hashlib.sha256(token).hexdigest()[:16]


def may_manage(run: Record) -> bool:
    """Whether this browser may change the run in any way: its own ones, and those nobody owns. See ui.actions."""
    meta = run.meta
    return not (is_recorded(run) or meta.get("recorded")) and meta.get("owner", "") in ("", owner())


def may_begin_again(run: Run) -> bool:
    """Whether Resume is offered: it ended before it was done, at whatever moment, and this browser may."""
    return run.state not in (*ACTIVE, "done") and may_manage(run)


def resume_help(run: Run) -> str:
    """Where Resume goes on."""
    if run.has_checkpoint():
        return f"Goes on from step {run.checkpoint_step()}, whose weights are kept."
    return "Begins again at the first step: no step in between was kept to go on from."


def recorded() -> list[Run]:
    """Runs that ship with the app: real, replayable, read-only."""
    return RunStore(Path(RECORDED)).list()


def summaries() -> list[Summary]:
    """What lists say of the store's runs and, after them, of the recorded ones."""
    return [*store().summaries(), *(run.summary() for run in recorded())]


def find_run(run_id: str) -> Run:
    """A run of this store, or a recorded one. ValueError when there is neither."""
    for run in recorded():
        if run.id == run_id:
            return run
    return store().get(run_id)


def is_recorded(run: Record | Summary) -> bool:
    """Whether the run ships with the app."""
    return str(run.path).startswith(RECORDED)


def state_badge(run: Run | Summary) -> None:
    """A small badge with the run's state; its tooltip says why it failed or stopped."""
    if is_recorded(run):
        st.badge(
            "recorded", icon=":material/history:", color="gray", help="Ships with the app; really ran once."
        )
        return
    state = run.state
    colour, icon = STATES[state]
    st.badge(state, icon=icon, color=colour, help=run.reason or None)


def unread(run: Run, name: str = "") -> None:
    """A quiet note on files of the run that could not be read, or not wholly: what is shown lacks them."""
    for sentence in records.notes(run.path):
        st.caption(plain(f"{name}: {sentence}" if name else sentence))


def run_label(run: Run) -> str:
    """What a person calls the run: its own title, else method and forget set, with the time it was made."""
    if title := run.meta.get("title"):
        return title
    config = run.config
    return f"{method_title(config.method, run)} · {data_title(config, run)} · {short_label(run)}"


def label(known: Summary) -> str:
    """run_label() out of a summary, for lists: no file is read."""
    if known.title:
        return known.title
    method, data = (
        known.method_title or method_title(known.method),
        known.data_title or named_data(known.data),
    )
    return f"{method} · {data} · {short_label(known)}"


def short_label(run: Record | Summary) -> str:
    """The run's own title, else when it was made: "21.11. 15:40"."""
    if title := run.title if isinstance(run, Summary) else run.meta.get("title"):
        return str(title)
    day, clock, *_ = [*run.id.split("-"), ""]
    return f"{day[6:8]}.{day[4:6]}. {clock[:2]}:{clock[2:4]}" if day.isdigit() and clock.isdigit() else run.id


def method_title(name: str, run: Run | None = None) -> str:
    """The method's title, from the run's results or the list of methods; for a name that is gone, its capitals."""
    if run is not None and (title := run.results().get("method_title")):
        return title
    return METHODS[name].title if name in METHODS else name.upper()


def data_title(config: RunConfig, run: Run | None = None) -> str:
    """The forget set's title; for a table of one's own the name of its file."""
    if run is not None and (title := run.results().get("data_title")):
        return title
    return named_data(
        str(config.data.get("name") or config.data.get("forget") or config.data.get("hub") or "own rows")
    )


def named_data(name: str) -> str:
    """What a person calls the dataset of this name, file or hub id."""
    return dataset_title(name) or Path(name).stem


@cache
def dataset_title(name: str) -> str:
    """A bundled dataset's title; empty for a name that is none."""
    return load(name).title if name in CATALOGUE else ""


def head(title: str, sentence: str) -> None:
    """A page's title and the one sentence that says what to do here; no dead space above it."""
    st.html("<style>.stMainBlockContainer {padding-top: 3rem; padding-bottom: 3rem}</style>")
    st.session_state["page.entered"] = st.session_state.get("page.last") != title
    st.session_state["page.last"] = title
    st.title(title, anchor=False)
    st.caption(sentence)


def page(name: str) -> Path:
    """The file of a page, for st.Page, st.page_link and st.switch_page: the script that lists them lies elsewhere."""
    return HOME / "pages" / f"{name}.py"


def link(page_name: str, label: str, icon: str | None = None, **query: str) -> None:
    """A link to another page with its choices in the address: link("compare", "Compare", runs="a,b")."""
    chosen = {key: value for key, value in query.items() if value}
    st.page_link(page(page_name), label=label, icon=icon, query_params=chosen or None)


def copy_command(
    key: str, command: str, said: str = "Repeats this without the app, on any machine that has the files."
) -> None:
    """What was asked for here as a command line, behind a button; an empty one cannot be copied yet."""
    with st.popover("Copy command", icon=":material/terminal:", disabled=not command, key=key):
        if said:
            st.caption(said)
        st.code(command, language="bash", wrap_lines=True)


def dark() -> bool:
    """Whether this browser shows the dark theme (figures pick their shades by it)."""
    return st.context.theme.type == "dark"


def plain(text: str) -> str:
    """A model's or a person's words for st.markdown and friends: nothing in them is read as markup."""
    return "".join("\\" + letter if letter in "\\`*_{}[]()#+-!|<>~$:" else letter for letter in text)
