"""Draws what is done in each step of the lesson, and says from the numbers of its runs why its answer is right."""

import streamlit as st

from ui import actions, shell, verdict
from ui.launch import curves, outcome
from ui.launch.drawing import EVERY
from ui.lesson import state
from ui.live import live
from ui.race.answers import side_by_side
from ui.race.panel import named, race
from ui.sheet import sheet, unmarked
from ui.start import waking
from ui.stress import panel
from unlearn.results import conclusion, likelihood
from unlearn.results import outcome as results
from unlearn.results.compare import question_of
from unlearn.results.verdict import RULE
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonView
from unlearn.work import stress

# The number of questions of a step.
ASKED = 5


# -- 1: what it knows ------------------------------------------------------------------------------------------------


def knows() -> bool:
    """Let a person ask the model, and return whether somebody has."""
    example = state.example()
    if example is None:
        st.info("The recorded run that this step asks is not here; go on with the next step.")
        return True
    asked = [s for s in example.samples() if (s["when"], s["role"]) == ("before", "forget")][:ASKED]
    place = st.selectbox(
        "A question about an invented author",
        range(len(asked)),
        format_func=lambda i: question_of(asked[i]),
        key="lesson.question",
    )
    if st.button("Ask the model", type="primary", icon=":material/send:", key="lesson.ask"):
        st.session_state["lesson.reply"] = (place, *_reply(example, asked[place]))
    kept = st.session_state.get("lesson.reply")
    if kept is None or kept[0] != place:
        return kept is not None
    _, text, share, live_now = kept
    row = [unmarked(question_of(asked[place])), unmarked(asked[place]["answer"]), unmarked(text)]
    columns = [("Question", "none"), ("Right answer", "none"), ("It says", "none")]
    sheet(columns, [{"cells": row}], key="lesson.knows")
    source = "Asked just now" if live_now else "Recorded, because the machine is busy"
    st.caption(f"{source}. It gives the right answer a likelihood of {conclusion.percent(share)}.")
    return True


def _reply(example: Run, sample: JsonView) -> tuple[str, float, bool]:
    """What the model says now; what it said when it was recorded, where the machine is busy."""
    waking.wait_for_torch()
    try:
        with st.spinner("Asking the model"):
            found = shell.runner().ask(("before", example), question_of(sample), sample["answer"])
    except (RuntimeError, ValueError, OSError):
        return sample["text"], likelihood.of_answer(sample), False
    return found["text"], likelihood.of_answer({**found, "answer": sample["answer"]}), True


def why_knows() -> str:
    """Say where the model knows it from."""
    example = state.example()
    said = conclusion.of_run(example) if example else {}
    scores = example.scores().get("before", {}).get("forget", {}) if example else {}
    share = f" Before unlearning it answers {conclusion.percent(scores['exact'])} of them." if said else ""
    return (
        f"The authors are invented, so there is nowhere else it could know them from but its training.{share}"
    )


# -- 2: ascent ruins -------------------------------------------------------------------------------------------------


def ruins() -> bool:
    """Run gradient ascent, and return whether it has ended."""
    found = state.runs(state.RUINED)
    if not found:
        if st.button(
            "Unlearn by gradient ascent", type="primary", icon=":material/ink_eraser:", key="lesson.ga"
        ):
            state.launch(state.RUINED, state.RUINING)
        return False
    if state.is_large():
        _two_figures(found)
    else:
        live(found[0])
    return bool(found[0].scores().get("after"))


def why_ruins() -> str:
    """Say what went with it."""
    found = conclusion.of_run(state.runs(state.RUINED)[0])
    headline = results.alarm(state.runs(state.RUINED)[0])
    return f"{found['kept']['sentence']} {headline} Its loss has no lower bound, so it never stops pushing."


# -- 3: NPO and UnDIAL hold ------------------------------------------------------------------------------------------


def holds() -> bool:
    """Race the two methods, and return whether both have ended."""
    found = state.runs(state.HELD)
    if not found:
        if st.button("Race NPO and UnDIAL", type="primary", icon=":material/sprint:", key="lesson.race"):
            state.launch(state.HELD, state.HOLDING)
        return False
    if state.is_large():
        _two_figures(found)
    else:
        race(found)
    return all(run.scores().get("after") for run in found)


def why_holds() -> str:
    """Say what each method left and kept, the best first."""
    found = results.ranked([*state.runs(state.RUINED), *state.runs(state.HELD)])
    told = "; ".join(f"{shell.method_title(run.config.method, run)}: {results.short(f)}" for run, f in found)
    return f"{told}. Each of the two stops pushing a text once it is forgotten, and practises the rest meanwhile."


def _two_figures(runs: list[Run]) -> None:
    """Draw the runs for a room: what they came to in one line each, and the two figures, large."""
    active = any(run.state in ACTIVE for run in runs)

    def draw() -> None:
        going = any(run.state in ACTIVE for run in runs)
        if active and not going:
            st.rerun()
        for name, run in named(runs).items():
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{shell.plain(name)}**", width="content")
                if found := conclusion.of_run(run):
                    color, icon = verdict.BADGES[found["word"]]
                    st.badge(found["word"], icon=icon, color=color)
                    st.markdown(verdict.kept_together(results.short(found)), width="content")
                else:
                    shell.state_badge(run)
        curves.likelihoods(named(runs), going, large=True)

    st.fragment(draw, run_every=EVERY if active else None)()


# -- 4: is it gone? --------------------------------------------------------------------------------------------------


def _attacked() -> Run | None:
    """The run that is attacked: the first that holds and has ended."""
    return next((run for run in state.runs(state.HELD) if run.scores().get("after")), None)


def gone() -> bool:
    """Attack the first method's model, and return whether that has ended."""
    run = _attacked()
    if run is None:
        racing = any(one.state in ACTIVE for one in state.runs(state.HELD))
        then = "NPO and UnDIAL still race in step 3" if racing else "let NPO and UnDIAL race in step 3"
        st.info(f"There is nothing to attack yet: {then}.", icon=":material/bolt:")
        return False
    record, job = stress.read_attacks(run), stress.latest(run)
    busy = job is not None and job.state in ACTIVE
    name = shell.method_title(run.config.method, run)
    if not busy and not record and shell.may_manage(run):
        if st.button(f"Attack {name}'s model", type="primary", icon=":material/bolt:", key="lesson.attack"):
            waking.wait_for_torch()
            actions.pressed("attack", run, list(panel.TITLES))
            st.rerun()
        st.caption(
            "About a minute: other words, a prefix, rounded weights, practice on a part, a look inside."
        )
        return False
    if job is not None:
        panel.progress(job)
    if not record:
        return False
    outcome.tiles(run)
    verdict.show([run])
    shell.link("stress", "Every attack by itself", ":material/bolt:", run=run.id)
    return not busy


def why_gone() -> str:
    """Say what the worst attack found, and by which rule that is judged."""
    run = _attacked()
    said = conclusion.of_run(run)["gone"]["sentence"] if run else ""
    return f"{said} {RULE}"


# -- 5: against the retrain ------------------------------------------------------------------------------------------


def retrain() -> bool:
    """Show the retrained model's answers beside the others, and return whether they are shown."""
    found = [run for run in state.runs(state.HELD) if "retrained" in run.scores()]
    chosen = found or [run for run in [state.example()] if run]
    if not chosen:
        st.info("No run here has a retrained model to stand beside it.")
        return False
    if not st.session_state.get("lesson.retrained"):
        label = "Show the model that never saw it"
        st.button(
            label,
            type="primary",
            icon=":material/visibility:",
            key="lesson.show",
            on_click=lambda: st.session_state.update({"lesson.retrained": True}),
        )
        return False
    places = {name: place for place, name in enumerate(named(chosen))}
    side_by_side([(name, run, places[name]) for name, run in named(chosen).items()])
    return True


def why_retrain() -> str:
    """Say how the run compares with the retrained model."""
    found = [run for run in state.runs(state.HELD) if "retrained" in run.scores()]
    run = next(iter(found), state.example())
    said = conclusion.of_run(run)["forgot"]["sentence"] if run else ""
    return f"It never saw these rows, so what it gets right there is chance. {said}"
