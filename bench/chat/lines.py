"""Writes the measured runs as Markdown: one line a method on the reported half of the countries."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.chat.rows import KEPT, LEFT, collapsed, fitting, keeps, leaks, present, reached
from bench.chat.search import KNOB, best, following, tried
from bench.record import origins
from unlearn.methods import METHODS
from unlearn.store.config import FORMATS


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with one line a method on the reported half. Methods that were not tried say so."""
    rows = present(result["rows"])
    heads = [f"forget, {name}" for name in FORMATS] + [f"others, {name}" for name in FORMATS]
    lines = [
        "| method | "
        + " | ".join([*heads, "general perplexity", "CPU seconds", "rate, epochs × batch"])
        + " |",
        "|---|" + "--:|" * (len(heads) + 3),
    ]
    if rows:
        before = rows[0]["before"]
        cells = [_percent(before[role][name]["right"]) for role in ("forget", "retain") for name in FORMATS]
        lines.append(
            "| " + " | ".join(["before", *cells, f"{float(before['general_ppl']):.0f}", "", ""]) + " |"
        )
    for name in fitting():
        mine = [row for row in rows if row["method"] == name]
        title = METHODS[name].title
        lines.append(
            line(title, mine) if mine else f"| {title} | " + " | ".join(["not tried yet"] + [""] * 8) + " |"
        )
    lines += ["", *_notes(rows)]
    found = [*lines, "", origins(row["origin"] for row in rows)]
    return "\n".join([*found, "", *_walks(result["rows"])])


def line(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the line of one method, the mean of its runs: what is left and kept in each format, and how it was run."""

    def mean(values: Iterator[float]) -> str:
        return _percent(statistics.fmean(values))

    cells = [mean(leaks(row)[i] for row in rows) for i in range(len(FORMATS))]
    cells += [mean(keeps(row)[i] for row in rows) for i in range(len(FORMATS))]
    ppl = statistics.fmean(float(row["after"]["general_ppl"]) for row in rows)
    mark = " †" if any(map(collapsed, rows)) else ""
    seconds = statistics.fmean(row["cpu_seconds"] for row in rows)
    shown = f"{ppl:.0f}" if ppl < 10_000 else f"{ppl:.0e}"
    how = " or ".join(dict.fromkeys(f"{row['lr']:g}, {row['epochs']} × {row['batch_size']}" for row in rows))
    return "| " + " | ".join([title + mark, *cells, shown, f"{seconds:.0f}", how]) + " |"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    counts = {role: rows[0]["before"][role]["chat"]["n"] for role in ("forget", "retain")}
    said = [
        f"Per cent. forget: of {counts['forget']} European capitals, right answers; others: of {counts['retain']} "
        "other capitals that no method trained on, right answers after ÷ before."
    ]
    if any(map(collapsed, rows)):
        said.append("† general perplexity more than doubled, or training diverged.")
    return [" ".join(said), "", _aim(rows)]


def _aim(rows: Sequence[Mapping[str, Any]]) -> str:
    """The sentence that says which methods reach the aim, on the mean of their seeds."""
    found = []
    for name in fitting():
        mine = [row for row in rows if row["method"] == name]
        if mine and reached(mine):
            alone = sum(reached([row]) for row in mine)
            seeds = f"{alone} of {len(mine)} seeds alone" if len(mine) > 1 else "one seed"
            found.append(f"{METHODS[name].title} ({seeds})")
    aim = f"at most {LEFT:.0%} of the forget answers and at least {KEPT:.0%} of the others in every format"
    return f"The aim was {aim.replace('%', ' %')}: reached by {', '.join(found) or 'no method'}."


def _walks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines on how settings were found on the other half, and which methods' were not."""
    walked = [name for name in fitting() if tried(name, rows)]
    if not walked:
        return ["No method's settings were tuned in these formats yet."]
    heads = (
        "trials",
        "left at most, settings for one format",
        "kept at least",
        "left at most, best found",
        "kept at least",
    )
    found = [f"| tuned on the other half | {' | '.join(heads)} | best found |", "|---|" + "--:|" * 5 + "---|"]
    for name in walked:
        trials, taken = tried(name, rows), best(name, rows)
        assert taken is not None, "a method with trials has a best one"
        first = trials[0]
        cells = [str(len(trials))]
        cells += [_percent(share) for row in (first, taken) for share in (max(leaks(row)), min(keeps(row)))]
        how = "as for one format"
        if taken is not first:
            how = f"rate × {taken['lr'] / first['lr']:g}, {KNOB} × {taken['knobs'][KNOB] / first['knobs'][KNOB]:g}"
        if following(name, rows):
            how += "; cut short"
        found.append(f"| {METHODS[name].title} | {' | '.join([*cells, how])} |")
    counts = {
        role: int(tried(walked[0], rows)[0]["before"][role]["chat"]["n"]) for role in ("forget", "retain")
    }
    said = (
        f"Per cent in the worst of the three formats, one seed, {counts['forget']} capitals to forget and "
        f"{counts['retain']} others that no method trained on."
    )
    if others := [METHODS[name].title for name in fitting() if name not in walked]:
        said += f" Not tuned in these formats, and run with what was tuned in one: {', '.join(others)}."
    return [*found, "", said]
