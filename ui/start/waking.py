"""Imports torch in the background, so that the first page is there in a second or two, and lets a page wait for it.

The thread lives in `st.cache_resource` and not in a module global, which is silently replaced when a watched file
changes.
"""

import importlib
import threading

import streamlit as st

from unlearn.compute import libraries

# Seconds before torch is imported, while nobody waits for it.
HEAD_START = 2.0


@st.cache_resource(show_spinner=False)
def _awaited() -> threading.Event:
    """Set by the first page that cannot go on without torch."""
    return threading.Event()


@st.cache_resource(show_spinner=False)
def preload() -> threading.Event:
    """Import torch and its friends in the background, once. The event is set when they are there.

    The first page has a head start, because the import would take half of its time; unless it waits for torch itself.

    Their objects then stay out of the collections that streamlit runs after each script, which would otherwise cost a
    quarter of a second a page and slow a training thread down by half.
    """
    ready, awaited = threading.Event(), _awaited()

    def work() -> None:
        awaited.wait(HEAD_START)
        try:
            libraries.ready()
            with libraries.collector_resting():
                import peft  # noqa: F401
        finally:
            ready.set()

    threading.Thread(target=work, name="preload", daemon=True).start()
    return ready


def wait_for_torch() -> None:
    """Return when torch is imported. Until then the page shows what it waits for."""
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


def whole(module: str = "pandas") -> None:
    """Return when a module is imported to its end, whichever thread began with it.

    Plotly asks for pandas by its name alone. While another thread imports it, it gets a module without contents, and
    the figure fails.
    """
    importlib.import_module(module)
