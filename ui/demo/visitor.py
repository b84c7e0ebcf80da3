"""Tells who this browser is, a visitor or the machine's own, and what it may see, change and read.

In a demo every browser is a visitor. In a class the browsers of this machine are none: they come from one of its own
addresses, and not through a proxy, behind which all browsers look alike.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import streamlit as st

from unlearn.store.caps import NOBODY, VISITOR, is_visitor, mode
from unlearn.store.home import runs_folder
from unlearn.store.index import Summary
from unlearn.store.runs import Record, Run, RunConfig
from unlearn.store.shapes import JsonObject
from unlearn.work.visitors import rules

# A proxy that passes a request on adds one of these.
PROXY = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
Seen = TypeVar("Seen", bound="Record | Summary")


def here() -> bool:
    """Return whether this browser is a visitor."""
    return mode() == "demo" or (mode() == "class" and not is_own_machine())


def is_own_machine() -> bool:
    """Return whether this browser runs on the machine that the server runs on."""
    if any(name in st.context.headers for name in PROXY):
        return False
    address = st.context.ip_address
    # Streamlit says None for 127.0.0.1.
    return address is None or address in _addresses()


@cache
def _addresses() -> frozenset[str]:
    import psutil

    every = (one.address.partition("%")[0] for many in psutil.net_if_addrs().values() for one in many)
    return frozenset(name for one in every for name in (one, f"::ffff:{one}"))


def owner() -> str:
    """Return a name for this browser: the same after a refresh and in every tab, different in another browser.

    It is a hash of the token inside the XSRF cookie (the cookie itself is masked anew at each request). Empty where
    there is no cookie; then everything is treated as shared. A visitor's begins with VISITOR, and is never empty.
    """
    token = _token()
    if not here():
        return token
    return f"{VISITOR}{token}" if token else NOBODY


def _token() -> str:
    parts = str(st.context.cookies.get("_streamlit_xsrf", "")).strip('"').split("|")
    try:
        mask, masked = bytes.fromhex(parts[1]), bytes.fromhex(parts[2])
        token = bytes(byte ^ mask[i % len(mask)] for i, byte in enumerate(masked))
    except (IndexError, ValueError, ZeroDivisionError):
        return ""
    return hashlib.sha256(token).hexdigest()[:16]


def may_change(made_by: str, me: str) -> bool:
    """Return whether the browser `me` may change what `made_by` owns.

    A visitor may change nothing but its own, not even what nobody owns; whoever owns the machine may also end and
    delete what visitors made.
    """
    if is_visitor(me):
        return made_by == me != NOBODY
    return made_by in ("", me) or is_visitor(made_by)


def seen(records: Sequence[Seen]) -> list[Seen]:
    """Return those that lists show to this browser: in a demo no runs of other visitors, whose rows may be private.

    A link opens each run all the same; whoever made it may pass its address on.
    """
    if mode() != "demo":
        return list(records)
    me = owner()
    return [one for one in records if (by := _owner(one)) == me or not is_visitor(by)]


def _owner(one: "Record | Summary") -> str:
    record = one if isinstance(one, Record) else Run(one.path)
    return str(record.meta.get("owner", ""))


def root() -> Path:
    """Return the folder of the runs, as shell.runs_root()."""
    return runs_folder().absolute()


def allow(configs: Sequence[RunConfig]) -> None:
    """Raise ValueError where this browser is a visitor that may not ask for one of these runs."""
    for config in configs if here() else ():
        rules.allow(config, root())


def allow_model(name: str) -> None:
    """Raise ValueError where this browser is a visitor that may not choose this model."""
    if here():
        rules.allow_model(name)


def allow_data(data: Mapping[str, object]) -> None:
    """Raise ValueError where this browser is a visitor that may not choose these rows."""
    if here():
        rules.allow_data(data, root())


def offered(names: Mapping[str, str], allowed: Sequence[str]) -> dict[str, str]:
    """Return the choices that this browser is offered: all of them, or for a visitor those that are allowed."""
    return {name: title for name, title in names.items() if not here() or name in allowed}


def public(text: str) -> str:
    """Return the text as this browser may read it: a visitor without the folders of this machine."""
    return rules.without_paths(text, root()) if ("/" in text or "\\" in text) and here() else text


def public_rows(rows: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the rows of a table with each text as public() has it."""
    if not here():
        return list(rows)
    return [
        {key: public(cell) if isinstance(cell, str) else cell for key, cell in row.items()} for row in rows
    ]


def public_bytes(content: bytes) -> bytes:
    """Return a download as this browser may read it: a visitor without the folders of this machine."""
    return rules.bytes_without_paths(content, root()) if here() else content
