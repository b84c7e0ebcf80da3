"""Reads what each method did at its default settings, from assets/results/defaults.json (bench/defaults).

A row counts only while the method still has the settings that it was measured with: a figure of others would mislead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.models.load import CATALOGUE
from unlearn.store.disk import read_json
from unlearn.store.home import ASSETS
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.methods.base import Method


RESULTS = ASSETS / "results" / "defaults.json"
# The same settings on rows that none of them was chosen on (bench/others).
OTHERS = RESULTS.with_name("others.json")
# A role is judged by the first of these that it was scored by. Answers have "exact", plain texts "memorised".
SCORES = ("exact", "memorised")


@dataclass(frozen=True)
class Change:
    """The share of right answers of one role before the run, and its mean over seeds after it.

    Of a plain text it is the share that is continued word for word.
    """

    before: float
    after: float
    sd: float
    retrained: float | None
    n: int


@dataclass(frozen=True)
class Measured:
    """One method on one model at its default settings.

    perplexity is that of general texts, after ÷ before; collapsed is how many seeds ruined it.
    """

    model: str
    tuning: str
    seeds: int
    roles: Mapping[str, Change]
    perplexity: float
    collapsed: int
    commit: str


def measured(method: "Method | type[Method]", path: Path = RESULTS) -> list[Measured]:
    """Return one record for each model on which the method was measured with the settings that it has now."""
    rows = _rows(path, path.stat().st_mtime_ns) if path.is_file() else []
    return [read(row) for row in rows if row.get("method") == method.name and _current(row, method)]


@lru_cache(maxsize=4)
def _rows(path: Path, _: int) -> list[JsonObject]:
    """The file's rows, read once as long as it does not change: a form asks at each redraw."""
    return read_json(path).get("rows", [])


def _current(row: JsonView, method: "Method | type[Method]") -> bool:
    entry = CATALOGUE.get(row["model"])
    if entry is None:
        return False
    now = method.settings(entry.size, row["tuning"], row["model"])
    return {key: row[key] for key in now} == now


def read(row: JsonView) -> Measured:
    """Return a row of the record as what was measured."""
    roles = {}
    for role, found in row["scores"].items():
        score = next((found[name] for name in SCORES if name in found), None)
        if score and score["after"]:
            after = score["after"]
            roles[role] = Change(score["before"], after["mean"], after["sd"], score["retrained"], found["n"])
    general = row["scores"]["general"]["ppl"]
    ratio = general["after"]["mean"] / general["before"] if general["after"] else float("nan")
    seeds = len(row["cpu_seconds"]["values"])
    return Measured(
        row["model"], row["tuning"], seeds, roles, ratio, row["collapsed"], row["origin"]["commit"]
    )


def describe(found: Measured) -> str:
    """Return what that measurement showed, in a sentence."""
    entry = CATALOGUE[found.model]
    forget, retain = found.roles["forget"], found.roles["retain"]
    ruined = {0: "", found.seeds: " General text is ruined."}.get(
        found.collapsed, f" General text is ruined with {found.collapsed} of {found.seeds} seeds."
    )
    seeds = "one seed" if found.seeds == 1 else f"{found.seeds} seeds"
    return (
        (
            f"With them {entry.title} on {entry.data} still gives {forget.after:.0%} of the forget answers "
            f"({forget.before:.0%} before) and {retain.after:.0%} of those to keep ({retain.before:.0%} before); "
            f"{seeds}, n {forget.n} and {retain.n}.{ruined} {aim(found)}"
        )
        .strip()
        .replace("%", " %")
    )


def on_others(method: "Method | type[Method]", model: str, tuning: str, path: Path = OTHERS) -> str:
    """Return what the settings do on rows that none was chosen on, in a sentence, or "" where it is not measured."""
    found = [one for one in measured(method, path) if (one.model, one.tuning) == (model, tuning)]
    if not found:
        return ""
    forget, retain = found[0].roles["forget"], found[0].roles["retain"]
    seeds = "one seed" if found[0].seeds == 1 else f"{found[0].seeds} seeds"
    said = (
        f"On rows about others, which no setting was chosen on, it gives {forget.after:.0%} of the forget answers "
        f"({forget.before:.0%} before) and {retain.after:.0%} of those to keep ({retain.before:.0%}); {seeds}."
    )
    return said.replace("%", " %")


# What the defaults of every method are to reach on the bundled model: at most so much of the forget answers is left, so
# much of those to keep is still right, and general perplexity is at most so many times that of before.
AIMED, LEFT, KEPT, RISE = "tiny-authors", 0.10, 0.95, 1.10
AIM = f"at most {LEFT:.0%} left, {KEPT:.0%} kept, general perplexity at most × {RISE:.2f}"


def missed(found: Measured) -> list[str]:
    """Return in words by what figures these defaults miss the aim. It is empty where they reach it."""
    forget, retain = found.roles["forget"], found.roles["retain"]
    kept = retain.after / retain.before
    words = [f"{forget.after:.0%} left"] * (forget.after > LEFT) + [f"{kept:.0%} kept"] * (kept < KEPT)
    return words + [f"general perplexity × {found.perplexity:.2f}"] * (not found.perplexity <= RISE)


def aim(found: Measured) -> str:
    """Return whether the aim is reached, and by what it is missed, in a sentence. Other models have none."""
    if found.model != AIMED:
        return ""
    words = missed(found)
    return f"The aim ({AIM}) is missed: {', '.join(words)}." if words else f"The aim ({AIM}) is reached."


# A method is one to start with where it was measured on so many models, ruined none, and kept on each so much more of
# what should stay than it left of what should go.
MODELS, LEAD = 3, 0.5


def is_good_start(method: "Method | type[Method]", path: Path = RESULTS) -> bool:
    """Return whether the method is one to start with, by what was measured at its defaults."""
    found = measured(method, path)
    leads = [one.roles["retain"].after - one.roles["forget"].after for one in found]
    return len(found) >= MODELS and not any(one.collapsed for one in found) and min(leads) >= LEAD


def ruins(method: "Method | type[Method]", model: str, path: Path = RESULTS) -> bool:
    """Return whether the method's defaults ruin this model: measured on it, else known of the method."""
    found = [one for one in measured(method, path) if one.model == model]
    return any(2 * one.collapsed >= one.seeds for one in found) if found else bool(method.collapses)
