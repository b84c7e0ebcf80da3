"""Downloads a catalogue model while the page stays alive, with progress that survives a refresh.

The download runs in a thread that knows no Streamlit; the page looks at its numbers once a second.
"""

import threading
from dataclasses import dataclass

import streamlit as st

from ui import shell
from unlearn.models.catalogue import bring
from unlearn.models.load import available


@dataclass
class Fetch:
    """The progress of one download, of the model `name`. error is empty, or says what went wrong and what to do."""

    name: str
    phrase: str = "Starting"
    fraction: float = 0.0
    error: str = ""
    running: bool = False

    def start(self) -> None:
        """Begin the download, unless it is running already."""
        if not self.running:
            self.running, self.error, self.fraction = True, "", 0.0
            threading.Thread(target=self._work, name="fetch", daemon=True).start()

    def _work(self) -> None:
        try:
            bring(self.name, self._report)
        except (RuntimeError, ValueError, OSError) as error:
            self.error = str(error)
        finally:
            self.running = False

    def _report(self, phrase: str, fraction: float) -> None:
        self.phrase, self.fraction = phrase, min(max(fraction, 0.0), 1.0)


@st.cache_resource(show_spinner=False, max_entries=40)
def _fetch(name: str) -> Fetch:
    """One download a model, whoever watches."""
    return Fetch(name)


def fetch_panel(name: str, note: str) -> None:
    """Draw the button that downloads the model, and its progress."""
    st.fragment(_panel, run_every=1.0 if _fetch(name).running else None)(name, note, _fetch(name).running)


def _panel(name: str, note: str, was_running: bool) -> None:
    fetch = _fetch(name)
    if was_running and not fetch.running:
        st.rerun()
    if fetch.running:
        st.progress(fetch.fraction, text=shell.plain(fetch.phrase))
        return
    if fetch.error:
        st.error(shell.plain(fetch.error))
    if not available(name):
        st.caption(note)
        if st.button("Get this model", icon=":material/download:", key=f"get.{name}"):
            fetch.start()
            st.rerun()
