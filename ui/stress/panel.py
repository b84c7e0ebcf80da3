"""Draws what the Stress page starts, and how far it is."""

from collections.abc import Sequence

import streamlit as st

from ui import actions, shell
from ui.launch import where
from ui.start import waking
from unlearn.store.index import Summary
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonView
from unlearn.work import stress
from unlearn.work.stress import StressRecord

EVERY = 2.0
# The title of each attack in the button's list. They are repeated here because the attacks themselves need
# torch.
TITLES = {
    "paraphrase": "Paraphrase",
    "prefix": "Answer prefix",
    "quantise": "8- and 4-bit weights",
    "dial": "Forgetting dial",
    "relearn": "Relearning",
    "probe": "Linear probe",
    "lens": "Layer-wise residue",
}


def attackable() -> list[Summary]:
    """Return the runs that have ended and keep weights, or whose attacks were imported with them."""
    return [run for run in shell.summaries() if run.attacked or (_weights(run) and run.state not in ACTIVE)]


def _weights(run: Run | Summary) -> bool:
    return any(run.path.glob("model/*.safetensors")) or any(run.path.glob("adapter/*.safetensors"))


def launch(run: Run, record: JsonView, job: StressRecord | None) -> None:
    """Draw the choice of attacks and the button, which is disabled while an attack of this run is active."""
    busy = job is not None and job.state in ACTIVE
    before = int(record.get("seed", 0))
    seed = int(st.session_state.get(f"stress.seed.{run.id}", before))
    done = record.get("attacks", {}) if seed == before else {}
    left = [name for name in TITLES if name not in done]
    names = st.pills(
        "Attacks",
        list(TITLES),
        format_func=TITLES.__getitem__,
        selection_mode="multi",
        default=left or list(TITLES),
        wrap=True,
        key=f"stress.names.{run.id}.{len(done)}",
        help="An attack whose weights, data and versions have not changed is not carried out again.",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.number_input(
            "Seed",
            *(0, 2**31 - 1, before),
            key=f"stress.seed.{run.id}",
            width=160,
            help="Relearning draws by it which facts are practised. Another seed begins the attacks anew.",
        )
        ready = bool(names) and not busy and _weights(run) and shell.may_manage(run)
        if st.button("Attack", icon=":material/bolt:", disabled=not ready, key="stress.go"):
            start(run, attacks=[name for name in TITLES if name in names], seed=seed)
        chosen = "all" if len(names or ()) in (0, len(TITLES)) else ",".join(names)
        shell.copy_command("stress.command", f"python -m unlearn attack {run.id} {chosen} --seed {seed}", "")
    if not shell.may_manage(run) and not shell.is_recorded(run):
        st.caption(
            "Started in another browser: only that one can attack it; repeat the run to attack your own."
        )


def sweep(run: Run, record: JsonView, job: StressRecord | None) -> None:
    """Draw the button that tries every setting of every attack for so many minutes, going on where it ended before."""
    busy = job is not None and job.state in ACTIVE
    with st.container(horizontal=True, vertical_alignment="bottom"):
        minutes = st.number_input(
            "Minutes",
            *(1, 600, 10),
            key=f"stress.minutes.{run.id}",
            width=120,
            help="So long it tries setting after setting, the cheapest first. What was done is not done again.",
        )
        ready = not busy and _weights(run) and shell.may_manage(run)
        label = f"Attack everything, {minutes} minute{'s' * (minutes > 1)}"
        if st.button(
            label, type="primary", icon=":material/bolt:", disabled=not ready, key="stress.everything"
        ):
            waking.wait_for_torch()
            try:
                actions.do("sweep attacks", run, float(minutes), int(record.get("seed", 0)))
            except (ValueError, OSError) as error:
                st.error(shell.plain(str(error)))
                return
            st.rerun()
        command = f"python -m unlearn attack {run.id} --sweep --minutes {minutes}"
        shell.copy_command("stress.sweep.command", command, "")
        where.choose()


def start(
    run: Run, attacks: Sequence[str] = (), metrics: Sequence[str] = (), seed: int | None = None
) -> None:
    """Queue the attacks behind whatever the runner does. What is wrong is shown on the page."""
    waking.wait_for_torch()
    try:
        if attacks:
            actions.do("attack", run, attacks, seed)
        if metrics:
            actions.do("measure", run, metrics)
    except (ValueError, OSError) as error:
        st.error(shell.plain(str(error)))
        return
    st.rerun()


def progress(job: StressRecord) -> None:
    """Draw state and progress of the newest job, redrawn while it is active.

    Nothing is drawn once it is done.
    """
    active = job.state in ACTIVE
    st.fragment(_progress, run_every=EVERY if active else None)(job, active, _written(job))


def _attacks(job: StressRecord) -> bool:
    return not job.asked.get("metrics")


def _written(job: StressRecord) -> int:
    return len(stress.read_attacks(job.run).get("attacks", {}))


def _progress(job: StressRecord, was_active: bool, seen: int) -> None:
    state = job.state
    if was_active and (state not in ACTIVE or _written(job) > seen):
        st.rerun()
    if state == "running":
        phrase, fraction, seconds = shell.runner().progress(job)
        here = shell.runner().position(job) is not None
        said = " · ".join([phrase or "starting", *([f"{seconds:.0f} s"] if seconds else [])])
        said = said if here else "in another process"
        st.progress(fraction, text=f"It is being attacked: {said}" if _attacks(job) else said)
    elif state == "queued":
        place = shell.runner().position(job)
        st.progress(0.0, text=f"waiting for the machine, number {place} in the queue" if place else "waiting")
    elif state == "failed":
        why = job.reason[:1].upper() + job.reason[1:]
        st.error(f"The last attempt failed. {shell.plain(why)}", icon=":material/error:")
    elif state in ("stopped", "interrupted"):
        why = f" {shell.plain(job.reason)}" if job.reason else ""
        st.warning(f"The last attempt was cut short; what was done is kept.{why}", icon=":material/stop:")
    mine = state in ACTIVE and shell.may_manage(job) and shell.runner().position(job) is not None
    if mine and st.button("Stop", icon=":material/stop:", key="stress.stop"):
        actions.pressed("stop", job)
        st.toast("It stops after this step.")


def measure(run: Run, metrics: Sequence[str], label: str, key: str, busy: bool) -> None:
    """Draw the button that computes these metrics of the run in the background."""
    able = not busy and _weights(run) and shell.may_manage(run)
    if st.button(label, icon=":material/science:", disabled=not able, key=key):
        start(run, metrics=metrics)
