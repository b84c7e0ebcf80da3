"""Lets a person give a table of their own, or name a dataset of the hub.

An uploaded table is written below the runs folder under its own hash, so that the run's settings name a
file that stays, and Copy command repeats exactly this run.
"""

from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from ui import shell
from ui.data import reading
from ui.demo import notice, visitor
from ui.forms import KEEP
from ui.typed import path_field, upload
from unlearn.data.base import ROLES, TITLES
from unlearn.data.files.bounds import MAX_BYTES
from unlearn.data.files.read import FORMATS
from unlearn.methods import METHODS
from unlearn.store.allowed import allowed_path
from unlearn.store.shapes import JsonObject
from unlearn.work.visitors import admission
from unlearn.work.visitors.spent import SPLITS

WAYS = {"upload": "Upload", "paste": "Paste", "path": "Path"}
FURTHER = [role for role in ROLES if role not in ("forget", "retain")]


def hub_data() -> JsonObject:
    """Draw the fields of a dataset on the hub and return its config.data.

    Parts of it may serve as forget and retain set.
    """
    fields = (
        (
            "hub",
            "Dataset id",
            "owner/name",
            "Owner and name, as in the address of its page. Only data is read.",
        ),
        (
            "hub_config",
            "Part to forget",
            "forget10",
            "A configuration of the dataset; empty for the default one.",
        ),
        ("retain_hub_config", "Part to keep", "retain90", "Another configuration of it; empty for none."),
        ("hub_split", "Split", "train", "train where nothing is given."),
    )
    data: dict[str, str] = {}
    for (name, label, example, help), cell in zip(fields, st.columns([2, 1, 1, 1]), strict=True):
        typed = cell.text_input(label, key=f"data.hub.{name}", placeholder=example, help=help, **KEEP).strip()
        data |= {name: typed} if typed else {}
    return data if "hub" in data else {}


def needing(methods: Iterable[str]) -> list[str]:
    """Return the titles of those of these methods that at their defaults refuse a table without rows to keep."""
    chosen = {name: METHODS[name].from_knobs({}) for name in methods if name in METHODS}
    return [
        METHODS[name].title
        for name, one in chosen.items()
        if one.retain_ratio > 0 and "retain" in one.retain_roles
    ]


def own_data(methods: Iterable[str] = ()) -> JsonObject:
    """Draw the fields of a person's own table and return its config.data.

    First comes the file, then the meaning of its columns, then the table to keep. methods: those that are chosen, some
    of which need that table.
    """
    if kept := st.session_state.get("data.kept"):
        name = Path(str(kept.get("forget") or kept.get("hub"))).name
        where = (
            "a split" if Path(str(kept.get("forget", ""))).parent.parent.name == SPLITS else "the settings"
        )
        st.caption(f"Taken from {where}: {shell.plain(name)}")
        if st.button("Choose another table", icon=":material/close:", key="data.kept.drop"):
            del st.session_state["data.kept"]
            st.rerun()
        # Settings may come from anybody, so their paths are checked.
        for role in ROLES:
            if isinstance(path := kept.get(role), str):
                allowed_path(path)
        return kept
    notice.private()
    forget = table("forget", "Rows to forget")
    if forget is None:
        # What is not drawn is lost: files that were given stay while another one to forget is chosen.
        for role in ("retain", *FURTHER):
            if st.session_state.get(f"data.{role}.upload"):
                table(role, _label(role, methods))
        return {}
    data: JsonObject = {"forget": str(forget)} | reading.fields("forget", forget)
    asked = st.multiselect(
        "Further rows",
        FURTHER,
        format_func=TITLES.__getitem__,
        key="data.further",
        help=reading.told(FURTHER),
        **KEEP,
    )
    for role in ("retain", *asked):
        path = table(role, _label(role, methods))
        if path is not None:
            data |= {role: str(path)} | reading.fields(role, path)
    return data


def _label(role: str, methods: Iterable[str]) -> str:
    if role != "retain":
        return f"Further rows: {TITLES[role].lower()}"
    needed = ", ".join(needing(methods))
    return f"Rows to keep (required by {needed})" if needed else "Rows to keep (recommended)"


def table(role: str, label: str) -> Path | None:
    """Draw the ways to give a table and return its file on this machine.

    It is None while there is no file. ValueError for a forbidden path.
    """
    ways = visitor.offered(WAYS, ("upload", "paste"))
    way = st.segmented_control(
        label,
        list(ways),
        format_func=WAYS.__getitem__,
        wrap=True,
        key=f"data.{role}.way",
        default="upload",
        required=True,
    )
    if way == "path":
        help = "A file on the machine that runs this app."
        return path_field("Path of the file", f"data.{role}.path", help=help, **KEEP)
    if way == "paste":
        help = "One text a line; or CSV with a first line that names the columns, like question,answer."
        typed = st.text_area("Rows", key=f"data.{role}.paste", height=120, help=help, **KEEP).strip()
        return (
            keep(typed.encode(), "pasted.csv" if looks_like_table(typed) else "pasted.txt") if typed else None
        )
    kinds = [f.lstrip(".") for f in FORMATS]
    file = upload("CSV, TSV, JSON, JSONL, TXT or Parquet", kinds, f"data.{role}.upload", MAX_BYTES // 2**20)
    return None if file is None else keep(file.getvalue(), file.name)


def looks_like_table(text: str) -> bool:
    """Return whether pasted text begins with column names."""
    first = text.splitlines()[0].lower().replace(";", ",").replace("\t", ",").split(",")
    return bool({cell.strip() for cell in first} & {"question", "prompt", "answer", "text"})


def keep(data: bytes, name: str) -> Path:
    """Write the bytes below the runs folder, whole and once, in a folder named by their hash, and return the
    file.
    """
    return admission.keep_table(data, name, shell.store(), shell.owner())
