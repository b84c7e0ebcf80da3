"""Offers the stop rule as one line of a form, and shows what it read while a run trains and what ended it."""

import streamlit as st

from ui import figure, shell
from unlearn.store.config import RunConfig
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

LINE = "Stop when it has forgotten like the retrained model, or when general text suffers by more than 3 %"
HELP = (
    "A few fixed texts are read while it trains, for about a tenth of the training's time. Without a retrained model "
    "the target is how likely the model finds answers that it never saw. As flags: --stop-at target "
    "--budget general-ppl=1.03"
)
# What the line sets, and what a run without it has.
RULE: JsonObject = {"stop_at": "target", "budget": ("general-ppl=1.03",)}
KEY = "form.stop"


def line() -> JsonObject:
    """Draw the line and return the settings that it stands for.

    A loaded configuration whose rule is another one keeps it until the line is pressed.
    """
    own: JsonObject = st.session_state.get(f"{KEY}.own", {})
    label = f"Stop rule of the loaded settings: {_said(own)}" if own else LINE
    on = st.checkbox(shell.plain(label), key=KEY, help=HELP, wrap=True, persist_state="session")
    if not on:
        st.session_state.pop(f"{KEY}.own", None)
        return {}
    return own or dict(RULE)


def fill(config: RunConfig) -> None:
    """Put a config's stop rule into the form, before the line is drawn."""
    mine = {name: getattr(config, name) for name in ("stop_at", "budget", "keep")}
    plain = {name: RunConfig.setting(name).default for name in mine}
    given = {name: value for name, value in mine.items() if value != plain[name]}
    st.session_state[KEY] = config.stop_rule().on
    if given and given != RULE:
        st.session_state[f"{KEY}.own"] = given
    else:
        st.session_state.pop(f"{KEY}.own", None)


def _said(own: JsonObject) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {', '.join(value) if isinstance(value, tuple) else value}"
        for name, value in own.items()
    )


def watched(run: Run) -> None:
    """Draw what the run's stop rule has read, where it has one."""
    events = run.events("watch")
    if not events:
        return
    from unlearn.figures.stop_rule import watched as drawn

    figure.show(drawn(events, run.ended(), dark=shell.dark()), key=f"watched.{run.id}")
    if took := cost(run.results()):
        st.caption(took)


def cost(results: JsonView) -> str:
    """Return what the readings took of a finished run's training, in a sentence, or "" where it is not known."""
    seconds, training = (
        results.get(name, {}).get(part, 0.0)
        for name, part in (("beside", "stop rule"), ("phases", "training"))
    )
    if not seconds or not training:
        return ""
    return f"Its readings took {seconds:.1f} s of {training:.1f} s of training ({seconds / training:.0%}).".replace(
        "%", " %"
    )
