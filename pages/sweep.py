"""Finds settings, or carries out a grid of methods and settings and shows which cells are good."""

import streamlit as st

from ui import choose, forget_set, known, shell, studies
from ui.demo import visitor
from ui.launch import where
from ui.start import waking
from ui.sweep import find, results
from ui.sweep import form as sweeps
from unlearn.results.search.record import SearchRecord, searches
from unlearn.results.sweep_record import SweepConfig
from unlearn.results.sweep_record import sweeps as every

shell.guard()
shell.head(
    "Sweep",
    "Let settings be found for you, or try methods over a grid of learning rates and epochs and see where each forgets "
    "and keeps the rest.",
)

found = visitor.seen([*every(shell.store()), *searches(shell.store())])
found = sorted(found, key=lambda record: record.id, reverse=True)
# The form stands above the results, but these are drawn first, since they need no torch.
form = st.container()
if not found:
    st.info("No sweep yet. Choose above what to try, then launch.", icon=":material/info:")
else:
    record = sweeps.pick(found, {SearchRecord: find.label})
    if isinstance(record, SearchRecord):
        studies.progress(find.PANEL, record)
        find.results(record)
    else:
        studies.progress(sweeps.PANEL, record)
        results.results(record)

with form:
    waking.wait_for_torch()
    # This imports torch, which is there now.
    from unlearn.methods import METHODS

    form = studies.form(sweeps.PANEL, "A new search or sweep", empty=not found)
with form:
    how = st.segmented_control(
        "What to do", sweeps.WAYS, default=sweeps.WAYS[0], required=True, wrap=True, key="sweep.how"
    )
    left, right = st.columns([2, 3], gap="large")
    data, config = {}, None
    with left:
        model, size = choose.choose_model()
        try:
            key = "find.methods" if how == sweeps.WAYS[0] else "sweep.methods"
            names = st.session_state.get(key) or (find.FIRST | sweeps.FIRST)[key]
            data = forget_set.choose_data(methods=names)
        except (ValueError, OSError) as error:
            st.error(shell.plain(str(error)))
    if how == sweeps.WAYS[0]:
        with right:
            config = find.choose(METHODS, model, data, size)
        ready = config is not None
    else:
        with right:
            axes = sweeps.choose_grid()
        methods = sweeps.choose_methods(METHODS)
        if model and data and methods:
            try:
                config = SweepConfig(runs=sweeps.templates(methods, METHODS, model, data, size), **axes)
            except (ValueError, OSError) as error:
                st.error(shell.plain(str(error)))
        elif not methods:
            st.info("Choose one or several methods.", icon=":material/info:")
        ready = config is not None and sweeps.cost(config)
    if config is not None and not known.notice(config.runs):
        ready = False
    with st.container(horizontal=True):
        begin = "Find settings for me" if how == sweeps.WAYS[0] else "Launch"
        if st.button(begin, type="primary", icon=":material/play_arrow:", disabled=not ready, key="go"):
            (find if how == sweeps.WAYS[0] else sweeps).launch(config)
        shell.copy_command("go.command", config.command() if config else "")
        where.choose()
