"""Lets a person choose a model, what it must forget and how, and launches the run."""

import json

import streamlit as st

from ui import choose, forget_set, forms, known, shell, stopping
from ui.demo import visitor
from ui.launch import launching, methods, where
from ui.launch.wrong import in_words
from ui.live import live, say_discarded
from ui.race.panel import race
from ui.start import waking
from unlearn.models.catalogue import default_prompt
from unlearn.store.runs import RunConfig

shell.guard()
shell.head(
    "Unlearn", "Choose a model, what it must forget, and one or several methods; then watch it happen."
)

# What a link does not find is said above the form. The form stands above the run, but the run is drawn first, since it
# needs no torch.
with st.container():
    runs = launching.watched()
form = st.container()
say_discarded()
if runs:
    if picked := launching.pick(runs):
        live(picked)
    else:
        race(runs)
with form:
    waking.wait_for_torch()
    # This imports torch, which is there now.
    from unlearn.methods import OFFERED

    launching.apply_address(OFFERED)
    settings_place = launching.settings_expander(bool(runs))
with settings_place:
    left, right = st.columns([2, 3], gap="large")
    # A person's own table fills the right side already, and on a phone the left side stands above it.
    below = st.container()
    with left:
        st.subheader("1 · Model", anchor=False)
        model, size = choose.choose_model()
        settings = forms.shared_settings(size, model) | stopping.line()
    with right:
        st.subheader("2 · What it must forget", anchor=False)
        data = {}
        try:
            data = forget_set.choose_data(methods=methods.now())
            if data:
                with right if "name" in data else below:
                    found = forget_set.load(data)
                    forget_set.preview(found)
                    if model:
                        launching.first_row(model, found, settings["prompt"], settings["system"])
            else:
                st.caption("Give the rows to forget, then rows that must stay.")
        except (ValueError, OSError) as error:
            data = {}
            st.error(shell.plain(str(error)))

    st.subheader("3 · Method", anchor=False)
    chosen = methods.choose(model)
    tunings = {name: OFFERED[name].tuning_for(settings["tuning"]) for name in chosen}
    cards = {
        name: forms.method_card(OFFERED[name], size, tunings[name], model, settings["prompt"])
        for name in chosen
    }

    configs = []
    if model and data:
        try:
            configs = [
                RunConfig(
                    model=model,
                    data=data,
                    method=name,
                    **(settings | {"tuning": tunings[name]}),
                    **cards[name],
                )
                for name in cards
            ]
        except ValueError as error:
            st.error(shell.plain(in_words(error)))
    requests = ",".join(map(str, data.get("requests", ())))
    own = settings["prompt"] if model and settings["prompt"] != default_prompt(model) else ""
    choose.set_address(
        model=model, data=data.get("name", ""), requests=requests, method=",".join(chosen), prompt=own
    )

    st.subheader("4 · Launch", anchor=False)
    ready = launching.cost(configs) if configs else False
    missing = [
        word
        for word, there in (("a model", model), ("a forget set", data), ("a method", chosen))
        if not there
    ]
    if missing:
        st.info(f"Still to choose: {', '.join(missing)}.", icon=":material/info:")
    if configs and not known.notice(configs):
        ready = False
    # Above the buttons, where it is in sight at the foot of a page too.
    said = st.empty()
    with st.container(horizontal=True):
        word = "Launch" if len(configs) < 2 else f"Launch {len(configs)} runs"
        if st.button(word, type="primary", icon=":material/play_arrow:", disabled=not ready, key="launch"):
            launching.launch(configs)
        shell.copy_command("command", "\n".join(config.command() for config in configs))
        for config in configs[:1]:
            st.download_button(
                "Save settings",
                visitor.public(json.dumps(config.to_json(), indent=1)),
                file_name=f"{config.method}.json",
                mime="application/json",
                icon=":material/save:",
                on_click="ignore",
                help="As a file; Load settings brings them back."
                if len(configs) == 1
                else "Of the first method.",
            )
        wrong = launching.load_button()
        where.choose()
    if wrong:
        said.error(shell.plain(wrong))
