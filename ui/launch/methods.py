"""Draws the methods in rows by what they do, and says where to start and which ones ruin a model."""

import streamlit as st

from ui.launch.launching import FIRST_METHOD
from unlearn.methods import FAMILIES, OFFERED, family_of
from unlearn.results import measured

# The names of the chosen methods, in the order in which they were chosen. It is no widget's, so that a link can set it.
KEY = "methods"
START, RUINS = "start here", "ruins"
HELP = (
    f"**{START}**: measured on {measured.MODELS} models at its defaults, it ruined none, and of what should stay it "
    f"kept at least {100 * measured.LEAD:.0f} points more than it left of what should go.  \n"
    f"**{RUINS}**: at its defaults it is known to destroy the model."
)


def now() -> list[str]:
    """Return the names of the methods that are chosen before their widgets are drawn."""
    chosen: list[str] = st.session_state.setdefault(KEY, [FIRST_METHOD])
    return chosen


def choose(model: str) -> list[str]:
    """Draw a row of methods for each family, and return the names of the chosen ones."""
    chosen = now()
    for family, words in FAMILIES.items():
        names = [name for name, method in OFFERED.items() if family_of(method) == family]
        # A link or a saved file may have changed the choice since the widgets were drawn.
        st.session_state[_widget(family)] = [name for name in chosen if name in names]
        st.pills(
            words.capitalize(),
            names,
            selection_mode="multi",
            format_func=lambda name: label(name, model),
            wrap=True,
            key=_widget(family),
            help=HELP if family == next(iter(FAMILIES)) else None,
            on_change=_remember,
        )
    return list(chosen)


def label(name: str, model: str) -> str:
    """Return a method's title with its mark, for this model."""
    method = OFFERED[name]
    if measured.ruins(method, model):
        return f"{method.title} :material/warning: {RUINS}"
    return f"{method.title} :material/flag: {START}" if measured.is_good_start(method) else method.title


def _remember() -> None:
    """Keep the order in which methods were chosen."""
    now = [name for family in FAMILIES for name in st.session_state.get(_widget(family)) or ()]
    kept = [name for name in st.session_state.get(KEY, ()) if name in now]
    st.session_state[KEY] = kept + [name for name in now if name not in kept]


def _widget(family: str) -> str:
    return f"methods.{family}"
