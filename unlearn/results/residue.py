"""Puts every attack, and every setting that a sweep tried, on one scale: what is left, from 0 % to 100 %.

    residue = (A - C) / (B - C)     0 %: like the retrained model C, 100 %: like the original B, under the same attack

Its 95 % interval comes from those of A, B and C (Wilson for shares, the bootstrap for means) by recovering their
variances: each is moved to the end that lowers (raises) the residue, and the three distances are added as squares
(Zou & Donner 2008; Newcombe 1998 is the case of a difference). They count as independent, which is wide where the same
texts were asked. It says nothing about other seeds, and the worst of many settings was chosen by what it found.
"""

import math
from collections.abc import Mapping, Sequence

from unlearn.compute.intervals import Interval, interval
from unlearn.results import trust
from unlearn.results.compare import number
from unlearn.results.verdict import APART, begun, counts, every, mean_or_zero
from unlearn.store.shapes import JsonObject, JsonView, real

Values = Mapping[str, Sequence[float]]


def around(values: Values, floor: float = 0.0) -> Interval | None:
    """Return the 95 % interval of the residue, not clipped. It is None where original and control are too close.

    floor replaces a missing control, and counts as known.
    """
    sides = {side: [number(v) for v in found] for side, found in values.items() if found}
    after, before, control = (_with_interval(sides.get(s), floor) for s in ("after", "before", "control"))
    if before[0] - control[0] < APART:
        return None

    def left(a: float, b: float, c: float) -> float:
        # Ends of intervals may touch, where the original and the control do not.
        return (a - c) / max(b - c, 1e-9)

    point = left(after[0], before[0], control[0])
    over = after[0] > control[0]
    ends = []
    for at in (0, 1):
        a = left(after[1][at], before[0], control[0])
        # Above the control a higher original lowers the residue, and below it raises it.
        b = left(after[0], before[1][1 - at if over else at], control[0])
        c = left(after[0], before[0], control[1][1 - at])
        ends.append(math.hypot(a - point, b - point, c - point))
    return point - ends[0], point + ends[1]


def _with_interval(values: Sequence[float] | None, floor: float) -> tuple[float, Interval]:
    if not values:
        return floor, (floor, floor)
    return mean_or_zero(values), interval(values)


def rows(record: JsonView) -> list[JsonObject]:
    """Return a row for every attack and every swept setting that gave something, the worst first.

    Each is {"name", "family", "title", "setting", "value", "interval", "before", "control", "residue", "around",
    "chance", "n", "seed", "says", "finding", "again", "swept"}. value: the unlearned model's share of right answers and
    its 95 % interval. residue: from 0 to 1, None where it cannot be told, and around its 95 % interval within 0 and 1.
    chance: where a guess would lie on the scale of the residue, None where a guess gives nothing.
    """
    return [row_of(entry) for entry in every(record)]


def of_entry(entry: JsonView) -> Interval | None:
    """Return the 95 % interval of an entry's residue within 0 and 1, or None where it cannot be told."""
    if entry["residue"] is None or not entry["values"].get("after"):
        return None
    ends = around(entry["values"], _chance(entry) or 0.0)
    return (max(0.0, min(1.0, ends[0])), max(0.0, min(1.0, ends[1]))) if ends else None


def _chance(entry: JsonView) -> float | None:
    """What a guess gives, where the attack says so."""
    found = entry["details"].get("chance")
    return float(found) if real(found) else None


def row_of(entry: JsonView) -> JsonObject:
    """Return the row of one attack or setting, as rows() has it."""
    values = {side: [number(v) for v in found] for side, found in entry["values"].items()}
    chance = _chance(entry)
    control = entry["retrained"] if entry["retrained"] is not None else entry["never_seen"]
    judged = entry["residue"] is not None
    ends = of_entry(entry)
    apart = entry["before"] - (control or 0.0)
    return {
        **{key: entry[key] for key in ("name", "title", "before", "residue", "n", "seed", "says", "finding")},
        "family": entry.get("family", entry["title"]),
        "setting": entry.get("setting", ""),
        "value": entry["after"],
        # Where the rows were taken out, the values of single texts went with them.
        "interval": list(interval(values["after"])) if values.get("after") else None,
        "control": control,
        "around": list(ends) if ends else None,
        "chance": (chance - control) / apart if chance and judged and apart and control is not None else None,
        "again": list(entry.get("again", ())),
        "swept": "setting" in entry,
    }


def worst(record: JsonView) -> JsonObject:
    """Return the row that brings back most, of those that can tell anything. It is empty where there is none."""
    return next((row for row in rows(record) if row["says"]), {})


def sentence(record: JsonView, *, ranked: bool = True) -> str:
    """Return the worst attack in a sentence, with setting, n, seeds and interval, or "" where none was tried.

    ranked: with what the metrics' own test says of that attack, where it says little good.
    """
    found, row = [row for row in rows(record) if row["says"]], worst(record)
    if not row:
        return ""
    many = f"Of {len(found)} settings tried the worst" if len(found) > 1 else "The one attack that was tried"
    said = f"{many}, {begun(row['title'])}, leaves {_left(row)}"
    what = counts(row)
    said += f": it {what.does} {_share(row['value'])}{what.of}{_ends(row['interval'])}, n {row['n']}"
    said += f", the original {_share(row['before'])}"
    if row["control"] is not None:
        whom = "the retrained model" if record.get("control") == "retrained" else "on questions never seen"
        said += f", {whom} {_share(row['control'])}"
    said += f"; {_seeds(row)}."
    if ranked and (low := trust.low_rank(row["name"])):
        said += f" {low}"
    if len(found) > 1:
        said += " It was picked because it found most, so its own interval is too kind to the attack."
    return said


def _seeds(row: JsonView) -> str:
    again = [one for one in row["again"] if one.get("residue") is not None]
    if not again:
        return f"seed {row['seed']}"
    told = ", ".join(_share(one["residue"]) for one in again)
    return f"seed {row['seed']}, and with {len(again)} other seeds {told} are left"


def _left(row: JsonView) -> str:
    if row["residue"] is None:
        return "an unknown part, since original and control lie too close"
    ends = f", 95 % interval {_range(row['around'])}" if row["around"] else ""
    return f"{_share(row['residue'])} of what lies between control and original{ends}"


def _ends(around: Sequence[float] | None) -> str:
    return f" ({_range(around)})" if around else ""


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _range(around: Sequence[float]) -> str:
    return f"{100 * around[0]:.0f} to {100 * around[1]:.0f} %"


def sweep_note(record: JsonView) -> str:
    """Return how far the sweep of the attacks is, or "" where none was begun."""
    told = record.get("swept", {})
    if not told:
        return ""
    said = f"{told['done']} of {told['of']} settings were tried in {told['minutes']:.1f} minutes"
    if "next" not in told:
        return f"{said}; the sweep is complete."
    needed = told.get("next_minutes")
    after = f", which needs about {max(0.1, needed):.1f} minutes" if needed is not None else ""
    return f"{said}; next comes {begun(told['next'])}{after}. Start it again to go on."


def left_out(record: JsonView) -> list[str]:
    """Return "titles: reason" for each reason why attacks or settings could not be carried out."""
    reasons: dict[str, list[str]] = {}
    for entry in {**record.get("attacks", {}), **record.get("sweep", {})}.values():
        if entry["reason"]:
            reasons.setdefault(entry["reason"], []).append(entry["title"])
    return [f"{'; '.join(titles)}: {reason}" for reason, titles in reasons.items()]


def lines(record: JsonView) -> list[str]:
    """Return a line for a terminal for each attack and setting, the worst first, then what was left out."""
    found = []
    for row in rows(record):
        left = "   -" if row["residue"] is None else f"{100 * row['residue']:3.0f}%"
        ends = f" ({_range(row['around'])})" if row["around"] else ""
        found.append(
            f"{row['says'] or 'does not tell':13} {left} left{ends:15} n {row['n']:3}  {row['title']}: "
            f"{_share(row['value'])}{counts(row).short}{_ends(row['interval'])}, original {_share(row['before'])}"
            + (f", control {_share(row['control'])}" if row["control"] is not None else "")
        )
    return [*found, *(f"left out: {text}" for text in left_out(record))]
