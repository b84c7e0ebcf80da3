"""Says whether methods that are to resist relearning do so, from assets/results/robust.json (bench/robust).

    residue = (A - C) / (B - C)     A: the unlearned model after k steps of practice on a part of the forget facts,
                                    C: the retrained model after the same practice, B: the original without any

A, B, C are mean probabilities of the other forget answers, exp(-S/n) each. 0 %: like the retrained model, 100 %: like
the original; below 0 the answers are less likely than to a model that never saw them. An attack counts at its worst
step, so each seed's largest residue is compared: where two methods keep the same utility, seed by seed, with Student's
95 % interval over the seeds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn.results.benchmark import Spread, spread
from unlearn.results.compare import whole
from unlearn.store.disk import read_json
from unlearn.store.home import ASSETS
from unlearn.store.shapes import JsonView

RECORD = ASSETS / "results" / "robust.json"
# The groups of methods, and the rows of the retrained model.
ROBUST, PLAIN, REFUSING, CONTROL = "robust", "plain", "refusing", "control"
# Two methods keep the same utility where their shares of what was there before differ by no more.
EQUAL = 0.05
MEASURE = "probability"
# Whose answers are compared: the first with each of the others.
ALTERNATES, OTHERS = "altpo", ("npo", "idkdpo")
Rows = Sequence[JsonView]


@dataclass(frozen=True)
class Against:
    """A robust method beside the plain ones that keep as much. plain: their titles, empty where there is none.

    left and beside: the largest residue, of the method and of the mean of the plain ones. less: by how much it leaves
    less, seed by seed. best: the plain one that leaves least and how much less than it the method leaves, of several.
    """

    title: str
    kept: Spread
    left: Spread
    plain: tuple[str, ...] = ()
    beside: Spread | None = None
    less: Spread | None = None
    best: tuple[str, Spread] | None = None

    def beats(self) -> bool:
        """Return whether it surely leaves less than the plain ones do on average."""
        return _surely(self.less)

    def beats_best(self) -> bool:
        """Return whether it surely leaves less than the best of the plain ones."""
        return _surely(self.best[1] if self.best else self.less)


def recorded(record: Path = RECORD) -> list[JsonView]:
    """Return the recorded rows, none where nothing was measured."""
    found = read_json(record).get("rows")
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def worlds(rows: Rows) -> list[str]:
    """Return the models on which something was attacked, in the order of the record."""
    return list(dict.fromkeys(row["world"] for row in rows if "curve" in row))


def runs(rows: Rows, world: str, way: str) -> dict[int, JsonView]:
    """Return {seed: row} of one method's runs that came to their end."""
    return {
        row["seed"]: row
        for row in rows
        if (row["kind"], row["world"], row["way"]) == ("run", world, way) and "curve" in row
    }


def ways(rows: Rows, world: str, group: str) -> dict[str, str]:
    """Return {method: title} of a group's methods that were attacked."""
    return {
        row["way"]: row["title"]
        for row in rows
        if row["world"] == world and row.get("group") == group and "curve" in row
    }


def residues(rows: Rows, world: str, way: str, measure: str = MEASURE) -> dict[int, dict[int, float]]:
    """Return {seed: {steps of practice: residue}} of one method, where the control was practised too."""
    controls, found = runs(rows, world, CONTROL), {}
    for seed, row in runs(rows, world, way).items():
        if seed in controls:
            before = controls[seed]["before"][measure]
            floor = {point["step"]: point[measure] for point in controls[seed]["curve"]}
            found[seed] = {
                point["step"]: (point[measure] - floor[point["step"]]) / (before - floor[point["step"]])
                for point in row["curve"]
                if point["step"] in floor and before > floor[point["step"]]
            }
    return found


def curve(rows: Rows, world: str, way: str, measure: str = MEASURE) -> dict[int, Spread]:
    """Return {steps of practice: the residue over the seeds}."""
    found = list(residues(rows, world, way, measure).values())
    steps = sorted({step for one in found for step in one})
    return {step: spread([one[step] for one in found if step in one]) for step in steps}


def worst(rows: Rows, world: str, way: str) -> dict[int, float]:
    """Return {seed: the largest residue on the way}: what the attack finds at its worst step, or before the first."""
    return {seed: max(one.values()) for seed, one in residues(rows, world, way).items() if one}


def most_steps(rows: Rows, world: str) -> int:
    """Return the most steps that were practised."""
    return max(
        point["step"] for row in rows if row["world"] == world and "curve" in row for point in row["curve"]
    )


def kept(rows: Rows, world: str, way: str) -> Spread:
    """Return the share of the utility that a method kept, over its seeds."""
    return spread([row["kept"] for row in runs(rows, world, way).values()])


def equals(rows: Rows, world: str, way: str) -> dict[str, str]:
    """Return {method: title} of the plain methods that keep as much as this one."""
    mine = kept(rows, world, way).mean
    plain = ways(rows, world, PLAIN)
    return {name: title for name, title in plain.items() if abs(kept(rows, world, name).mean - mine) <= EQUAL}


def against(rows: Rows, world: str, way: str) -> Against:
    """Return a robust method beside the plain ones of equal utility, each at its worst step."""
    mine, same = worst(rows, world, way), equals(rows, world, way)
    theirs = [worst(rows, world, name) for name in same]
    both = [seed for seed in mine if theirs and all(seed in one for one in theirs)]
    title, left = ways(rows, world, ROBUST)[way], spread(list(mine.values()))
    if not both:
        return Against(title, kept(rows, world, way), left)
    beside = {seed: math.fsum(one[seed] for one in theirs) / len(theirs) for seed in both}
    less = spread([beside[seed] - mine[seed] for seed in both])
    best = min(same, key=lambda name: math.fsum(worst(rows, world, name)[seed] for seed in both))
    least = worst(rows, world, best)
    lead = (same[best], spread([least[seed] - mine[seed] for seed in both])) if len(same) > 1 else None
    plain = tuple(same.values())
    return Against(title, kept(rows, world, way), left, plain, spread(list(beside.values())), less, lead)


def _surely(less: Spread | None) -> bool:
    return less is not None and less.low is not None and less.low > 0


def sentence(rows: Rows, world: str) -> str:
    """Say which of the robust methods resist relearning better than plain ones of equal utility, and by how much."""
    found = [against(rows, world, way) for way in ways(rows, world, ROBUST)]
    if not found:
        return ""
    told = "; ".join(map(_told, found))
    seeds = len(runs(rows, world, CONTROL))
    asked = max(row.get("asked", 0) for row in rows if row["world"] == world)
    return (
        f"{_lead(found)} On {world}, at the worst of up to {most_steps(rows, world)} steps of practice on a fifth of "
        f"the forget facts: {told}. "
        f"{seeds} seed{'s' * (seeds != 1)}, about {asked} answers each; equal utility: within {100 * EQUAL:.0f} points."
    )


def _lead(found: Sequence[Against]) -> str:
    """The answer before its figures: who resists better."""
    better = [one for one in found if one.beats()]
    names = listed([one.title for one in found])
    if not better:
        return f"That {names.replace(' and ', ' or ')} resists relearning better than plain methods was not seen."
    less = listed([one.title for one in better])
    said = f"Of {names}, relearning brings back less after {less} than after plain methods"
    if all(one.best is None for one in better):
        return f"{said}."
    first = [one.title for one in better if one.beats_best()]
    then = "was not seen" if not first else f"only after {listed(first)}"
    return f"{said} on average, and less than after the best of these {then}."


def _told(one: Against) -> str:
    if one.less is None or one.beside is None:
        return (
            f"{one.title} leaves {percent(one.left.mean)}, and no plain method keeps as much utility as it does "
            f"({percent(one.kept.mean)})"
        )
    names = listed(one.plain)
    if one.less.low is None or one.less.high is None:
        return f"{one.title} leaves {percent(one.left.mean)}, {names} {percent(one.beside.mean)} (one seed)"
    if one.less.low <= 0 <= one.less.high:
        return (
            f"between {one.title} ({percent(one.left.mean)} left) and {names} ({percent(one.beside.mean)}) no "
            f"difference was seen ({whole(100 * _turned(one.less).mean, sign=True)} points, {_span(_turned(one.less))})"
        )
    word, less = ("less", one.less) if one.less.mean > 0 else ("more", _turned(one.less))
    told = f"{one.title} leaves {percent(one.left.mean)}, {100 * less.mean:.0f} points {word}"
    return f"{told} than {names} ({_span(less)}){_beside_best(one)}"


def _beside_best(one: Against) -> str:
    if not one.beats() or one.best is None:
        return ""
    title, less = one.best
    more = _turned(less)
    return (
        f", and beside {title}, the best of them, {whole(100 * more.mean, sign=True)} points ({_span(more)})"
    )


def _turned(one: Spread) -> Spread:
    if one.low is None or one.high is None:
        return Spread(-one.mean)
    return Spread(-one.mean, -one.high, -one.low)


def _span(one: Spread) -> str:
    if one.low is None or one.high is None:
        return "one seed"
    return f"95 % interval {whole(100 * one.low)} to {whole(100 * one.high)}"


def percent(value: float) -> str:
    """Write a share as a person does."""
    return f"{whole(100 * value)} %"


def listed(names: Sequence[str]) -> str:
    """Write names as a sentence does."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


# -- what is said afterwards ---------------------------------------------------------------------------------------


def said(rows: Rows, world: str) -> dict[str, dict[str, Spread]]:
    """Return {whose answers: {"form", "refusals", "empty", "perplexity"}}, the original and the retrained model first.

    It holds what bench/robust measured: shares of the reported forget questions, and the perplexity of the answers
    under the original, its mean over seeds taken of the logarithms.
    """
    controls = runs(rows, world, CONTROL)
    found = {
        "the original": [row["said"] for row in controls.values() if row.get("said")],
        "the retrained model": [row["says"] for row in controls.values() if row.get("says")],
    }
    for group in (ROBUST, PLAIN, REFUSING):
        for way, title in ways(rows, world, group).items():
            found[title] = [row["says"] for row in runs(rows, world, way).values() if row.get("says")]
    return {title: _said(mine) for title, mine in found.items() if mine}


def _said(mine: Rows) -> dict[str, Spread]:
    found = {name: _share([one[name] for one in mine]) for name in ("form", "refusals", "empty")}
    logs = spread([math.log(one["perplexity"]) for one in mine])
    if logs.low is None or logs.high is None:
        return found | {"perplexity": Spread(math.exp(logs.mean))}
    return found | {"perplexity": Spread(math.exp(logs.mean), math.exp(logs.low), math.exp(logs.high))}


def _share(values: Sequence[float]) -> Spread:
    """The mean of shares, with an interval that ends where shares end."""
    one = spread(values)
    if one.low is None or one.high is None:
        return one
    return Spread(one.mean, max(0.0, one.low), min(1.0, one.high))


def paired(rows: Rows, world: str, other: str, of: Callable[[JsonView], float]) -> Spread | None:
    """Return AltPO's value minus another method's, seed by seed, or None where no seed has both."""
    mine, theirs = (
        {seed: row["says"] for seed, row in runs(rows, world, way).items() if row.get("says")}
        for way in (ALTERNATES, other)
    )
    apart = [of(mine[seed]) - of(theirs[seed]) for seed in mine if seed in theirs]
    return spread(apart) if apart else None


def said_sentence(rows: Rows, world: str) -> str:
    """Say how the answers after AltPO compare with those after NPO and IdkDPO, or "" where they were not measured."""
    found = said(rows, world)
    titles: dict[str, Any] = {}
    for group in (ROBUST, PLAIN, REFUSING):
        titles |= ways(rows, world, group)
    mine = found.get(titles.get(ALTERNATES, ""))
    if mine is None:
        return ""
    parts = []
    for other in OTHERS:
        form = paired(rows, world, other, lambda one: float(one["form"]))
        read = paired(rows, world, other, lambda one: math.log(float(one["perplexity"])))
        if form is None or read is None:
            continue
        parts.append(f"{_apart(form, titles[other])}, {_times(read)}")
    if not parts:
        return ""
    return (
        f"On {world} {percent(mine['form'].mean)} of the answers after {titles[ALTERNATES]} are of the right form: "
        f"{'; '.join(parts)}."
    )


def _apart(one: Spread, title: str) -> str:
    if one.low is not None and one.high is not None and one.low <= 0 <= one.high:
        return (
            f"no difference from {title} was seen ({whole(100 * one.mean, sign=True)} points, {_span(one)})"
        )
    word, more = ("more", one) if one.mean >= 0 else ("fewer", _turned(one))
    return f"{100 * more.mean:.0f} points {word} than after {title} ({_span(more)})"


def _times(one: Spread) -> str:
    told = f"read by the original at {math.exp(one.mean):.2g} times the perplexity"
    if one.low is None or one.high is None:
        return told
    return f"{told} ({math.exp(one.low):.2g} to {math.exp(one.high):.2g})"
