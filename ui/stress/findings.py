"""Draws what the attacks of a run found: the verdict's card, the table, and the figures of single attacks."""

import csv
import io
from collections.abc import Sequence
from functools import partial

import streamlit as st

from ui import figure, minus, shell
from ui.stress.panel import measure
from ui.verdict import kept_together
from unlearn.figures import stress as stress_figures
from unlearn.measure.judge import read_metrics
from unlearn.results import verdict
from unlearn.results.compare import rounded, whole
from unlearn.results.verdict import CONTROLS, RULE
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

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


def card(record: JsonView) -> None:
    """Draw the verdict, suppressed or erased, and the evidence in sentences computed from the numbers."""
    outcome = record.get("verdict", "undecided")
    color, icon = VERDICTS.get(outcome, VERDICTS["undecided"])
    with st.container(border=True, key="stress.card"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Suppressed or erased?**", width="content", help=RULE)
            st.badge(outcome, icon=icon, color=color)
        for line in verdict.evidence_sentences(record):
            st.markdown(f"- {kept_together(line)}")
        st.caption(f"Control: {CONTROLS[record.get('control', '')]}.")


def table(found: Sequence[JsonView]) -> None:
    """Draw every attack and setting with its numbers, in the same order, and the same as CSV."""
    rows = [_row(e) for e in found]
    share = st.column_config.NumberColumn
    heads = {
        "attack": st.column_config.TextColumn("Attack", width=130),
        "setting": st.column_config.TextColumn("Setting", width=210),
        "says": st.column_config.TextColumn("Says", help="By the rule of the card above."),
        "left": share("What is left", help="0 %: like the control, 100 %: like the original."),
        "left_ends": st.column_config.TextColumn(
            "95 %", help="95 % interval of what is left, over the texts."
        ),
        "before": share("Original", format="%.3g", help="The original model under the attack."),
        "after": share("Attacked", format="%.3g", help="The unlearned model under it; lower is better."),
        "after_ends": st.column_config.TextColumn(
            "95 % attacked", help="95 % interval of the value under the attack, over the texts."
        ),
        "control": share(
            "Control", format="%.3g", help="The retrained model, or texts never seen: the goal."
        ),
        "finding": st.column_config.TextColumn("Finding", width="large"),
    }
    st.dataframe(
        minus.written(rows, {"left": stress_figures.percent}),
        column_config=heads,
        # Single attacks have no settings to tell them apart, and the column would push the last ones out of sight.
        column_order=[name for name in rows[0] if name != "setting" or any(row[name] for row in rows)],
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


def _row(entry: JsonView) -> JsonObject:
    """A row of the table: the numbers with their intervals, and what they say."""
    per_cent = [whole(100 * end) for end in entry["around"] or ()]
    return {
        "attack": entry["family"],
        "setting": entry["setting"],
        "says": RULE_WORDS.get(entry["says"], entry["says"]),
        "left": entry["residue"],
        "left_ends": " to ".join(per_cent) + " %" * bool(per_cent),
        "before": entry["before"],
        "after": entry["value"],
        "after_ends": " to ".join(map(rounded, entry["interval"] or ())),
        "control": entry["control"],
        "n": entry["n"],
        "seed": entry["seed"],
        "finding": entry["finding"],
    }


def curve(entry: JsonView, control: str, known: tuple[object, ...], dark: bool) -> None:
    """Draw the curve of an attack that has one: practice over its steps, or the dial. known: as in squares()."""
    name = entry["name"]
    practice = name == "relearn"
    title = "Does practice on a part bring back the rest?" if practice else "The forgetting dial"
    st.subheader(title, anchor=False)
    draw = (
        partial(stress_figures.relearning, entry, control, dark)
        if practice
        else partial(stress_figures.dial, entry, dark)
    )
    figure.show_kept(known, draw, key=f"stress.{name}")
    st.caption(setting(entry))


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
    st.caption(
        f"Ideal: AUC 0.5. Below it is a leak too: over-forgotten texts stand out. n = {n}; in "
        "brackets 95 % intervals over the texts."
    )


def _score(entry: JsonView, when: str) -> JsonView | None:
    return next((score for score in entry["scores"] if score["when"] == when), None)
