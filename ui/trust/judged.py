"""Draws the Trust page: the sentence, the figures, the table of metrics, and how it was measured."""

import time
from collections.abc import Sequence

import streamlit as st

from ui import figure, shell
from unlearn.figures import trust as drawn
from unlearn.metrics import REVISIONS
from unlearn.results import trust
from unlearn.results.trust import Found
from unlearn.store.shapes import JsonObject, JsonView

COMMAND = "python -m unlearn trust"
# A record whose last row is younger than this is still being made.
RUNNING = 300.0
# What each kind of model was taught beside the texts to keep.
KINDS = {
    "asked": "taught, asked the same way",
    "otherwise": "taught in other words",
    "biography": "taught as a biography",
    "nothing": "never taught",
    "wrong": "taught wrong answers",
    "others": "taught others' biographies",
}
COLUMNS = {
    "Metric": "",
    "AUC": "The chance that the metric says more knowledge of a model that was taught the facts than of one that was "
    "not. 1 is always right, 0.5 a coin. In brackets the 95 % interval over models (Newcombe).",
    "Relearning": "1 where one pass of practice moves the metric as much as it moves that of the exact retrain. In "
    "brackets the 95 % interval over the unlearned models.",
    "Rounding": "1 where weights in NF4 (four bits) change nothing of what the metric says. In brackets the same.",
    "Robustness": "The harmonic mean of the two columns before it.",
    "AUC, 1 B": f"Published, not measured here: {trust.SOURCE}.",
    "Robustness, 1 B": f"Published, not measured here: {trust.SOURCE}.",
    "Verdict": f"By the interval's lower end: from {trust.GOOD:g} on tells them apart, from {trust.CARE:g} on most.",
}


def known() -> Found | None:
    """Return the record, judged. It is None where there is none, and an unreadable one is said to be so."""
    if not trust.RECORD.is_file():
        return None
    stamp = trust.RECORD.stat().st_mtime_ns
    record, found = _judged(str(trust.RECORD), stamp)
    if not record:
        st.error(
            f"{trust.RECORD.name} cannot be read, or another version wrote it; the command below makes it anew.",
            icon=":material/error:",
        )
        return None
    return found


@st.cache_data(show_spinner=False, max_entries=2)
def _judged(path: str, stamp: int) -> tuple[bool, Found]:
    record = trust.read(trust.RECORD)
    return bool(record), trust.judge(record)


def empty() -> None:
    """Draw what to do where nothing was measured."""
    st.info(
        "No metric was tested yet. The command below makes some two hundred small models in about twenty minutes, "
        "reads every metric on each of them, and can be cut and begun anew.",
        icon=":material/lightbulb:",
    )
    st.code(COMMAND, language="bash")


def first(found: Found) -> None:
    """Draw the sentence, and what limits it."""
    if said := trust.sentence(found):
        st.markdown(f"**{shell.plain(said)}**")
    else:
        st.markdown("**Too few models were measured to say anything of a metric.**")
    if not found.whole:
        age = time.time() - trust.RECORD.stat().st_mtime
        state = "It is being measured now" if age < RUNNING else f"`{COMMAND}` measures the rest"
        st.warning(f"{shell.plain(trust.short_of(found))} {state}.", icon=":material/hourglass_top:")
    st.caption(
        f"n = {found.holds} models that were taught the facts and {found.lacks} that never saw them; robustness over "
        f"{found.unlearned} unlearned models. Bars are 95 % intervals. Hollow: what others published of a model of a "
        f"billion parameters ({trust.SOURCE}); compare the order, not the heights."
    )


def figures(found: Found) -> None:
    """Draw the AUC of every metric that is made to tell knowledge, and faithfulness against robustness."""
    meant = [one for one in found.metrics if not one.either_way and one.faithfulness]
    if not meant:
        return
    figure.show(drawn.faithfulness(meant, shell.dark()), key="trust.faithfulness")
    if any(one.robustness is not None for one in meant):
        figure.show(drawn.plane(meant, shell.dark()), key="trust.plane")


def table(found: Found) -> None:
    """Draw every metric with its numbers, ours and published ones apart."""
    st.subheader("Every metric", anchor=False)
    rows = [_row(one) for one in trust.table(found)]
    columns: JsonObject = {
        name: st.column_config.TextColumn(
            name, help=said or None, alignment="left" if name in ENDS else "right", pinned=name == ENDS[0]
        )
        for name, said in COLUMNS.items()
    }
    st.dataframe(
        rows,
        column_config=columns,
        hide_index=True,
        key="trust.table",
        placeholder="–",
        alt="Every metric with its faithfulness and robustness, and published figures",
    )
    if old := trust.earlier(found, REVISIONS):
        st.caption(shell.plain(old))
    if any(one.either_way for one in found.metrics):
        st.caption(
            "\\* is made for something else than knowledge (repetition, variety, collapse): its AUC is read in the "
            "direction that suits it, so 0.5 is its lowest."
        )


ENDS = ("Metric", "Verdict")


def _row(one: JsonObject) -> JsonObject:
    cells = (
        one["title"] + (" *" if one["either_way"] else ""),
        _between(one["auc"], (one["low"], one["high"])),
        *(_between(one[part], one[f"{part}_interval"]) for part in ("relearning", "rounding")),
        _two(one["robustness"]),
        *map(_three, (one["published_auc"], one["published_robustness"])),
        one["grade"],
    )
    return dict(zip(COLUMNS, cells, strict=True))


def _between(value: float | None, ends: Sequence[float | None] | None) -> str:
    return "" if value is None or ends is None else f"{value:.2f} [{_two(ends[0])}, {_two(ends[1])}]"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def kinds(found: Found) -> None:
    """Draw which models a metric takes for others: its AUC of each kind against the whole other side."""
    named = [kind for kind in KINDS if any(kind in one.by_kind for one in found.metrics)]
    with st.expander("Which models are mistaken", icon=":material/category:"):
        st.caption("AUC of the models of one kind against all models of the other side.")
        rows = [
            {"Metric": one.title} | {KINDS[kind]: _two(one.by_kind.get(kind)) for kind in named}
            for one in found.metrics
            if one.by_kind and not one.either_way
        ]
        st.dataframe(
            rows,
            hide_index=True,
            key="trust.kinds",
            placeholder="–",
            alt="AUC of each metric by kind of model",
        )


def made(found: Found) -> None:
    """Draw how it was measured, what does not count, and the command."""
    with st.expander("How this was measured", icon=":material/science:"):
        st.markdown(METHOD)
        if found.left_out:
            st.markdown("Not counted: " + shell.plain("; ".join(found.left_out)) + ".")
        st.code(COMMAND, language="bash")
        if found.header:
            st.caption(shell.plain(_origin(found.header)))


METHOD = """
Three small worlds of invented authors, each with a base model of 0.2 million parameters. From its base every model of a
world is taught the same texts to keep. Half of them are taught the facts as well: as questions in the wording in which
they are asked later, in other wordings only, or as biographies only. The other half never sees them: it is taught
nothing more, the same questions with wrong answers, or biographies of others. Learning rate, length and seed differ.

**Faithfulness** is the AUC between the two halves. **Robustness** compares eight methods' unlearned models before and
after one pass of practice on the facts, and with weights in NF4 (four bits); the exact retrain practises the same.

What this does not say: the models are small and the facts were taught last, which makes them easier to unlearn and
overstates robustness (arXiv 2410.08827); what a retrain knows depends on its path as well (arXiv 2510.16629). A metric
that fails here need not fail on a large model, so the published figures stand beside.
"""


def _origin(header: JsonView) -> str:
    cpu, torch = header.get("machine", {}).get("cpu", ""), header.get("versions", {}).get("torch", "")
    return f"{cpu}, torch {torch}, commit {header.get('commit', '')}, {header.get('date', '')}."
