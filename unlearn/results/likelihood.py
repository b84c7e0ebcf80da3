"""Reads how likely the right answers are while a model unlearns, from the probes that a run recorded.

The likelihood of an answer is the mean probability of one of its tokens, exp of the mean log-prob, without the token
that ends it: whether a model stops there says nothing of what it knows. That of a role is the mean over its rows.
"""

import math
from collections.abc import Sequence

from unlearn.results.answer_tokens import without_end
from unlearn.results.compare import number
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

# What stands below the curves of the answers to forget.
REACHED = (
    "A curve that reaches the retrained model has a dotted line there: a stop rule with that target would have ended "
    "the run at about that step."
)
# {role: its points (step, likelihood from 0 to 1)}.
Curves = dict[str, list[tuple[int, float]]]


def of_answer(record: JsonView) -> float:
    """Return the likelihood of the right answer, from 0 to 1. It is nan where a log-prob is not a number."""
    lps = [number(token["lp"]) for token in without_end(record["tokens"], record["answer"])]
    if not lps or any(math.isnan(lp) for lp in lps):
        return math.nan
    return math.exp(min(0.0, sum(lps) / len(lps)))


def of_rows(records: Sequence[JsonView]) -> float:
    """Return the mean likelihood over these rows, nan where one of them has none."""
    values = [of_answer(record) for record in records]
    return sum(values) / len(values) if values else math.nan


def over_steps(run: Run) -> Curves:
    """Return the likelihood of each role's probes at each step at which they were read."""
    found: Curves = {}
    for record in run.probes():
        by_role: dict[str, list[JsonObject]] = {}
        for item in record["items"]:
            by_role.setdefault(item["role"], []).append(item)
        for role, items in by_role.items():
            found.setdefault(role, []).append((record["step"], of_rows(items)))
    return found


def of_retrained(run: Run, others: Sequence[Run] = ()) -> dict[str, float]:
    """Return the likelihood that the retrained model gives the probes of each role.

    others: further runs whose retrained model counts where they were asked for the same model, rows and format. A
    run scores its own at its end, so that one which still trains has it from them.
    """
    probes = run.probes()
    if not probes:
        return {}
    for one in (run, *others):
        if one != run and not _is_like(run, one):
            continue
        known = {(s["role"], s["prompt"], s["answer"]): s for s in one.samples() if s["when"] == "retrained"}
        found = {
            role: of_rows(rows)
            for role in dict.fromkeys(item["role"] for item in probes[0]["items"])
            if all(
                rows := [known.get((i["role"], i["prompt"], i["answer"])) or {} for i in _of(probes[0], role)]
            )
        }
        if found:
            return found
    return {}


def _of(record: JsonView, role: str) -> list[JsonObject]:
    return [item for item in record["items"] if item["role"] == role]


def _is_like(run: Run, other: Run) -> bool:
    """Whether the other run's retrained model is this one's too."""
    asked = ("model", "retrained", "data", "prompt", "system")
    return all(getattr(run.config, name) == getattr(other.config, name) for name in asked)
