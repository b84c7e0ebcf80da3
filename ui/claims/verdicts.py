"""Draws the Claims page: the table of verdicts, and each claim with its experiment and figure."""

import math
from collections.abc import Mapping

import streamlit as st

from ui import figure, shell
from ui.sheet import plain_table
from unlearn.claims import CLAIMS, Claim, record
from unlearn.claims.base import LEAST, SAME, digits, number
from unlearn.claims.training import TOFU
from unlearn.figures import claims as claims_figures
from unlearn.store.shapes import JsonView

# The colour and the icon of each verdict.
LOOKS: dict[str, tuple[shell.Colour, str]] = {
    "confirmed": ("green", ":material/check_circle:"),
    "partly": ("orange", ":material/contrast:"),
    "refuted": ("red", ":material/cancel:"),
    "undecided": ("gray", ":material/help:"),
    "not tested": ("gray", ":material/hourglass_empty:"),
}


def recorded() -> Mapping[str, JsonView]:
    """Return what claims.json says, by claim. It is empty where the file is missing or broken."""
    return record.entries()


def overview(found: Mapping[str, Mapping[str, object]]) -> None:
    """Draw a table with one row for each claim: verdict, why, and what would decide it."""
    rows = [_row(claim, found.get(key)) for key, claim in CLAIMS.items()]
    counts = {word: sum(row["Verdict"] == word for row in rows) for word in LOOKS}
    if said := record.sentence(found):
        st.markdown(f"**{shell.plain(said)}**")
    with st.container(horizontal=True):
        for name, (color, icon) in LOOKS.items():
            if counts[name]:
                st.badge(f"{counts[name]} {name}", icon=icon, color=color)
    if found:
        plain_table(rows, key="claims.table", widths=("26%", "11%", "", "28%"))


def _row(claim: Claim, entry: JsonView | None) -> dict[str, str]:
    head = {"Claim": f"{claim.key}  {claim.title}. {claim.sentence}"}
    if entry is None:
        command = f"python -m unlearn claims {claim.key} --quick"
        return head | {
            "Verdict": "not tested",
            "Why": "Nobody has tried it here.",
            "What would decide it": command,
        }
    finding = entry["finding"]
    why = finding["sentence"]
    if finding["figures"]:
        first = finding["figures"][0]
        why += (
            f" ({first['name']} {value(first)}, 95 % interval {between(first)}, n {first['n']} {first['of']})"
        )
    return head | {"Verdict": finding["verdict"], "Why": why, "What would decide it": decides(claim, entry)}


def decides(claim: Claim, entry: JsonView) -> str:
    """Return what would decide a claim that its numbers leave open, or say that it is decided."""
    finding = entry["finding"]
    if finding["verdict"] != "undecided":
        return "Decided."
    n = min((int(one["n"]) for one in finding["figures"]), default=0)
    if n < LEAST:
        return f"At least {LEAST} seeds or splits; it has {n}."
    if finding["figures"] and _point(finding["figures"][0]):
        return (
            f"Its {n} seeds give one number, so they count as one. Something else must differ from run to run: the "
            "forget set, the model, the data."
        )
    return (
        f"An interval that lies on one side of the rule, so more seeds than {n}. It is confirmed if: "
        f"{claim.confirms} It is refuted if: {claim.refutes}"
    )


def _point(one: JsonView) -> bool:
    """Whether an interval is as good as a point, because all seeds gave the same."""
    low, high = number(one["low"]), number(one["high"])
    return high - low <= 10 * SAME * abs(number(one["mean"]))


def value(one: JsonView) -> str:
    """Write the mean of a figure with its unit."""
    return digits(number(one["mean"])) + one["unit"]


def between(one: Mapping[str, object]) -> str:
    """Write the interval of a figure, or "none"."""
    low, high = number(one["low"]), number(one["high"])
    return f"{digits(low)} to {digits(high)}" if math.isfinite(low) and math.isfinite(high) else "none"


def one(claim: Claim, entry: JsonView | None) -> None:
    """Draw one claim that unfolds. What is folded is not drawn."""
    verdict = entry["finding"]["verdict"] if entry else "not tested"
    color, icon = LOOKS[verdict]
    key = f"claims.{claim.key}"
    st.session_state.setdefault(key, claim.key == next(iter(CLAIMS)))
    label = f"**{claim.key}** {shell.plain(claim.title)}: :{color}[{verdict}]"
    with st.expander(label, icon=icon, key=key, on_change="rerun") as part:
        if part.open:
            _told(claim)
            _shown(claim, entry)


def _told(claim: Claim) -> None:
    st.markdown(f"**The claim.** {shell.plain(claim.sentence)} ([{shell.plain(claim.paper)}]({claim.url}))")
    st.markdown(f"**The experiment.** {shell.plain(claim.experiment)}")


def _shown(claim: Claim, entry: JsonView | None) -> None:
    if entry is None:
        st.caption("Not tested yet.")
        st.code(f"python -m unlearn claims {claim.key} --quick", language="bash")
        _rule(claim)
        _published(claim, claim.key)
        return
    data, header = entry["data"], entry["header"]
    finding(entry["finding"])
    numbers(claim, entry, claim.key)
    _rule(claim)
    if claim.note:
        st.caption(shell.plain(claim.note))
    st.caption(shell.plain(elsewhere(claim)))
    seeds = ", ".join(map(str, data["seeds"]))
    st.caption(
        shell.plain(
            f"{entry['mode'].capitalize()} mode; {data['n']}; seeds {seeds}; intervals are 95 % t intervals. "
            f"{header['machine']['cpu']}, torch {header['versions']['torch']}, commit {header['commit']}"
            f"{' with local changes' if header['dirty'] else ''}, {header['date']}"
            f"{'; judged by the rule of ' + str(entry['judged']) if entry.get('judged') else ''}. Each verdict stands "
            "for itself: of seventeen 95 % intervals one or more miss in more than half of all repeats."
        )
    )
    st.code(f"python -m unlearn claims {claim.key} --{entry['mode']}", language="bash")


def finding(found: JsonView) -> None:
    """Draw a verdict with its sentence."""
    color, icon = LOOKS[found["verdict"]]
    st.markdown(f":{color}[{icon} **{found['verdict'].capitalize()}.**] {shell.plain(found['sentence'])}")


def numbers(claim: Claim, entry: JsonView, key: str) -> None:
    """Draw the figure of an outcome, and its numbers beside the paper's. key: tells its widgets from another's."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        chart = claim.chart(entry["data"])
        figure.show(claims_figures.draw(chart, shell.dark()), key=f"claims.figure.{key}", top=30)
    with right:
        st.markdown("**Ours**")
        rows = [
            {"figure": f["name"], "mean": value(f), "95 % interval": between(f), "n": f"{f['n']} {f['of']}"}
            for f in entry["finding"]["figures"]
        ]
        if rows:
            plain_table(rows, key=f"claims.ours.{key}")
        _published(claim, key)


def elsewhere(claim: Claim) -> str:
    """Return what was found on smollm2-tofu, why it is not tried there, or the command that tries it."""
    if claim.elsewhere:
        return f"Not tried on smollm2-tofu. {claim.elsewhere}"
    entry = record.entries(record.of_world(TOFU.model)).get(claim.key)
    if entry is None:
        return f"On smollm2-tofu: not measured yet (unlearn claims {claim.key} --world smollm2-tofu)."
    return f"On smollm2-tofu: {entry['finding']['verdict']}. {entry['finding']['sentence']}"


def _rule(claim: Claim) -> None:
    st.markdown(
        f"**The rule.** :green[Confirmed] if: {shell.plain(claim.confirms)} :red[Refuted] if: "
        f"{shell.plain(claim.refutes)} :orange[Partly] if one part holds and another does not, or the value lies "
        "wholly between both limits. Undecided where an interval lies across a limit, with fewer than three seeds, or "
        "where all seeds give one number."
    )


def _published(claim: Claim, key: str) -> None:
    """The paper's own numbers, which are of other models and data."""
    if not claim.published:
        return
    where = next((row.where for row in claim.published if row.where), "")
    st.markdown(f"**Paper**{': ' + shell.plain(where) if where else ''}")
    names = dict.fromkeys(name for row in claim.published for name in row.values)
    rows = [
        {"paper": row.name} | {name: str(row.values.get(name, "")) for name in names}
        for row in claim.published
    ]
    plain_table(rows, key=f"claims.paper.{key}")
