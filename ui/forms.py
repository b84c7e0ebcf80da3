"""Makes forms from what a method states about itself, without knowing any method by name.

Every widget's key names method, model size and tuning, because the defaults differ between them: a person
who switches to LoRA sees LoRA's defaults, and their own numbers again when they switch back.
"""

from typing import TYPE_CHECKING, Any, Literal, TypedDict

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui.demo import visitor
from unlearn.methods import method_named
from unlearn.metrics import CHEAP, METRICS
from unlearn.models.catalogue import default_prompt, parts_of
from unlearn.results.measured import describe, measured, on_others
from unlearn.store.config import LORA_ONLY, ROUNDED, RunConfig
from unlearn.store.knobs import Knob
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.methods.base import Method


class Keep(TypedDict):
    """The options that every field of a form has."""

    persist_state: Literal["session"]


# With this option values survive a visit to another page.
KEEP: Keep = {"persist_state": "session"}
PER_ROW = 4
# The settings that each method has its own tuned default for, and those that are the same for all of one launch.
OWN = tuple(RunConfig.setting(name) for name in ("lr", "epochs", "batch_size"))
SHARED = tuple(RunConfig.setting(name) for name in ("seed", "accumulation", "max_length", "probes", "sam"))
MEMORY = tuple(RunConfig.setting(name) for name in ("memory", "max_grad_norm"))
LORA = tuple(RunConfig.setting(name) for name in LORA_ONLY)
REPORT = RunConfig.setting("report_to")
TUNING, PRECISION = RunConfig.setting("tuning"), RunConfig.setting("precision")
ADAPTER, RETRAINED = RunConfig.setting("adapter"), RunConfig.setting("retrained")
PROMPT, SYSTEM = RunConfig.setting("prompt"), RunConfig.setting("system")
# Unlearning layers are their method's own choice, not one of the form's.
OFFERED = ("full", "lora")


def number(label: str, key: str, value: Any, knob: Knob) -> Any:
    """Draw a number field in the type of its default, in scientific notation where that is shorter.

    It takes any number: a browser keeps one that a field refuses to itself, and the run would begin with another.
    Whoever makes settings of it says what is wrong.
    """
    step: float
    if isinstance(value, int):
        step, form = 1, "%d"
    else:
        value = float(value)
        tiny, short = 0 < abs(value) < 0.01, knob.high is not None and knob.high <= 5
        step, form = (value / 5 if tiny else 0.05 if short else 0.5), ("%.1e" if tiny else "%g")
    if key in st.session_state:
        st.session_state[key] = type(value)(st.session_state[key])
        return st.number_input(label, step=step, format=form, key=key, help=knob.help, **KEEP)
    return st.number_input(label, value=value, step=step, format=form, key=key, help=knob.help, **KEEP)


def knob_field(knob: Knob, key: str, value: Any) -> Any:
    """Draw the widget of one Knob and return its value.

    The knob's kind chooses the widget, and its sentence is the tooltip.
    """
    if knob.kind == "bool":
        st.session_state.setdefault(key, value)
        return st.toggle(knob.label, key=key, help=knob.help, **KEEP)
    if knob.kind == "choice":
        st.session_state.setdefault(key, value)
        return st.selectbox(knob.label, knob.choices, format_func=knob.title, key=key, help=knob.help, **KEEP)
    return number(knob.label, key, value, knob)


def prefix(method: "Method | type[Method]", size: str, tuning: str, model: str, prompt: str) -> str:
    """Return the beginning of every key of one method's form: what has other defaults has other keys."""
    several = ".several" if method.in_several(size, tuning, model, prompt) else ""
    return f"form.{method.name}.{method.settings_of(size, model)}.{tuning}{several}"


def method_card(method: "Method", size: str, tuning: str, model: str, prompt: str) -> JsonObject:
    """Draw one method: what it does, what it costs and risks, and its settings.

    Returns lr, epochs, batch_size, knobs.
    """
    base = prefix(method, size, tuning, model, prompt)
    tuned = method.settings(size, tuning, model, prompt)
    with st.container(border=True):
        st.markdown(f"**{method.title}** — {method.sentence}")
        st.caption(f"Cost: {method.cost}  \nRisk: {method.risk}", help=f"{method.paper} · {method.url}")
        if tuning not in OFFERED:
            st.caption("Trains layers of its own; what may change, chosen above, does not apply to it.")
        if method.collapses:
            st.warning(method.collapses, icon=":material/warning:")
        found = [] if method.in_several(size, tuning, model, prompt) else measured(method)
        told = next((describe(m) for m in found if m.model == model and m.tuning == tuning), "")
        told += f" {on_others(method, model, tuning)}" if told else ""
        st.caption(f"Settings: {method.origin(size, model, tuning, prompt)}. {told}")
        chosen: JsonObject = {}
        plain = [knob for knob in method.knobs() if not knob.advanced]
        spare = [knob for knob in method.knobs() if knob.advanced]
        for i, cell in enumerate(cells(len(OWN) + len(plain))):
            with cell:
                if i < len(OWN):
                    chosen[OWN[i].name] = knob_field(OWN[i], f"{base}.{OWN[i].name}", tuned[OWN[i].name])
                else:
                    _knob_into(chosen, plain[i - len(OWN)], base, tuned["knobs"])
        if spare:
            with st.expander("Advanced", key=f"{base}.advanced"):
                for knob, cell in zip(spare, cells(len(spare)), strict=True):
                    with cell:
                        _knob_into(chosen, knob, base, tuned["knobs"])
    return chosen


def _knob_into(chosen: JsonObject, knob: Knob, base: str, tuned: JsonView) -> None:
    value = knob_field(knob, f"{base}.{knob.name}", tuned[knob.name])
    chosen.setdefault("knobs", {})[knob.name] = value


def cells(count: int, per_row: int = PER_ROW) -> list[DeltaGenerator]:
    """Return count places in rows of per_row columns. On a narrow screen they stand below each other."""
    places: list[DeltaGenerator] = []
    while len(places) < count:
        places += st.columns(per_row)
    return places[:count]


def shared_settings(size: str, model: str) -> JsonObject:
    """Draw the choice of full or LoRA, how the model is asked, and in an expander what is seldom changed."""
    key = f"form.{size}.tuning"
    if key not in st.session_state:
        st.session_state[key] = "full" if size == "tiny" else "lora"
    tuning = st.segmented_control(
        TUNING.label,
        OFFERED,
        format_func=TUNING.title,
        wrap=True,
        key=key,
        required=True,
        help=TUNING.help,
        **KEEP,
    )
    assert tuning is not None, "required"
    key = prompt_key(model)
    if st.session_state.get(key) not in PROMPT.choices:
        st.session_state[key] = default_prompt(model) if model else PROMPT.default
    prompt = st.selectbox(
        PROMPT.label, list(PROMPT.choices), format_func=PROMPT.title, key=key, help=PROMPT.help, **KEEP
    )
    chosen: JsonObject = {"tuning": tuning, "prompt": prompt, "adapter": _adapter(model, tuning)}
    with st.expander(
        "Advanced: seed, precision, memory, probes, lengths, metrics, tracker"
        + (", LoRA" if tuning == "lora" else "")
    ):
        rows = SHARED + (LORA if tuning == "lora" else ())
        for knob, cell in zip(rows, cells(len(rows), 2), strict=True):
            with cell:
                chosen[knob.name] = knob_field(knob, f"form.{knob.name}", knob.default)
        chosen["system"] = st.text_area(SYSTEM.label, key="form.system", help=SYSTEM.help, **KEEP).strip()
        switch = RunConfig.setting("checkpointing")
        chosen[switch.name] = knob_field(switch, "form.checkpointing", switch.default)
        chosen["precision"] = _precision(tuning)
        for knob, cell in zip(MEMORY, cells(len(MEMORY), 2), strict=True):
            with cell:
                chosen[knob.name] = knob_field(knob, f"form.{knob.name}", knob.default)
        chosen["metrics"] = tuple(_metrics())
        if visitor.here():
            # A visitor names no other model and no tracker.
            return chosen
        chosen["retrained"] = st.text_input(
            RETRAINED.label, key="form.retrained", help=RETRAINED.help, placeholder="none", **KEEP
        ).strip()
        chosen["report_to"] = st.selectbox(
            *(REPORT.label, list(REPORT.choices)),
            format_func=REPORT.title,
            key="form.report_to",
            help=REPORT.help,
            **KEEP,
        )
    return chosen


def _precision(tuning: str) -> str:
    """Draw the choice of the numbers that hold the weights. 8 and 4 bits are offered under an adapter alone,
    which they need.
    """
    offered = [name for name in PRECISION.choices if tuning == "lora" or name not in ROUNDED]
    key = "form.precision"
    if st.session_state.get(key) not in offered:
        st.session_state[key] = "auto"
    return st.selectbox(
        PRECISION.label, offered, format_func=PRECISION.title, key=key, help=PRECISION.help, **KEEP
    )


def _adapter(model: str, tuning: str) -> str:
    """Draw what is done with the adapter that the model's folder holds, where it holds one."""
    try:
        parts = parts_of(model) if model else None
    except ValueError:
        # The estimate below the form says what is wrong with the model.
        return str(ADAPTER.default)
    if parts is None or parts.adapter is None:
        return str(ADAPTER.default)
    offered = ["merge", *(["keep"] if tuning == "lora" else [])]
    offered = ["ignore", *offered] if parts.way == "ignore" else offered
    if st.session_state.get("form.adapter") not in offered:
        st.session_state["form.adapter"] = offered[0]
    return st.selectbox(
        ADAPTER.label, offered, format_func=ADAPTER.title, key="form.adapter", help=ADAPTER.help, **KEEP
    )


def _metrics() -> list[str]:
    """Draw the choice of metrics that a run computes beside those that cost no pass of their own."""
    further = [name for name in METRICS if name not in CHEAP]
    return st.multiselect(
        RunConfig.setting("metrics").label,
        further,
        key="form.metrics",
        format_func=lambda name: METRICS[name].title,
        placeholder="none: the cheap ones only",
        help="Computed at the end of the run. What a run computes anyway: "
        f"{', '.join(metric.title for metric in CHEAP.values())}. Compare computes more for a finished run.",
        **KEEP,
    )


def prompt_key(model: str) -> str:
    """Each model has its own default, so a person's choice for one is not kept for another."""
    return f"form.prompt.{model}"


def fill(config: RunConfig, size: str) -> None:
    """Put a config's numbers into the form (before its widgets are drawn)."""
    if config.tuning in OFFERED:
        st.session_state[f"form.{size}.tuning"] = config.tuning
    for knob in SHARED + LORA + MEMORY:
        st.session_state[f"form.{knob.name}"] = getattr(config, knob.name)
    st.session_state[prompt_key(config.model)] = config.prompt
    st.session_state["form.system"] = config.system
    st.session_state["form.checkpointing"] = config.checkpointing
    st.session_state["form.precision"] = config.precision
    st.session_state["form.adapter"] = config.adapter
    st.session_state["form.retrained"] = config.retrained
    st.session_state["form.metrics"] = list(config.metrics)
    st.session_state["form.report_to"] = config.report_to
    base = prefix(method_named(config.method), size, config.tuning, config.model, config.prompt)
    for knob in OWN:
        st.session_state[f"{base}.{knob.name}"] = getattr(config, knob.name)
    for name, value in config.knobs.items():
        st.session_state[f"{base}.{name}"] = value
