"""Prepares the words of a report: answers side by side, single tokens, and the probes.

Plain values in rounded numbers; everything is escaped where it is written (report.html).
"""

import math
from collections.abc import Sequence

from unlearn.report.numbers import name
from unlearn.results import compare
from unlearn.results.compare import fall, nats, number, rounded
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

# The numbers of answers that are shown of forget and of each other role.
FORGET_ROWS, OTHER_ROWS = 40, 10
# The number of answers whose tokens are shown, and the number of tokens of each.
TOKEN_ROWS, TOKENS = 3, 32
# The number of columns of "watch it forget".
STEPS = 7


def answers(runs: Sequence[Run]) -> list[JsonObject]:
    """Return each role with its rows, most changed first: {"role", "n", "counts", "rows"}."""
    told = [run for run in runs if (run.path / "samples.jsonl").is_file()]
    if not told:
        return []
    rows = compare.pair_samples(told[:1])
    sides = {told[0]: {place(row): (row["before"], row["a"], row["verdict_a"]) for row in rows}}
    for run in told[1:]:
        pairs = compare.pair_samples([told[0], run])
        sides[run] = {place(row): (row["before_b"], row["b"], row["verdict_b"]) for row in pairs}
    roles: dict[str, list[JsonObject]] = {}
    for row in rows:
        cells = [side(*sides[run][place(row)]) if run in sides else None for run in runs]
        shown = row | {"cells": cells, "fell": max((c["fell"] for c in cells if c), default=-math.inf)}
        shown["before"], shown["retrained"] = cell(row["before"]), cell(row["retrained"], row["before"])
        roles.setdefault(row["role"], []).append(shown)
    return [_role(role, runs, found) for role, found in roles.items()]


def place(row: JsonView) -> tuple[str, int]:
    """Return the (role, index) by which a row is found in every run."""
    return row["role"], row["index"]


def side(before: JsonView, after: JsonView | None, verdict: str) -> JsonObject | None:
    """Return one run's answer with its verdict and how far the right answer fell."""
    if after is None:
        return None
    fell = fall(before, after)
    known = math.isfinite(fell)
    return (cell(after, before) or {}) | {
        "verdict": verdict,
        "fell": fell if known else -math.inf,
        "delta": nats(-fell, sign=True) if known else "",
    }


def cell(sample: JsonView | None, old: JsonView | None = None) -> JsonObject | None:
    """Return a sample's log-prob and its words, marked where they differ from `old`."""
    if sample is None:
        return None
    said = sample["text"].strip()
    words = compare.word_diff(old["text"].strip(), said) if old else [(said, "same")]
    return {"words": words, "lp": nats(-number(sample["nll"]))}


def _role(role: str, runs: Sequence[Run], rows: list[JsonObject]) -> JsonObject:
    counts = []
    for place, run in enumerate(runs):
        verdicts = [row["cells"][place]["verdict"] for row in rows if row["cells"][place]]
        said = [f"{verdicts.count(v)} {v}" for v in compare.VERDICTS if v in verdicts]
        counts += [f"{name(runs, run)}: {', '.join(said)}"] if said else []
    rows.sort(key=lambda row: -row["fell"])
    most = FORGET_ROWS if role == "forget" else OTHER_ROWS
    return {"role": role, "n": len(rows), "counts": counts, "rows": rows[:most]}


def tokens(run: Run) -> list[JsonObject]:
    """Return the answer tokens of the forget rows that changed most: {"question", "answer", "rows", "left"}."""
    found = []
    pairs = [r for r in compare.pair_samples([run]) if r["role"] == "forget" and r["before"] and r["a"]]
    pairs.sort(key=lambda row: -fall(row["before"], row["a"]))
    for row in pairs[:TOKEN_ROWS]:
        before, after = row["before"]["tokens"], row["a"]["tokens"]
        lines = []
        for old, new, shift in zip(before, after, compare.token_shift(before, after), strict=False):
            lines.append(
                {
                    "token": old["token"],
                    "logit": (
                        rounded(old["logit"]),
                        rounded(new["logit"]),
                        rounded(shift["logit"], sign=True),
                    ),
                    "lp": (nats(old["lp"]), nats(new["lp"]), nats(shift["lp"], sign=True)),
                    "rank": (shift["before"], shift["after"]),
                    "top": [(token, nats(lp)) for token, lp in new["top"][:3]],
                }
            )
        left = max(0, len(lines) - TOKENS)
        found.append(
            {"question": row["question"], "answer": row["answer"], "rows": lines[:TOKENS], "left": left}
        )
    return found


def probes(run: Run) -> JsonObject:
    """Return "Watch it forget" at a few steps: {"steps", "rows": [{"role", "question", "answer", "cells"}]}."""
    records = run.probes()
    if not records:
        return {}
    # Keep the probes at which the rows were continued as well as scored.
    records = [r for r in records if all(item["said"] == r["step"] for item in r["items"])] or records
    last = len(records) - 1
    chosen = [records[i] for i in sorted({round(last * k / (STEPS - 1)) for k in range(STEPS)})]
    rows = []
    for i, item in enumerate(records[0]["items"]):
        cells = [(nats(-number(r["items"][i]["nll"])), r["items"][i].get("text", "")) for r in chosen]
        asked = {"role": item["role"], "question": compare.question_of(item), "answer": item["answer"]}
        rows.append(asked | {"cells": cells})
    return {"steps": [record["step"] for record in chosen], "rows": rows}
