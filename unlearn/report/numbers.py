"""Prepares the numbers of a report: headline, further metrics, attacks, cost and limits.

Plain values in rounded numbers. Files of a run may come from somebody else: what has another shape than ours is left
out with a sentence, and everything is escaped where it is written (report.html).
"""

import math
from collections.abc import Sequence

from unlearn.metrics import METRICS
from unlearn.results import compare, residue, verdict
from unlearn.results import cost as spending
from unlearn.results.compare import LETTERS, number, rounded
from unlearn.store import records
from unlearn.store.config import FORMATS, formats_of
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView, real


def headline(run: Run) -> str:
    """Return a sentence on what the run reached: exact answers, or else token accuracy, of rows to forget and
    to retain.
    """
    scores, said = run.scores(), []
    for role in ("forget", "retain"):
        values = {when: found.get(role, {}) for when, found in scores.items()}
        metric = "exact" if "exact" in values.get("before", {}) else "accuracy"
        known = {when: rounded(value[metric]) for when, value in values.items() if metric in value}
        if "before" in known and "after" in known:
            truth = f" (retrained {known['retrained']})" if "retrained" in known else ""
            title = compare.described(metric)[0]
            said.append(f"{title} on {role} rows {known['before']} → {known['after']}{truth}")
    return "; ".join(said) + "." if said else "It has no scores after unlearning."


def metrics(runs: Sequence[Run]) -> JsonObject:
    """Return what metrics.json holds beyond the score table: {"rows", "definitions", "left_out", "broken"}.

    It is empty where no run has the file.

    A row: title, help, role, n, ideal, before, after (one a run, with an interval where there is one), retrained.
    """
    found = [records.read_metrics(run.path / "metrics.json") for run in runs]
    rows: dict[tuple[str, str], JsonObject] = {}
    left_out = []
    broken = [
        _unread(runs, run, "metrics.json") for run in runs if records.unread(run.path).get("metrics.json")
    ]
    for column, record in enumerate(found):
        for entry_name, entry in record.get("metrics", {}).items():
            # The score table shows this metric already.
            if entry_name in compare.METRICS:
                continue
            if entry["reason"]:
                left_out.append(f"{entry['title']}: {entry['reason']}")
            for score in entry["scores"]:
                row = rows.setdefault(
                    (entry_name, score["role"]), _measure(entry_name, entry, score, len(runs))
                )
                _fill(row, column, score)
    if not (rows or left_out or broken):
        return {}
    # A run that was judged twice holds its metrics in the order in which they came.
    order = {metric: at for at, metric in enumerate(METRICS)}
    table = [rows[key] for key in sorted(rows, key=lambda key: order.get(key[0], len(order)))]
    meanings = list(dict.fromkeys((str(row["title"]), str(row["help"])) for row in table))
    return {
        "rows": table,
        "definitions": meanings,
        "left_out": list(dict.fromkeys(left_out)),
        "broken": broken,
    }


def attacks(run: Run) -> JsonObject:
    """Return what attacks.json holds, worst first: {"verdict", "rule", "sentences", "rows", "swept", "left_out"}.

    rows are single attacks, swept the settings of a sweep. It is empty without the file.
    """
    record = records.read_attacks(run.path / "attacks.json")
    bad = records.unread(run.path).get("attacks.json")
    said = [_unread([run], run, "attacks.json")] if bad else []
    if not record.get("attacks") and not record.get("sweep"):
        return {"verdict": "", "sentences": said, "rows": [], "swept": [], "left_out": []} if said else {}
    swept = [residue.sentence(record), residue.sweep_note(record)] if record.get("sweep") else []
    return {
        "verdict": record.get("verdict", "undecided"),
        "rule": verdict.RULE,
        "sentences": [*said, *filter(None, swept), *verdict.evidence_sentences(record)],
        "rows": [_attack(entry) for entry in verdict.worst_first(record)],
        "swept": [_setting(row) for row in residue.rows(record) if row["swept"]],
        "left_out": residue.left_out(record),
    }


def _unread(runs: Sequence[Run], run: Run, file: str) -> str:
    """Return a sentence on what of the file could not be read. The rest of the file is shown."""
    bad = records.unread(run.path)[file]
    return f"{name(runs, run)}: {file}: {records.left_out(bad)}"


def _attack(entry: JsonView) -> JsonObject:
    row = residue.row_of(entry)
    values = [(row["before"], None), (row["value"], row["interval"]), (row["control"], None)]
    values += [(row["residue"], row["around"])]
    words = {key: entry[key] for key in ("title", "help", "n", "seed", "says", "finding")}
    return words | {
        "values": ["–" if value is None else rounded(value) + _ends(ends) for value, ends in values]
    }


def _ends(interval: Sequence[float] | None) -> str:
    return f" [{rounded(interval[0])}, {rounded(interval[1])}]" if interval else ""


def _setting(row: JsonView) -> JsonObject:
    """A setting of a sweep as words: what is left, with its interval, and the shares of right answers."""

    def share(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f} %"

    def ends(around: Sequence[float] | None) -> str:
        return f" ({100 * around[0]:.0f} to {100 * around[1]:.0f})" if around else ""

    again = [one for one in row["again"] if one.get("residue") is not None]
    seeds = ", ".join([str(row["seed"]), *(f"{one['seed']}: {share(one['residue'])}" for one in again)])
    return {
        "title": row["title"],
        "left": share(row["residue"]) + ends(row["around"]),
        "after": share(row["value"]) + ends(row["interval"]),
        "before": share(row["before"]),
        "control": share(row["control"]),
        "n": row["n"],
        "seed": seeds,
        "says": row["says"],
    }


def _measure(entry_name: str, entry: JsonView, score: JsonView, runs: int) -> JsonObject:
    ideal = entry.get("ideal", "")
    return {
        "title": entry.get("title", entry_name),
        "help": entry.get("help", ""),
        "role": score["role"],
        "n": score.get("n", ""),
        "ideal": f"{ideal} is better"
        if isinstance(ideal, str) and ideal
        else rounded(ideal)
        if ideal != ""
        else "",
        "before": "–",
        "after": ["–"] * runs,
        "retrained": "–",
    }


def _fill(row: JsonObject, column: int, score: JsonView) -> None:
    value, when = rounded(score["value"]), score.get("when", "after")
    details = score.get("details") or {}
    value += _ends(details.get("interval"))
    # A p-value alone does not say how far two models are apart.
    value += f" (D {rounded(details['d'])})" if real(details.get("d")) else ""
    if when == "after":
        row["after"][column] = value
    elif row.get(when) == "–":
        row[when] = value


def cost(run: Run) -> list[tuple[str, str]]:
    """Return what the run took and what retraining would take: name, and value with its unit."""
    results = run.results()
    told = [("Time", "seconds", 1, "s"), ("FLOPs", "flops", 1e9, "GFLOP")]
    told += [("Peak memory", "peak_memory", 2**20, "MiB")]
    lines = [
        (title, f"{rounded(number(results[key]) / unit)} {word}".strip())
        for title, key, unit, word in told
        if results.get(key) is not None
    ]
    if results.get("tokens") is not None:
        # Whole, as the formula below has them.
        lines.insert(1, ("Tokens", f"{number(results['tokens']):,.0f}"))
    lines += [(f"Time: {phase}", f"{rounded(value)} s") for phase, value in results.get("phases", {}).items()]
    again = spending.of_run(run)
    if again.get("flops_ratio"):
        lines.append(
            (
                "Retraining ÷ this run, FLOPs",
                f"{rounded(again['flops_ratio'])} ({again.get('kind', '')})",
            )
        )
        lines.append(("How that is computed", str(again.get("formula", ""))))
    if again.get("seconds_ratio"):
        lines.append(("Retraining ÷ this run, seconds", rounded(again["seconds_ratio"])))
    judged = records.read_metrics(run.path / "metrics.json").get("cost", ())
    spent = [one.get("seconds") for one in judged]
    return lines + ([("Time: further metrics", f"{rounded(sum(map(number, spent)))} s")] if spent else [])


def limits(runs: Sequence[Run], scores: Sequence[JsonView]) -> list[str]:
    """Return sentences on what these numbers do not show, made from what is there and what is missing."""
    seeds = sorted({run.config.seed for run in runs})
    said = [
        f"Seed {', '.join(map(str, seeds))}: another seed gives other numbers, and nothing here says by how much.",
        "Answers are greedy: the one most likely continuation. A model that no longer says an answer may still "
        "rank it high; look at the tokens and at the attacks.",
    ]
    asked = {FORMATS[formats_of(run.config.prompt)[0]]: None for run in runs}
    said.append(
        f"Questions were put in the format “{'” and “'.join(asked)}”; put otherwise, the same model may answer "
        "otherwise."
    )
    counts = [row["n"] for row in scores if row["role"] == "forget" and row["n"]]
    if counts:
        spread = 196 * math.sqrt(0.25 / min(counts))
        said.append(
            f"A share of {min(counts)} forget rows is uncertain by up to ±{spread:.0f} percentage points "
            "(95 % interval, rows drawn at random)."
        )
    if not any(row["retrained"] is not None for row in scores):
        said.append(
            "No retrained model is known for this data, so nothing here shows how close the result is to a "
            "model that never saw the forget rows."
        )
    said += dict.fromkeys(filter(None, map(compare.truth_words, runs)))
    if not all((run.path / "attacks.json").is_file() for run in runs):
        said.append(
            "Not every run was attacked: in scores alone an answer that is suppressed looks like one that is erased."
        )
    said += [
        f"{name(runs, run)} goes on from run {run.config.start}: its Before is what that run left."
        for run in runs
        if run.config.start
    ]
    return [
        *said,
        "Unlearning of this kind is approximate. A good report is evidence, not a proof of deletion.",
    ]


def name(runs: Sequence[Run], run: Run) -> str:
    """Return "Run A", "Run B" and so on, or "The run" where there is only one."""
    return f"Run {LETTERS[list(runs).index(run)].upper()}" if len(runs) > 1 else "The run"
