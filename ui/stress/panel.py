"""Draws the Stress page: what to start, how far it is, the verdict's card, and the details."""

import csv
import io
from collections.abc import Sequence
from functools import partial

import streamlit as st

from ui import actions, figure, shell
from ui.launch import where
from ui.start import waking
from unlearn.figures import stress as stress_figures
from unlearn.measure.judge import read_metrics
from unlearn.results import verdict
from unlearn.results.verdict import CONTROLS, RULE
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
MIA = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus", "mia_reference")
# The colour and the icon of each verdict.
VERDICTS: dict[str, tuple[shell.Colour, str]] = {
    "not forgotten": ("red", ":material/psychology:"),
    "suppressed": ("orange", ":material/visibility_off:"),
    "erased": ("green", ":material/ink_eraser:"),
    "undecided": ("gray", ":material/help:"),
}
RULE_WORDS = {
    "suppressed": "still finds it",
    "erased": "erased",
    "nothing": "finds nothing",
    "undecided": "undecided",
    "": "does not tell",
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


def card(record: JsonView) -> None:
    """Draw the verdict, suppressed or erased, and the evidence in sentences computed from the numbers."""
    outcome = record.get("verdict", "undecided")
    color, icon = VERDICTS.get(outcome, VERDICTS["undecided"])
    with st.container(border=True, key="stress.card"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Suppressed or erased?**", width="content", help=RULE)
            st.badge(outcome, icon=icon, color=color)
        for line in verdict.evidence_sentences(record):
            st.markdown(f"- {shell.plain(line)}")
        st.caption(f"Control: {CONTROLS[record.get('control', '')]}.")


def table(found: Sequence[JsonView]) -> None:
    """Draw every attack and setting with its numbers, in the same order, and the same as CSV."""
    rows = [
        {"attack": e["title"], "setting": e["setting"], "says": RULE_WORDS.get(e["says"], e["says"])}
        | {"left": e["residue"], "before": e["before"], "after": e["value"], "control": e["control"]}
        | {"n": e["n"], "seed": e["seed"], "finding": e["finding"]}
        for e in found
    ]
    share = st.column_config.NumberColumn
    heads = {
        "attack": st.column_config.TextColumn("Attack", width=170),
        "setting": st.column_config.TextColumn("Setting", width=170),
        "says": st.column_config.TextColumn("Says", help="By the rule of the card above."),
        "left": share(
            "What is left", format="percent", help="0 %: like the control, 100 %: like the original."
        ),
        "before": share("Original", format="%.3g", help="The original model under the attack."),
        "after": share("Attacked", format="%.3g", help="The unlearned model under it; lower is better."),
        "control": share(
            "Control", format="%.3g", help="The retrained model, or texts never seen: the goal."
        ),
        "finding": st.column_config.TextColumn("Finding", width="large"),
    }
    st.dataframe(
        rows,
        column_config=heads,
        hide_index=True,
        key="stress.table",
        placeholder="–",
        alt="Attacks, worst first",
    )
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    st.download_button("CSV", out.getvalue(), "stress.csv", icon=":material/download:", on_click="ignore")


def setting(entry: JsonView) -> str:
    """Return a sentence on how one attack was done, for below its chart."""
    details, said = entry["details"], f"n = {entry['n']}, seed {entry['seed']}"
    if "taught" in details:
        return f"{said}; {details['taught']} other questions practised on every weight, lr {details['lr']:g}."
    kind = "An adapter: 0 leaves it out." if details.get("adapter") else "Every weight: θ0 + s (θ − θ0)."
    return f"{kind} {said}."


def squares(entry: JsonView, control: str, known: tuple[object, ...], dark: bool) -> None:
    """Draw the residue by layer over all texts, then layer × token of one of them.

    known: what tells this record from others, and the theme.
    """
    figure.show_kept(known, lambda: stress_figures.by_layer(entry, control, dark), key="stress.layers")
    items = entry["details"].get("squares")
    if not items:
        st.caption("The single answers were left out with the rows of this run.")
        return
    at = st.selectbox(
        "One answer, layer by layer",
        range(len(items)),
        format_func=lambda i: items[i]["question"] or " ".join(items[i]["tokens"]),
        key="stress.square",
    )
    sides = [side for side in ("before", "after", "control") if side in items[at]]
    for column, side in zip(st.columns(len(sides)), sides, strict=True):
        with column:
            figure.show_kept(
                (*known, at),
                partial(stress_figures.layers, items[at], side, control, dark),
                key=f"stress.square.{side}",
                top=40,
            )
    st.caption(
        "The number is the right token's rank (1 is the top) if the model had to answer at that layer."
    )


def measure(run: Run, metrics: Sequence[str], label: str, key: str, busy: bool) -> None:
    """Draw the button that computes these metrics of the run in the background."""
    able = not busy and _weights(run) and shell.may_manage(run)
    if st.button(label, icon=":material/science:", disabled=not able, key=key):
        start(run, metrics=metrics)


def membership(run: Run, busy: bool, dark: bool) -> None:
    """Draw the ROC of the membership attacks from metrics.json, or the button that computes them."""
    metrics = read_metrics(run).get("metrics", {})
    scored = {name: metrics[name] for name in MIA if metrics.get(name, {}).get("scores")}
    if not scored:
        reasons = {metrics[name]["reason"] for name in MIA if name in metrics}
        st.info(
            f"Left out: {'; '.join(reasons)}." if reasons else "Membership inference was not computed yet."
        )
        if not reasons:
            measure(run, MIA, "Compute it", "mia", busy)
        return
    whens = [w for w in ("after", "before", "retrained") if any(_score(e, w) for e in scored.values())]
    names = {"after": "Unlearned", "before": "Original", "retrained": "Retrained"}
    with st.container(horizontal=True):
        when = st.segmented_control(
            "Model",
            whens,
            format_func=names.__getitem__,
            default=whens[0],
            required=True,
            wrap=True,
            key="stress.roc.when",
        )
        assert when is not None, "required"
        log = st.toggle("Log-log", key="stress.roc.log", help="Shows what few false alarms give away.")
    shown = {entry["title"]: score for entry in scored.values() if (score := _score(entry, when))}
    figure.show(stress_figures.roc(shown, when, log, dark), key="stress.roc")
    n = next(iter(shown.values()))["n"]
    st.caption(f"Ideal: AUC 0.5. Below it is a leak too: over-forgotten texts stand out. n = {n}.")


def _score(entry: JsonView, when: str) -> JsonView | None:
    return next((score for score in entry["scores"] if score["when"] == when), None)
