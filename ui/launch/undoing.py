"""Offers UNDO, the step after a finished run, and launches it."""

import streamlit as st

from ui import shell
from unlearn.methods import UNDO
from unlearn.store.runs import Run
from unlearn.work.after import config_after

SHARE = next(knob for knob in UNDO.knobs() if knob.name == "share")
# A run whose result can be merged into the weights.
MERGED = ("full", "lora")


def button(run: Run) -> None:
    """Draw the button that begins UNDO after this run, where the run keeps weights that it can begin with."""
    kept = any(any((run.path / name).glob("*.safetensors")) for name in ("model", "adapter"))
    if run.state not in ("done", "stopped") or run.config.tuning not in MERGED or not kept:
        return
    with st.popover("Undo what only hides (UNDO)", icon=":material/blur_on:", key=f"undo.{run.id}"):
        st.write(f"{UNDO.sentence} What the run only held back is not taught again. {UNDO.cost}")
        share = st.slider(
            "Share of every weight that is lost", 0.05, 0.8, float(SHARE.default), 0.05, key=f"undo.{run.id}.share",
            help=f"{SHARE.help} More leaves less behind, and costs more of what should stay.",
        )  # fmt: skip
        if st.button("Begin", type="primary", key=f"undo.{run.id}.begin"):
            try:
                made = shell.runner().launch(config_after(run, {"share": share}), owner=shell.owner())
            except (ValueError, OSError) as error:
                st.error(shell.plain(str(error)))
                return
            st.switch_page(shell.page("launch"), query_params={"run": made.id})
