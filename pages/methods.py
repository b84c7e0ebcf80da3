"""Shows what each method computes, how it fails, its source, and its gradient on a real token."""

import streamlit as st

from ui import pick, shell
from ui.methods.explorer import explorer
from ui.methods.facts import at_a_glance, facts, overview
from ui.methods.robust import section
from ui.start import waking

shell.guard()
shell.head(
    "Methods",
    "How each method forgets, in its formula and in the code that runs here; and, on a real token, which way it "
    "pushes, and whether it ever stops.",
)
waking.wait_for_torch()

from unlearn.methods import AFTER, METHODS, OFFERED  # noqa: E402  (needs torch, which is there now)

VIEWS = {"methods": "The methods", "explorer": "Gradient explorer"}
wanted = st.query_params.get("view", "methods")
st.session_state["view"] = wanted if wanted in VIEWS else "methods"


def remember() -> None:
    """Put the view into the address, so that a link opens it."""
    st.query_params["view"] = st.session_state["view"]


view = st.segmented_control(
    "View",
    list(VIEWS),
    format_func=VIEWS.get,
    required=True,
    wrap=True,
    key="view",
    on_change=remember,
    label_visibility="collapsed",
)
if view == "explorer":
    explorer(METHODS)
else:
    told = OFFERED | AFTER
    facts(told[pick.choose("Method", "method", list(told), lambda name: told[name].title)])
    st.subheader("All methods at a glance", anchor=False)
    at_a_glance(overview(told))
    section()
