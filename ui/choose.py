"""Lets a person choose a model: one by name, one from the hub, or a folder.

A page's choices also live in its address.
"""

from pathlib import Path

import streamlit as st

from ui import shell
from ui.fetch import fetch_panel
from ui.forms import KEEP
from ui.typed import path_field
from unlearn.models.catalogue import allow_model
from unlearn.models.load import CATALOGUE, available
from unlearn.work.preflight import model_size

# The number of addresses of one visit that are remembered.
REMEMBERED = 20
HUB, FOLDER = "hub", "folder"
OTHER = {HUB: "From the Hugging Face hub", FOLDER: "From a folder on this machine"}


def set_model(name: str) -> None:
    """Choose a model before its widgets are drawn: a known name, a hub id or a folder.

    An empty name chooses none.
    """
    if not name:
        return
    if name in CATALOGUE:
        st.session_state["model"] = name
        follow_model()
    elif name.startswith(("/", ".", "~")) or Path(name).is_dir():
        st.session_state.update({"model": FOLDER, "model.folder": name})
    else:
        st.session_state.update({"model": HUB, "model.hub": name})


def choose_model() -> tuple[str, str]:
    """Draw the choice and return (the text for config.model, the model's size class).

    The text is empty while nothing usable is chosen.
    """
    if "model" not in st.session_state:
        st.session_state["model"] = next(iter(CATALOGUE))
    names = {name: entry.title for name, entry in CATALOGUE.items()} | OTHER
    chosen = st.selectbox(
        "Model", list(names), format_func=names.__getitem__, key="model", on_change=follow_model, **KEEP
    )
    if entry := CATALOGUE.get(chosen):
        if available(chosen):
            st.caption(f"{entry.note} {count(entry.parameters)} parameters, {entry.licence}.")
            return chosen, entry.size
        fetch_panel(chosen, entry.note)
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
    if entry := CATALOGUE.get(st.session_state["model"]):
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
    own = st.session_state["addresses"]
    own[:] = [*(known for known in own if known != kept), kept][-REMEMBERED:]
    watching = {"run": st.query_params["run"]} if "run" in st.query_params else {}
    if st.query_params.to_dict() != kept | watching:
        st.query_params.from_dict(kept | watching)
