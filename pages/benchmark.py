"""Shows every method on TOFU, beside the retrained model, own runs and published numbers."""

import streamlit as st

from ui import pick, shell
from ui.benchmark import published, standing

shell.guard()
shell.head(
    "Benchmark",
    "TOFU's own metrics under their own definitions: what each method forgets of authors that never were, and what it "
    "keeps of the rest.",
)
found = standing.known()
if not standing.measured(found):
    st.info(
        "No method was measured here yet. The command below does it, one run after the other, and can be cut and begun "
        "anew; what others published stands below.",
        icon=":material/lightbulb:",
    )
    st.code("python -m bench.tofu", language="bash")
chosen = standing.choose(found)
standing.first(chosen)
standing.plane(chosen)
picked = standing.table(chosen)
if picked is not None:
    standing.one(picked)
else:
    st.caption(f"Choose a row to see where it comes from and to run it again.{pick.by_keys()}")
published.put_beside()
