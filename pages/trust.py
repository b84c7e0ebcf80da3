"""Shows which metrics can be trusted: each on models whose knowledge is known, beside published figures."""

import streamlit as st

from ui import shell
from ui.trust import judged

shell.guard()
shell.head(
    "Trust",
    "Can this metric be trusted? Each is tested on small models of which it is known whether they hold the facts.",
)
found = judged.known()
if found is None:
    judged.empty()
    st.stop()
judged.first(found)
judged.figures(found)
judged.table(found)
judged.kinds(found)
judged.made(found)
