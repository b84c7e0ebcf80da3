"""Says how much of the forget rows is left in each prompt format: a sentence, and the rows of a table."""

from collections.abc import Sequence

from unlearn.results.compare import LETTERS
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

ASKED = {"chat": "in chat", "plain": "as a plain question", "completion": "as a sentence to complete"}


def headline(run: Run) -> str:
    """Return "In chat 0 of 25 forget answers are left, as a plain question 12 of 25." or nothing without numbers."""
    found = run.by_format().get("after", {}).get("forget", {})
    first, *more = [(words, found[name]) for name, words in ASKED.items() if name in found] or [("", {})]
    if not first[0]:
        return ""
    said = f"{first[0]} {share(first[1])} forget answers are left"
    text = ", ".join([said, *(f"{words} {share(value)}" for words, value in more)])
    return f"{text[:1].upper()}{text[1:]}."


def rows(runs: Sequence[Run]) -> list[JsonObject]:
    """Return a row for each role and format: {"role", "format", "before", "a", "b", …, "retrained"} in words."""
    told = [run.by_format() for run in runs]
    places = dict.fromkeys(
        (role, name)
        for one in told
        for found in one.values()
        for role, formats in found.items()
        for name in formats
    )
    table = []
    for role, name in places:
        row = {"role": role, "format": ASKED.get(name, name), "before": _cell(told[0], "before", role, name)}
        row |= {letter: _cell(one, "after", role, name) for letter, one in zip(LETTERS, told, strict=False)}
        kept = [cell for one in told if (cell := _cell(one, "retrained", role, name))]
        table.append(row | {"retrained": kept[0] if kept else ""})
    return table


def share(value: JsonView) -> str:
    """Return "12 of 25"."""
    return f"{round(float(value['right']) * value['n'])} of {value['n']}"


def _cell(told: JsonView, when: str, role: str, name: str) -> str:
    value = told.get(when, {}).get(role, {}).get(name)
    if not value:
        return ""
    low, high = (round(100 * float(end)) for end in value["interval"])
    return f"{share(value)} ({low} to {high} %)"
