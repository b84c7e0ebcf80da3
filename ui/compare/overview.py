"""Draws what Compare shows first: what became of the answers, scores as dots, curves, and the trade-off."""

from collections.abc import Mapping, Sequence

import streamlit as st

from ui import figure, shell, view
from unlearn.data.base import TITLES
from unlearn.results import compare, paired
from unlearn.results import overview as found
from unlearn.results.likelihood import REACHED
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

# The number of other runs of the store that the trade-off shows, the newest ones.
OTHERS = 300


def outcomes(rows: Sequence[JsonObject], scored: Mapping[str, int], dark: bool) -> None:
    """Draw the stacked bar of what became of the answers to forget, and of how many of them answers are kept."""
    counts = found.outcomes(rows)
    if not counts.keys() - {"retrained"}:
        return
    from unlearn.figures import overview as figures

    figure.show(figures.bar(counts, dark), key="compare.outcomes")
    kept, of = sum(row["role"] == "forget" for row in rows), scored.get("forget") or 0
    # The table below has filters of its own, for other rows too.
    said = (
        "The bars are of all rows to forget whose answers are kept, whatever the table below is filtered to."
    )
    if of > kept:
        said += f" Answers are kept of the first {kept} rows; the sentence above counts all {of}."
    st.caption(said)


def scores(runs: Sequence[Run], dark: bool) -> None:
    """Draw at most three scores of every set of rows as dots with their intervals, side by side."""
    from unlearn.figures import overview as figures

    metrics = found.shares(runs)
    if not metrics:
        return
    for (metric, rows), place in zip(metrics.items(), st.columns(len(metrics), gap="medium"), strict=True):
        with place:
            figure.show(figures.dots(rows, metric, dark), key=f"compare.dots.{metric}")
    whole = any(
        low is not None for rows in metrics.values() for row in rows for _, low, _ in row["points"].values()
    )
    st.caption(
        "Lines are 95 % intervals over the rows. Forget rows should fall to the retrained model's ◆, all others stay "
        "at the original's ★." + ("" if whole else " These runs are of a version that kept no intervals.")
    )


def beside(runs: Sequence[Run]) -> None:
    """Say whether A differs from each other run on the texts that both were asked, by a paired test of rows to forget
    and to keep.
    """
    for role in ("forget", "retain"):
        said = [
            told["sentence"]
            for letter, run in zip(compare.SIDES.upper()[1:], runs[1:], strict=False)
            if (told := paired.runs(runs[0], run, role, ("A", letter)))
        ]
        if said:
            words = "  \n".join(shell.plain(one) for one in said)
            st.markdown(f"**{TITLES.get(role, role)}.** {words}".replace(" %", "\u00a0%"))


def curves(runs: Sequence[Run], dark: bool) -> None:
    """Draw how likely the right answers are over the steps and, folded, the training's own losses."""
    from unlearn.figures import losses
    from unlearn.figures.base import AFTER, paint
    from unlearn.figures.likelihood import likelihood
    from unlearn.figures.overview import name_of

    lines = found.likelihoods(runs)
    if lines:
        for (role, one), place in zip(lines.items(), st.columns(len(lines), gap="medium"), strict=True):
            with place:
                curves = {name_of(side, len(runs) > 1): line for side, line in one["lines"].items()}
                drawn = likelihood(
                    role,
                    curves,
                    one["retrained"],
                    dark,
                    before=one["before"],
                    n=one["n"],
                    colors=[paint(AFTER[side][0], dark) for side in one["lines"]],
                )
                figure.show(drawn, key=f"compare.likelihood.{role}")
        st.caption(
            "Of the questions that are followed through training; dashed: the original and the retrained model. "
            f"{REACHED}"
        )
    else:
        st.info("No probe was followed through training: set probes above 0 for the next run.")
    steps = {letter: run.events("step") for letter, run in zip(compare.SIDES.upper(), runs, strict=False)}
    with st.expander("The losses that were trained on", icon=":material/show_chart:", key="compare.folded"):
        terms = list(dict.fromkeys(term for events in steps.values() for term in losses.terms_of(events)))
        if not terms:
            st.info("No training step was recorded.")
            return
        for term, place in zip(terms, st.columns(len(terms), gap="medium"), strict=True):
            with place:
                several = losses.losses_compare(steps, dark, term) if len(runs) > 1 else None
                figure.show(
                    several or losses.losses(steps["A"], dark=dark, only=term), key=f"compare.losses.{term}"
                )
        if len(runs) > 1:
            st.caption("Methods minimise different things: compare shapes within a panel, not heights.")


def tradeoff(runs: Sequence[Run], dark: bool) -> None:
    """Draw forget against retain, with other runs and, pale, what all methods did at their defaults."""
    from unlearn.figures import tradeoff as figures
    from unlearn.figures.base import aim

    metrics = list(compare.METRICS)
    metric = st.segmented_control(
        "Score",
        metrics,
        required=True,
        wrap=True,
        key="compare.metric",
        format_func=lambda name: compare.METRICS[name][0],
        on_change=view.widget("compare.metric", "score", "exact", metrics),
        help="  \n".join(f"**{title}**: {what}" for title, what, _ in compare.METRICS.values()),
    )
    metric = metric or metrics[0]
    points = compare.tradeoff_points(runs, shell.store().list()[:OTHERS], metric)
    if len(points) < 2:
        st.info("A trade-off needs a run that scored forget and retain rows after training.")
        return
    known = found.recorded(runs[0]) if metric == "exact" else []
    figure.show(figures.tradeoff([*known, *points], compare.METRICS[metric][0], dark), key="compare.tradeoff")
    pale = (
        " Pale rings: every method at its default settings, as recorded with this version." if known else ""
    )
    goal = aim(any(point["kind"] == "retrained" for point in points))
    st.caption(f"{goal} Grey: your other runs on the same data.{pale}")
    for words in dict.fromkeys(filter(None, map(compare.truth_words, runs))):
        st.caption(shell.plain(words))
