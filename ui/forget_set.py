"""Lets a person choose a forget set: a bundled one, a table of their own, or one from the hub.

The fields of a person's own table are in ui/data/own.py.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import streamlit as st

from ui import shell
from ui.data import own, reading
from ui.demo import visitor
from ui.forms import KEEP
from ui.typed import path_field
from unlearn.data import benchmarks, catalogue
from unlearn.data.base import ROLES, TITLES, Dataset
from unlearn.store.allowed import allowed_path
from unlearn.store.config import data_of_today
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.work.visitors import admission, rules

OWN, HUB, RWKU = "own", "hub", "rwku"
OTHER = {OWN: "A table of my own", HUB: "From the Hugging Face hub"}
# The number of rows on the screen.
PREVIEW = 50


@st.cache_data(max_entries=8, show_spinner="Reading the rows")
def _load(text: str, stamp: float) -> Dataset:
    return catalogue.from_config(json.loads(text))


def load(data: Mapping[str, object]) -> Dataset:
    """Return the dataset of config.data, read once. ValueError as the loaders raise it, and for what a visitor may
    not read.
    """
    visitor.allow_data(data)
    return _load(*stamped(data))


def stamped(data: Mapping[str, object]) -> tuple[str, float]:
    """Return a key for caches that changes with config.data and with its files."""
    paths = [Path(value) for role in ROLES if isinstance(value := data.get(role), str)]
    return json.dumps(data), sum(path.stat().st_mtime for path in paths if path.is_file())


def to_address(data: JsonView) -> dict[str, str]:
    """Return config.data as words for a link. It is empty where it names files that are no uploads."""
    words = {}
    for key, value in data.items():
        if key in ROLES:
            if not Path(value).is_relative_to(shell.uploads()):
                return {}
            value = Path(value).relative_to(shell.uploads()).as_posix()
        words["data" if key == "name" else key] = (
            ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        )
    return words


def from_address(given: Mapping[str, str]) -> JsonObject:
    """Return the config.data of a link that to_address() made.

    It is empty where the link names none. Files are uploads and nothing else.
    """
    given = data_of_today(given)
    data: JsonObject = {"name": given["data"]} if "data" in given else {}
    for key in ("forget", "hub") if not data else ():
        if key in given:
            data = {name: given[name] for name in catalogue.KEYS[key] if name in given and name != "limit"}
    for role in data.keys() & set(ROLES):
        data[role] = str(allowed_path(shell.uploads() / data[role], [shell.uploads()]))
    numbers = [int(word) for word in given.get("requests", "").split(",") if re.fullmatch("[0-9]{1,4}", word)]
    return data | ({"requests": numbers} if data and numbers else {})


def hand_over(data: Mapping[str, object]) -> None:
    """Choose config.data on the next page that asks for a forget set, and go to Unlearn."""
    st.session_state["data.handed"] = dict(data)
    st.switch_page(shell.page("launch"))


def set_data(data: JsonView) -> None:
    """Choose config.data before the widgets are drawn. ValueError for rows that a visitor may not choose."""
    visitor.allow_data(data)
    name = str(data.get("name", ""))
    if name.startswith(f"{RWKU}:") and benchmarks.is_benchmark(name):
        st.session_state.update({"data": RWKU, "data.rwku": name.partition(":")[2]})
        st.session_state[f"benchmark.{RWKU}"] = str(data.get("hub_folder", ""))
    elif name in catalogue.CATALOGUE or name in benchmarks.BENCHMARKS:
        st.session_state["data"] = name
        st.session_state[f"benchmark.{name}"] = str(data.get("hub_folder", ""))
        st.session_state[f"requests.{name}"] = list(data.get("requests", ()))
    elif name:
        # This raises an error that lists the known names.
        catalogue.load(name)
    else:
        st.session_state.update({"data": OWN, "data.kept": dict(data)})


def _benchmark_folder(name: str) -> JsonObject:
    """Return where a benchmark is read from, as {"hub_folder": …}.

    An empty answer means its place on the hub. ValueError as for any path.
    """
    help = "A copy of the dataset on this machine, laid out as on the hub. Empty: it is brought from the hub."
    folder = path_field(
        "Folder of the benchmark (empty: from the hub)", f"benchmark.{name}", help=help, **KEEP
    )
    return {"hub_folder": str(folder)} if folder else {}


def choose_data(*, ask_requests: bool = True, methods: Iterable[str] = ()) -> JsonObject:
    """Draw the choice and return config.data.

    It is empty while something is missing. ValueError for a file that is wrong.

    ask_requests: whether a person may choose some of a bundled set's deletion requests here. methods: the names of
    those that are chosen, since some need rows to keep.
    """
    if handed := st.session_state.pop("data.handed", None):
        set_data(handed)
    bundled = {name: shell.dataset_title(name) for name in catalogue.CATALOGUE}
    named = {name: f"{benchmarks.title(name)} (benchmark)" for name in benchmarks.BENCHMARKS}
    names = bundled | named | {RWKU: "RWKU, one famous person (benchmark)"} | OTHER
    names = visitor.offered(names, [*rules.datasets(), OWN])
    if st.session_state.get("data", OWN) not in names:
        st.session_state["data"] = next(iter(names))
    set_place, request_place = st.columns([3, 2])
    with set_place:
        chosen = st.selectbox("Forget set", list(names), format_func=names.__getitem__, key="data", **KEEP)
    if chosen == HUB:
        return own.hub_data()
    if chosen == OWN:
        return own.own_data(methods)
    if chosen == RWKU:
        return _person()
    data: JsonObject = {"name": chosen} | (_benchmark_folder(chosen) if chosen in named else {})
    requests = load(data).requests() if ask_requests else ()
    if requests:
        help = "People ask one after the other; choose whose request is honoured. None chosen means all."
        picked = request_place.multiselect(
            "Deletion requests", requests, key=f"requests.{chosen}", help=help, placeholder="all", **KEEP
        )
        data |= {"requests": sorted(picked)} if picked else {}
    return data


def _person() -> JsonObject:
    """Draw the fields of RWKU and return its config.data. ValueError for what cannot be a folder of a person."""
    help = "The name of the person's folder in RWKU, with its number."
    person = st.text_input("Person", key="data.rwku", placeholder="1_Stephen_King", help=help, **KEEP).strip()
    folder = _benchmark_folder(RWKU)
    if not person:
        return {}
    if not benchmarks.is_benchmark(f"{RWKU}:{person}"):
        raise ValueError(
            f"data: a person of RWKU is named like its folder, 1_Stephen_King; got {person[:60]!r}."
        )
    return {"name": f"{RWKU}:{person}"} | folder


def keep_split(dataset: Dataset) -> dict[str, str]:
    """Write a split below the runs folder, once, and return the config.data that reads it.

    ValueError when it is too large, or a visitor has too many.
    """
    return admission.keep_split(dataset, shell.store(), shell.owner())


def preview(dataset: Dataset) -> None:
    """Draw the rows by role: how many there are, and how they look."""
    counts = {role: len(dataset.rows(role)) for role in ROLES if dataset.rows(role)}
    role = st.segmented_control(
        "Rows",
        list(counts),
        format_func=lambda role: f"{TITLES[role]} {counts[role]}",
        default="forget",
        key=f"preview.{'.'.join(counts)}",
        required=True,
        wrap=True,
        help=reading.told(counts),
    )
    shown = dataset.rows(role)[:PREVIEW]
    table = [reading.as_line(row) | {"request": row.request or None} for row in shown]
    names = ("system", "before", "question", "answer", "request")
    keys = [key for key in names if any(row[key] for row in table)]
    widths: dict[str, Literal["large"] | int] = {
        **{"system": 90, "before": 160, "question": 290, "request": 70},
        "answer": 110 if "question" in keys else "large",
    }
    config = {key: st.column_config.Column(key, width=widths[key]) for key in keys}
    shown_rows = [{key: row[key] for key in keys} for row in table]
    st.dataframe(
        shown_rows,
        column_config=config,
        height=180,
        hide_index=True,
        key=f"preview.rows.{role}",
        placeholder="–",
        alt=f"The first rows of “{TITLES[role]}”",
    )
    if len(dataset.rows(role)) > PREVIEW:
        st.caption(f"The first {PREVIEW} of {counts[role]}. {dataset.note}")
    elif dataset.note:
        st.caption(dataset.note)
    for warning in dataset.warnings:
        st.warning(shell.plain(warning), icon=":material/warning:")
