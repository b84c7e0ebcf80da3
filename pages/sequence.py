"""Carries out deletion requests one after the other, and shows what stays forgotten."""

import streamlit as st

from ui import choose, forget_set, forms, known, shell, studies
from ui.demo import visitor
from ui.launch import where
from ui.sequence import form as sequences
from ui.sequence import results
from ui.start import waking
from unlearn.store.runs import ACTIVE, RunConfig
from unlearn.work.sequence import SequenceConfig
from unlearn.work.sequence import sequences as every

FIRST_METHOD = "npo"

shell.guard()
shell.head(
    "Sequence",
    "People ask one after the other. See what each request costs the rest, and whether an earlier one comes back.",
)

found = visitor.seen(every(shell.store()))
# The form stands above the results, but these are drawn first, since they need no torch.
form = st.container()
if not found:
    st.info("No sequence yet. Choose above what arrives and how it is honoured.", icon=":material/info:")
else:
    studies.warn_of_gone(sequences.PANEL, found)
    shown = sequences.chosen(found)
    waiting = [record for record in found if record.state in ACTIVE and record not in shown]
    for record in shown:
        studies.progress(sequences.PANEL, record)
    if shown:
        results.results(shown)
    else:
        st.info("Choose one or several sequences to see what came of them.", icon=":material/info:")
    # What came of the chosen ones stands before what others do.
    for record in waiting:
        studies.progress(sequences.PANEL, record)

with form:
    waking.wait_for_torch()
    # This imports torch, which is there now.
    from unlearn.methods import METHODS

    form = studies.form(sequences.PANEL, "A new sequence", empty=not found)
with form:
    left, right = st.columns([2, 3], gap="large")
    data, order = {}, ()
    with left:
        model, size = choose.choose_model()
        settings = forms.shared_settings(size, model)
    with right:
        try:
            data = forget_set.choose_data(
                ask_requests=False, methods=[st.session_state.get("sequence.method") or FIRST_METHOD]
            )
            requests = forget_set.load(data).requests() if data else ()
            if data and len(requests) < 2:
                st.error(
                    "This set has no deletion requests; give its table a column `request` with 1, 2, 3 …"
                )
            elif data:
                order = sequences.choose_order(requests, str(sorted(data.items())))
        except (ValueError, OSError) as error:
            data = {}
            st.error(shell.plain(str(error)))
        mode = sequences.choose_mode()
        undo = sequences.choose_undo()
    if "sequence.method" not in st.session_state:
        st.session_state["sequence.method"] = FIRST_METHOD
    name = st.pills(
        "Method",
        list(METHODS),
        format_func=lambda name: METHODS[name].title,
        wrap=True,
        key="sequence.method",
        required=True,
        persist_state="session",
    )
    settings["tuning"] = METHODS[name].tuning_for(settings["tuning"])
    card = forms.method_card(METHODS[name], size, settings["tuning"], model, settings["prompt"])
    config = None
    if model and data and order:
        try:
            run = RunConfig(model=model, data=data, method=name, **settings, **card)
            config = SequenceConfig(run=run, mode=mode, order=order, undo=undo)
        except ValueError as error:
            st.error(shell.plain(str(error)))
    ready = config is not None and sequences.cost(config)
    if config is not None and not known.notice([config.run]):
        ready = False
    with st.container(horizontal=True):
        if st.button("Launch", type="primary", icon=":material/play_arrow:", disabled=not ready, key="go"):
            sequences.launch(config)
        shell.copy_command("go.command", config.command() if config else "")
        where.choose()
