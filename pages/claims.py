"""Shows what the papers claim, what was found when it was tested here, and by which rule."""

import streamlit as st

from ui import shell
from ui.claims import form, verdicts
from unlearn.claims import CLAIMS

shell.guard()
shell.head(
    "Claims",
    "What papers claim, put to the test on models that fit on this machine. A verdict follows from the numbers "
    "by the rule stated with it.",
)
found = verdicts.recorded()
if not found:
    st.info(
        "No claim was tested yet. The command below does it in minutes and writes what comes out.",
        icon=":material/lightbulb:",
    )
    st.code("python -m unlearn claims --quick", language="bash")
tests = form.records()
form.form()
form.tried(tests)
verdicts.overview(found)
for key, claim in CLAIMS.items():
    verdicts.one(claim, found.get(key))
