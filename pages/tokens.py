"""Shows one answer token by token: how likely each was before, and how likely it is after."""

import streamlit as st

from ui import pick, shell, verdict, view
from ui.ask import put, question_form, sources
from ui.strip import strip
from ui.tokens.charts import Charts
from unlearn.data.base import TITLES
from unlearn.results import answer_tokens, compare
from unlearn.store.runs import Run

AGAINST = "Retrained without it"
UNITS = {"p": "probability", "lp": "log-prob", "logit": "logit"}

shell.guard()
shell.head(
    "Tokens",
    "One right answer, token by token: what unlearning did to each, and what became likely in its place.",
)
pick.spread()
view.begin("tokens", "run", "role", "row", "against", "as")
runs = pick.with_samples()
if not runs:
    pick.empty("There is no run with answers yet. Start one, and look at its tokens here.")

first, second, third = st.columns([3, 1, 4])
with first:
    run = Run(runs[pick.choose_run("Run", "run", runs, "has no answers to look at")].path)
rows = pick.paired([run])
if not rows:
    pick.empty("This run has no answers yet. Choose another one, or wait for it.")
with second:
    roles = list(dict.fromkeys(row["role"] for row in rows))
    keep = view.widget("tokens.role", "role", roles[0], roles)
    title = lambda role: TITLES.get(role, role)  # noqa: E731
    role = st.selectbox("Rows", roles, format_func=title, key="tokens.role", on_change=keep)
with third:
    here = {str(row["index"]): row for row in rows if row["role"] == role}
    shifts = {i: compare.fall(r["before"], r["a"]) for i, r in here.items()}
    most = max(shifts, key=lambda i: shifts[i] if shifts[i] == shifts[i] else 0.0)
    keep = view.widget("pick.row", "row", most, list(here))
    named = lambda i: here[i]["question"]  # noqa: E731
    row = here[st.selectbox("Question", list(here), format_func=named, key="pick.row", on_change=keep)]
pick.honest(run)
verdict.show([run], full=False)

probes = run.probes()
items = probes[0]["items"] if probes else []
item = next((i for i, p in enumerate(items) if (p["role"], p["index"]) == (role, row["index"])), None)
models = {"After": row["a"], AGAINST: row["retrained"]}
if item is not None and not row["a"]:
    models[f"At step {probes[-1]['step']}"] = probes[-1]["items"][item]
models = {name: sample for name, sample in models.items() if sample}
before = row["before"] or (items[item] if item is not None else None)
if not before or not models:
    pick.empty("This run ended before it answered this row after training. Choose another row or run.")


@st.fragment
def detail() -> None:
    """Draw the strip and its figures as a fragment, so that a click on a token redraws nothing else."""
    names = list(models)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        keep = view.widget("tokens.model", "against", names[0], names)
        name = st.segmented_control(
            "Before, against", names, required=True, wrap=True, key="tokens.model", on_change=keep
        )
        quantity = st.segmented_control(
            "Show",
            list(UNITS),
            required=True,
            wrap=True,
            key="tokens.quantity",
            format_func=UNITS.__getitem__,
            on_change=view.widget("tokens.quantity", "as", "p", list(UNITS)),
            help="Probability: what the model says. Log-prob: the same in nats. Logit: the raw score before it is made "
            "a probability.",
        )
    after = models[name or names[0]]
    dark, key = shell.dark(), f"tokens.strip.{run.id}.{role}.{row['index']}"
    shift = answer_tokens.shift_words(before, after, row["answer"], AGAINST if name == AGAINST else "after")
    said = shell.plain(f"{before['text'].strip()} → {after['text'].strip() or '(nothing)'}")
    st.markdown(f"**{shell.plain(row['answer'].strip())}**: {shell.plain(shift)}. The model says: {said}")
    place = strip(before["tokens"], after["tokens"], quantity, key=key)

    if before["tokens"] and after["tokens"]:
        charts = Charts(
            run, (role, row["index"], name), before["tokens"], after["tokens"], name == AGAINST, dark
        )
        left, right = st.columns(2)
        with left:
            charts.slope(place)
        with right:
            charts.bars(quantity)
            if item is not None:
                charts.curve(place, probes, item)
            elif wanted := [p for p in items if p["role"] == role][:4]:
                st.caption("Only probes are followed through training, and this row is none. These are:")
                for probe in wanted:
                    text = shell.plain(compare.question_of(probe))
                    shell.link("tokens", text, run=run.id, role=role, row=str(probe["index"]))


detail()

with st.expander("Your own text", icon=":material/edit:", key="tokens.own", on_change="rerun") as own:
    if own.open:
        asked = [source for source in sources([run]) if source[0] != AGAINST]
        st.caption("Give a question and an answer; the answer's tokens are scored before and after.")
        if given := question_form("own"):
            if not given[1]:
                st.warning("Give an answer, so that there is something to score before and after.")
            elif replies := put(*given, asked):
                st.session_state["own.last"] = (run.id, given, replies)
        last = st.session_state.get("own.last")
        if last and last[0] == run.id and len(last[2]) > 1:
            st.markdown(f"**{shell.plain(last[1][1].strip())}** after: {shell.plain(last[1][0])}")
            strip(last[2][0]["tokens"], last[2][1]["tokens"], "p", key="tokens.own.strip")
