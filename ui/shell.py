"""Holds what every page needs: the run store, the runner, the browser's owner, heads and links.

The runner lives in `st.cache_resource` and not in a module global: a module global is silently replaced when a watched
file changes, and a run must outlive that, and the tab, and the page. How torch comes in is in ui/start/waking.py.
"""

from functools import cache
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import streamlit as st

from ui.demo import visitor
from unlearn.data.catalogue import CATALOGUE, load
from unlearn.engines.thread import Runner
from unlearn.methods import AFTER, OFFERED
from unlearn.store import environment, locks, records
from unlearn.store.home import ASSETS, HOME, runs_folder
from unlearn.store.index import Summary
from unlearn.store.runs import ACTIVE, Record, Run, RunConfig, RunStore

RECORDED = str(ASSETS / "recorded")
# Less dead space above the page. On a phone the tool bars of charts and tables would cover what is in them.
LOOK = """.stMainBlockContainer {padding-top: 3rem; padding-bottom: 3rem}
@media (max-width: 600px) {.modebar-container, [data-testid="stElementToolbar"] {display: none !important}}"""
# On the dark page's primary colour white letters are too faint (3.5 to 1); dark ones are not (5.4 to 1). It is the
# ground of primary buttons, and of what was chosen in a list of several.
DARK_LOOK = """[data-testid^="stBaseButton-primary"], .stMultiSelect span[title], .stMultiSelect span[title] ~ * {
color: #111111}"""
Colour = Literal["red", "orange", "blue", "green", "gray"]
# The colour and the icon of each state. A person reads the state itself.
STATES: dict[str, tuple[Colour, str]] = {
    "queued": ("gray", ":material/hourglass_empty:"),
    "running": ("blue", ":material/play_arrow:"),
    "done": ("green", ":material/check:"),
    "stopped": ("gray", ":material/stop:"),
    "failed": ("red", ":material/error:"),
    "interrupted": ("orange", ":material/power_off:"),
}


def guard() -> None:
    """Make sure that the page runs inside the app. Every page begins with this call.

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
    """Return the folder of the runs: the one in UNLEARN_RUNS, or ./runs, as on the command line."""
    return runs_folder().absolute()


def store() -> RunStore:
    """Return the store of all runs of this machine."""
    return RunStore(runs_root())


def uploads() -> Path:
    """Return the folder of uploaded tables, which a run's settings can name. It is also allowed to be read."""
    folder = runs_root() / ".uploads"
    environment.ROOTS.add_path(folder)
    return folder


@st.cache_resource(show_spinner=False)
def _runner(root: str) -> "Runner":
    """Return the one runner of the server, which stops its run and joins its thread at exit by itself."""
    uploads()
    return Runner(RunStore(Path(root)))


def runner() -> "Runner":
    """Return the server's runner (unlearn.engines.thread.Runner), which can submit, stop, resume, discard and
    ask.

    It needs no torch yet.
    """
    return _runner(str(runs_root()))


def owner() -> str:
    """Return a name for this browser: the same after a refresh and in every tab, different in another
    browser.

    See ui.demo.visitor.
    """
    return visitor.owner()


def may_manage(run: Record) -> bool:
    """Return whether this browser may change the run in any way: its own runs, and those that nobody owns.

    See ui.actions.
    """
    meta = run.meta
    is_fixed = is_recorded(run) or meta.get("recorded")
    return not is_fixed and visitor.may_change(str(meta.get("owner", "")), owner())


def elsewhere(name: str, does: str) -> str:
    """Say that another process carries this out, and how it is stopped. does: "runs" or "waits"."""
    # No marks of code: in a caption they are too pale to be read.
    return f"It {does} in another process. Stop it in the app that began it, or with: unlearn stop {name}"


def may_begin_again(run: Run) -> bool:
    """Return whether Resume is offered: the run ended before it was done, and this browser may manage it."""
    return run.state not in (*ACTIVE, "done") and may_manage(run)


def resume_help(run: Run) -> str:
    """Return a sentence on where Resume continues."""
    if run.has_checkpoint():
        return f"Goes on from step {run.checkpoint_step()}, whose weights are kept."
    return "Begins again at the first step: no step in between was kept to go on from."


def recorded() -> list[Run]:
    """Return the runs that ship with the app: real, replayable, read-only."""
    return RunStore(Path(RECORDED)).list()


def summaries() -> list[Summary]:
    """Return the summaries of the store's runs that this browser may see and, after them, of the recorded ones."""
    return [*mine(), *(run.summary() for run in recorded())]


def mine() -> list[Summary]:
    """Return the summaries of the store's runs that this browser may see."""
    return visitor.seen(store().summaries())


def find_run(run_id: str) -> Run:
    """Return a run of this store, or a recorded one. ValueError when there is neither."""
    for run in recorded():
        if run.id == run_id:
            return run
    return store().get(run_id)


def is_recorded(run: Record | Summary) -> bool:
    """Return whether the run ships with the app."""
    # Lists ask it of every run; most of them have another name, which tells it at once.
    return run.id in _shipped(RECORDED) and str(run.path).startswith(RECORDED)


@cache
def _shipped(folder: str) -> frozenset[str]:
    """The names of the runs in this folder, which does not change while the app runs."""
    return frozenset(path.name for path in Path(folder).glob("*"))


def state_badge(run: Record | Summary) -> None:
    """Draw a small badge with the run's state. Its tooltip says why the run failed or stopped."""
    if is_recorded(run):
        st.badge(
            "recorded", icon=":material/history:", color="gray", help="Ships with the app; really ran once."
        )
        return
    state = run.state
    colour, icon = STATES[state]
    words = visitor.public(run.reason)
    # Somebody on a shared disk asks how this is known.
    if state in ACTIVE and locks.beats_alone(run.path):
        words = "Alive by its heartbeat: a process on another machine has it, whose lock is not seen here."
    st.badge(state, icon=icon, color=colour, help=words or None)


def unread(run: Run, name: str = "") -> None:
    """Draw a note on files of the run that could not be read, or not wholly, so that what is shown lacks
    them.
    """
    for sentence in records.notes(run.path):
        st.caption(plain(f"{name}: {sentence}" if name else sentence))


def run_label(run: Run) -> str:
    """Return what a person calls the run: its own title, or else method and forget set, with the time it was
    made.
    """
    if title := run.meta.get("title"):
        return title
    config = run.config
    return f"{method_title(config.method, run)} · {data_title(config, run)} · {short_label(run)}"


# What was made of a summary, as long as it is the run's: lists of a thousand runs ask for it several times a visit.
_labels: WeakKeyDictionary[Summary, str] = WeakKeyDictionary()


def label(known: Summary) -> str:
    """Return run_label() from a summary, for lists. No file is read."""
    if known.title:
        return known.title
    if known not in _labels:
        method = known.method_title or method_title(known.method)
        data = known.data_title or named_data(known.data)
        _labels[known] = f"{method} · {data} · {short_label(known)}"
    return _labels[known]


def short_label(run: Record | Summary) -> str:
    """Return the run's own title, or else when it was made, such as "21.11. 15:40"."""
    if title := run.title if isinstance(run, Summary) else run.meta.get("title"):
        return str(title)
    return when_made(run.id)


def when_made(record_id: str) -> str:
    """Return when a run or study was made, out of its id: "21.11. 15:40". An id of another form is returned itself."""
    day, clock, *_ = [*record_id.split("-"), ""]
    return (
        f"{day[6:8]}.{day[4:6]}. {clock[:2]}:{clock[2:4]}" if day.isdigit() and clock.isdigit() else record_id
    )


def method_title(name: str, run: Run | None = None) -> str:
    """Return the method's title, from the run's results or the list of methods.

    For a name that is gone, it is its capitals.
    """
    if run is not None and (title := run.results().get("method_title")):
        return title
    known = OFFERED | AFTER
    return known[name].title if name in known else name.upper()


def data_title(config: RunConfig, run: Run | None = None) -> str:
    """Return the forget set's title. For a person's own table it is the name of its file."""
    if run is not None and (title := run.results().get("data_title")):
        return title
    return named_data(
        str(config.data.get("name") or config.data.get("forget") or config.data.get("hub") or "own rows")
    )


def named_data(name: str) -> str:
    """Return what a person calls the dataset of this name, file or hub id."""
    return dataset_title(name) or Path(name).stem


@cache
def dataset_title(name: str) -> str:
    """Return a bundled dataset's title. It is empty for a name that is none."""
    return load(name).title if name in CATALOGUE else ""


def head(title: str, sentence: str) -> None:
    """Draw a page's title and the one sentence that says what to do here, with no dead space above."""
    st.html(f"<style>{LOOK}{DARK_LOOK if dark() else ''}</style>")
    st.session_state["page.entered"] = st.session_state.get("page.last") != title
    st.session_state["page.last"] = title
    st.title(title, anchor=False)
    st.caption(sentence)


def page(name: str) -> Path:
    """Return the file of a page, for st.Page, st.page_link and st.switch_page.

    The script that lists the pages lies elsewhere.
    """
    return HOME / "pages" / f"{name}.py"


def link(page_name: str, label: str, icon: str | None = None, **query: str) -> None:
    """Draw a link to another page with its choices in the address: link("compare", "Compare", runs="a,b")."""
    chosen = {key: value for key, value in query.items() if value}
    st.page_link(page(page_name), label=label, icon=icon, query_params=chosen or None)


def copy_command(
    key: str, command: str, said: str = "Repeats this without the app, on any machine that has the files."
) -> None:
    """Draw a button that shows what was asked for here as a command line. An empty one cannot be copied yet."""
    with st.popover("Copy command", icon=":material/terminal:", disabled=not command, key=key):
        if said:
            st.caption(said)
        st.code(visitor.public(command), language="bash", wrap_lines=True)


def dark() -> bool:
    """Return whether this browser shows the dark theme (figures pick their shades by it)."""
    return st.context.theme.type == "dark"


def is_phone() -> bool:
    """Return whether this browser says that it is a phone's: a page cannot know how wide it is."""
    return "Mobi" in (st.context.headers.get("User-Agent") or "")


def plain(text: str) -> str:
    """Escape a model's or a person's words for st.markdown and similar, so that nothing in them is read as
    markup. A visitor does not read this machine's folders in them.
    """
    marks = "\\`*_{}[]()#+-!|<>~$:"
    return "".join("\\" + letter if letter in marks else letter for letter in visitor.public(text))
