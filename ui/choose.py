"""Lets a person choose a model: one by name, one from the hub, or a folder.

A page's choices also live in its address.
"""

from pathlib import Path

import streamlit as st

from ui import shell
from ui.demo import visitor
from ui.fetch import fetch_panel
from ui.forms import KEEP
from ui.typed import path_field
from unlearn.data.catalogue import CATALOGUE as DATASETS
from unlearn.models.catalogue import CATALOGUE, ModelEntry, allow_model, available
from unlearn.results.pace import duration
from unlearn.work import forecast
from unlearn.work.preflight import model_size
from unlearn.work.visitors import rules

# The number of addresses of one visit that are remembered.
REMEMBERED = 20
# The number of recent runs whose pace a forecast may use.
RECENT = 40
HUB, FOLDER = "hub", "folder"
OTHER = {HUB: "From the Hugging Face hub", FOLDER: "From a folder on this machine"}


def set_model(name: str) -> None:
    """Choose a model before its widgets are drawn: a known name, a hub id or a folder.

    An empty name chooses none. ValueError for one that a visitor may not choose.
    """
    if not name:
        return
    visitor.allow_model(name)
    if name in CATALOGUE:
        st.session_state["model"] = name
        follow_model()
    elif name.startswith(("/", ".", "~")) or Path(name).is_dir():
        st.session_state.update({"model": FOLDER, "model.folder": name})
    else:
        st.session_state.update({"model": HUB, "model.hub": name})


def _named(entry: ModelEntry) -> str:
    """The entry's title and, where nobody loaded it here, that it is not here."""
    return entry.title if entry.loaded or available(entry.name) else f"{entry.title} (not loaded here)"


def choose_model() -> tuple[str, str]:
    """Draw the choice and return (the text for config.model, the model's size class).

    The text is empty while nothing usable is chosen.
    """
    if "model" not in st.session_state:
        st.session_state["model"] = next(iter(CATALOGUE))
    names = {name: _named(entry) for name, entry in CATALOGUE.items()} | OTHER
    names = visitor.offered(names, rules.models())
    if st.session_state["model"] not in names:
        st.session_state["model"] = next(iter(names))
    chosen = st.selectbox(
        "Model", list(names), format_func=names.__getitem__, key="model", on_change=follow_model, **KEEP
    )
    if entry := CATALOGUE.get(chosen):
        facts = f"{count(entry.parameters)} parameters, {entry.licence}."
        if available(chosen):
            st.caption(f"{entry.note} {facts}")
            return chosen, entry.size
        fetch_panel(chosen, f"{entry.note} {facts} Not on this machine{entry.weight()}.")
        _forecast(entry)
        return "", entry.size
    if chosen == HUB:
        help = (
            "Owner and name, as in the address of its page. Only safetensors are read; its code is never run."
        )
        name = st.text_input("Hub id", key="model.hub", placeholder="owner/name", help=help, **KEEP).strip()
        try:
            # A person typed a folder's name here, so it is checked.
            allow_model(name, None)
        except ValueError as error:
            st.error(shell.plain(str(error)))
            return "", "small"
        return name, size_class(name)
    help = "A folder with config.json and *.safetensors, as save_pretrained writes it."
    try:
        folder = path_field("Folder", "model.folder", placeholder="/path/to/model", help=help, **KEEP)
    except ValueError as error:
        st.error(shell.plain(f"model: {str(error).removeprefix('data: ')}"))
        return "", "small"
    return str(folder or ""), size_class(str(folder or ""))


def _forecast(entry: ModelEntry) -> None:
    """Draw what a run of a model takes that is not here yet, and which retrain the hub has for it."""
    ways = forecast.forecast(entry.parameters, forecast.pace(shell.store().list()[:RECENT]))
    rows = [
        {
            "what may change": way.name,
            "memory": f"{way.bytes / 2**30:.2g} GiB",
            "time": f"about {duration(way.seconds)}" if way.seconds else "not known yet",
        }
        for way in ways
    ]
    st.dataframe(
        rows, hide_index=True, key="model.forecast", placeholder="–", alt="What a run of this model takes"
    )
    st.caption(
        f"Memory {forecast.USUAL}; time of {forecast.TOKENS:,} trained tokens, at the pace of finished runs here."
    )
    for data, hub in entry.retrains.items():
        st.caption(f"Exact retrain for {data}: {hub}")


def size_class(name: str) -> str:
    """Return the size class whose tuned defaults apply.

    It is small while nothing is known about the model, or it is forbidden.
    """
    try:
        allow_model(name, None)
        return model_size(name) if name else "small"
    except (ValueError, OSError, KeyError):
        return "small"


def count(number: float, billion: str = "B") -> str:
    """Write a large number with a unit: 2 M, 135 M, 1.2 B.

    With billion="G" it is written as units are: 382 G.
    """
    for limit, sign in ((1e15, "P"), (1e12, "T"), (1e9, billion), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {sign}"
    return f"{number:.0f} "


def follow_model() -> None:
    """Choose the forget set that the chosen model knows."""
    if (entry := CATALOGUE.get(st.session_state["model"])) and entry.data in DATASETS:
        st.session_state["data"] = entry.data


def address(names: tuple[str, ...]) -> dict[str, str] | None:
    """Return the choices that a link has just put into the address. It is None when they are the page's own.

    A quick second click still carries the address from before the first one was answered, so everything
    that this visit of the page has applied or written counts as its own, not only the latest.
    """
    if st.session_state.get("page.entered", True):
        st.session_state["addresses"] = []
    given = {name: st.query_params[name] for name in names if name in st.query_params}
    if not given or given in st.session_state["addresses"]:
        return None
    st.session_state["addresses"].append(given)
    return given


def set_address(**values: str) -> None:
    """Write the page's choices into the address, so that a refresh or a copied link shows the same page."""
    kept = {name: value for name, value in values.items() if value}
    own = st.session_state.setdefault("addresses", [])
    own[:] = [*(known for known in own if known != kept), kept][-REMEMBERED:]
    watching = {"run": st.query_params["run"]} if "run" in st.query_params else {}
    if st.query_params.to_dict() != kept | watching:
        st.query_params.from_dict(kept | watching)
