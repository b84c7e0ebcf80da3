"""Turns a filled page into running runs: the address, the configs, what they will cost, and Launch."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.elements.lib.mutable_expander_container import ExpanderContainer

from ui import choose, costs, forget_set, forms, known, shell, stopping
from ui.demo import visitor
from ui.launch import where
from ui.launch.stated import whole
from ui.launch.wrong import in_words, on_pages
from ui.typed import upload
from unlearn.data.base import Dataset
from unlearn.models.reading import as_asked
from unlearn.results import compare
from unlearn.results import cost as spending
from unlearn.results.pace import duration
from unlearn.store.runs import Run, RunConfig
from unlearn.work.preflight import preflight

# The choice to see all runs of one launch in one figure.
TOGETHER = "together"
CHOICES = ("model", "data", "method", "requests", "prompt", "clone")
# The method that is chosen at first, because it forgets and rarely destroys the model.
FIRST_METHOD = "npo"
RATIO = "retraining ÷ this"
# Whether the menu that takes a settings file is open.
LOAD = "config.load"
# The number of recent runs whose speed an estimate may use.
RECENT = 40


def apply_address(methods: Mapping[str, object]) -> None:
    """Fill the page from its address: ?model=&data=&method=a,b or ?clone=<run>. Unknown names are said."""
    if st.session_state.pop("launched", False):
        st.session_state["settings.open"] = False
    if (config := st.session_state.pop("config.fill", None)) is not None:
        try:
            fill(config)
        except ValueError as error:
            st.error(shell.plain(str(error)))
        return
    given = choose.address(CHOICES)
    if given is None:
        return
    try:
        if run_id := given.get("clone"):
            fill(shell.find_run(run_id).config)
            return
        choose.set_model(given.get("model", ""))
        if data := given.get("data"):
            requests = [int(word) for word in given.get("requests", "").split(",") if word.isdigit()]
            forget_set.set_data({"name": data, "requests": requests})
    except ValueError as error:
        st.error(shell.plain(str(error)))
    if (prompt := given.get("prompt")) in forms.PROMPT.choices:
        st.session_state[forms.prompt_key(given.get("model", ""))] = prompt
    if words := given.get("method"):
        st.session_state["methods"] = [name for name in words.split(",") if name in methods]
        if unknown := [name for name in words.split(",") if name not in methods]:
            st.error(f"There is no method {shell.plain(', '.join(unknown))}; choose one below.")


def fill(config: RunConfig) -> None:
    """Put a whole config into the page (before its widgets are drawn). ValueError for one of others to a visitor."""
    st.session_state["settings.open"] = True
    visitor.allow([config])
    choose.set_model(config.model)
    forget_set.set_data(config.data)
    st.session_state["methods"] = [config.method]
    forms.fill(config, choose.size_class(config.model))
    stopping.fill(config)


def first_row(model: str, dataset: Dataset, prompt: str, system: str) -> None:
    """Show what the model is given of the first row to forget, and what it should say, in the chosen format."""
    try:
        given, said = as_asked(model, dataset.rows("forget")[0], prompt, system)
    except ValueError as error:
        st.error(shell.plain(str(error)))
        return
    except OSError:
        # The library's own words are of its cache and of its manual.
        st.warning(
            f"The tokenizer of {shell.plain(model)} is not on this machine, and the hub does not give it now. Look at "
            "the name (owner/name), or try again with a network.",
            icon=":material/cloud_off:",
        )
        return
    with st.expander("The first row, as the model reads it", key="form.first_row"):
        st.code(f"{given}⟦{said}⟧", language=None, wrap_lines=True)
        st.caption("What stands between ⟦ and ⟧ is the answer: it alone is trained on and scored.")


def settings_expander(watching: bool) -> ExpanderContainer:
    """Return the expander that holds the form.

    It closes at Launch, so that the run is in sight, and opens when asked.
    """
    if "settings.open" not in st.session_state:
        st.session_state["settings.open"] = not watching
    return st.expander("Model, forget set, methods", key="settings.open", on_change="rerun", type="compact")


def load_button() -> str:
    """Draw a button that takes the settings of a saved config file. Return what is wrong with the file, or "".

    At the foot of a page its menu has room for two lines and covers what stands around it, so it closes itself and the
    page says what is wrong.
    """
    with st.popover("Load settings", icon=":material/upload:", key=LOAD, on_change="rerun"):
        file = upload("A settings file saved here", "json", "config.file", 1)
        if file is not None:
            st.button("Use these settings", key="config.use", on_click=_take, args=(file,))
    return st.session_state.pop("config.wrong", "")


def _take(file: Any) -> None:
    """Close the menu, and leave the file's settings for the next run of the page, or what is wrong with them."""
    st.session_state[LOAD] = False
    try:
        st.session_state["config.fill"] = whole(json.loads(file.getvalue()))
    except (ValueError, TypeError, AttributeError) as error:
        st.session_state["config.wrong"] = f"{file.name} is not a settings file: {in_words(error)}"


def cost(configs: Sequence[RunConfig]) -> bool:
    """Draw what each run will take, and return True when all of them can start."""
    entered = {config.model: costs.training_tokens(config.model) for config in configs}
    rows, warnings, notes, formulas, good = [], [], [], [], True
    finished = [run for run in shell.store().list()[:RECENT] if run.results()]
    for config in configs:
        name = shell.method_title(config.method)
        try:
            check = preflight(config, finished)
        except (ValueError, OSError) as error:
            st.error(shell.plain(in_words(error)))
            good = False
            continue
        row = {"method": name, "steps": check.steps, "tokens": choose.count(check.tokens).strip()}
        row["memory"] = f"{check.memory_bytes / 2**30:.2g} GiB"
        row["time"] = f"about {duration(check.seconds)}" if check.seconds else "not known yet"
        row["operations"] = f"{choose.count(check.flops, 'G')}FLOP"
        planned = {"tokens": check.tokens, "parameters": check.parameters}
        again = spending.of_model(config.model, planned, entered[config.model])
        if again:
            row[RATIO] = f"{compare.rounded(again['flops_ratio'])} ×"
            formulas.append(f"{name}: {again['formula']}")
        rows.append(row)
        warnings += [text for text in check.warnings if text not in warnings]
        notes += [text for text in check.notes if text not in notes]
    if rows:
        helps = {"time": _learnt(configs, finished), RATIO: "  \n".join(map(shell.plain, formulas))}
        helps["operations"] = "6 × parameters × tokens that are trained on."
        right = {
            name: st.column_config.TextColumn(name, alignment="right", help=helps.get(name))
            for name in list(rows[0])[2:]
        }
        st.dataframe(
            rows,
            column_config=right,
            hide_index=True,
            key="preflight",
            placeholder="–",
            alt="What each run will take",
        )
    for text in notes:
        st.caption(shell.plain(text))
    for text in warnings:
        st.warning(shell.plain(on_pages(text)), icon=":material/warning:")
    return good and bool(rows)


def _learnt(configs: Sequence[RunConfig], finished: Sequence[Run]) -> str:
    """Return where the times come from: how many runs of these models have ended on this machine."""
    asked = {(config.model, config.tuning) for config in configs}
    count = sum((run.config.model, run.config.tuning) in asked for run in finished)
    if not count:
        return "Not known before the first run of this model has ended on this machine."
    runs = f"{count} run{'s' * (count > 1)}"
    return f"Learnt from {runs} of this model on this machine, of the same method where there is one."


def launch(configs: Sequence[RunConfig]) -> None:
    """Queue one run for each config, and put them into the address, so that a refresh finds them again."""
    made = []
    try:
        if not known.ask_first(configs):
            return
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    for config in configs:
        try:
            run = shell.runner().launch(config, owner=shell.owner(), place=where.chosen())
            costs.remember(run)
            made.append(run.id)
        except (ValueError, OSError) as error:
            st.error(shell.plain(str(error)))
            break
    if made:
        st.query_params["run"] = ",".join(made)
        st.session_state["launched"] = True
        st.rerun()


def watched() -> list[Run]:
    """Return the runs to show below the form: those in the address, or else those that this browser has
    running.
    """
    found = []
    for run_id in filter(None, st.query_params.get("run", "").split(",")):
        try:
            found.append(shell.find_run(run_id))
        except ValueError:
            st.info(
                f"There is no run {shell.plain(run_id)} here: it was deleted, or the link came from another store.",
                icon=":material/link_off:",
            )
    me, root = shell.owner(), shell.runs_root()
    # Leave out sweeps and other studies.
    active = [run for run in shell.runner().active() if isinstance(run, Run)]
    mine = [run for run in active if run.meta.get("owner", "") == me]
    # The runs of a sequence are left out, because a sequence has its own page.
    return found or [run for run in mine if run.path.parent == root]


def pick(runs: Sequence[Run]) -> Run | None:
    """Return the run to show by itself, or None where several race: all together, unless a person chose one."""
    if len(runs) == 1:
        return runs[0]
    by_id = {run.id: run for run in runs}
    icons = {run.id: shell.STATES[run.state][1] for run in runs}
    chosen = st.segmented_control(
        "Runs",
        [TOGETHER, *by_id],
        format_func=lambda name: (
            "All together"
            if name == TOGETHER
            else f"{icons[name]} {shell.method_title(by_id[name].config.method)}"
        ),
        default=TOGETHER,
        required=True,
        wrap=True,
        key=f"watch.{runs[0].id}",
        label_visibility="collapsed",
    )
    return by_id.get(chosen)
