"""Sweeps the attacks on a finished run: as many settings as a time allows, each written as soon as it is done.

Killed or out of time, nothing that was done is lost, and the next call goes on. unlearn.work.cells chooses what comes
next.
"""

from collections.abc import Sequence
from pathlib import Path

from unlearn.attacks import ATTACKS, Subject
from unlearn.attacks.base import Cell
from unlearn.results.verdict import errors_for, says, worst_first
from unlearn.store.disk import write_json
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject
from unlearn.work import cells
from unlearn.work.attack_record import FILE, Progress, carry_out, opened, read_attacks, write
from unlearn.work.card import write_card

# The worst setting that draws is tried again with so many other seeds.
AGAIN = 2


def sweep(
    run: Run,
    minutes: float = cells.MINUTES,
    names: Sequence[str] | None = None,
    *,
    seed: int | None = None,
    roots: Sequence[Path] | None = None,
    progress: Progress = lambda phrase, fraction: None,
) -> JsonObject:
    """Try as many settings of as many attacks as the minutes allow, and return what attacks.json then holds.

    What is done is not done again, so that a second call goes on. names: beginnings of the settings' names, such as
    practice; all by default. The worst setting that draws is tried again with two other seeds, when all are done.
    seed, progress and ValueError as for attack().
    """
    chosen, clock = cells.chosen_cells(names), cells.Clock(cells.good_minutes(minutes))
    record, subject = opened(run, seed, roots, progress)
    record.setdefault("sweep", {})
    before = float(record.get("swept", {}).get("minutes", 0.0))

    def told(phrase: str, part: float) -> None:
        clock.check()
        known = cells.entries(record)
        done = sum(cell.attack.name in known for cell in chosen)
        progress(phrase, max(min(1.0, clock.spent / clock.limit), done / len(chosen)))

    subject.progress = told
    try:
        while cell := cells.fitting(chosen, cells.entries(record), clock.left):
            told(f"{cell.attack.name}: starting", 0.0)
            _keep(record, cell, carry_out(cell.attack, subject))
            _swept(run, record, chosen, before + clock.spent / 60)
        _again(run, record, chosen, subject, clock)
    except cells.OutOfTime:
        pass
    _swept(run, record, chosen, before + clock.spent / 60)
    write_card(run)
    progress("done", 1.0)
    return read_attacks(run)


def _keep(record: JsonObject, cell: Cell, entry: JsonObject) -> None:
    """An attack with one setting stands among the attacks, every other one in the sweep, with its setting."""
    if cell.attack.name in ATTACKS:
        record["attacks"][cell.attack.name] = entry
        return
    setting = entry.get("details", {}).get("setting", cell.setting)
    title = f"{cell.family}: {setting}"
    record["sweep"][cell.attack.name] = entry | {"family": cell.family, "setting": setting, "title": title}


def _again(
    run: Run, record: JsonObject, chosen: Sequence[Cell], subject: Subject, clock: cells.Clock
) -> None:
    """Try the worst setting that draws with other seeds: the worst of many was picked by what it found."""
    known = cells.entries(record)
    drawing = {cell.attack.name: cell for cell in chosen if cell.random}
    found = [e for e in worst_first({"attacks": known}) if e["name"] in drawing and e["residue"]]
    if not found or any(cell.attack.name not in known for cell in chosen):
        return
    cell, entry = drawing[found[0]["name"]], known[found[0]["name"]]
    first = subject.seed
    for seed in range(first + 1, first + 1 + AGAIN):
        needed = cells.forecast(cell, known)
        if any(one["seed"] == seed for one in entry.get("again", ())) or (needed or 0.0) > clock.left:
            continue
        subject.seed = seed
        new = carry_out(cell.attack, subject)
        keys = ("seed", "after", "retrained", "never_seen", "residue")
        entry["again"] = [*entry.get("again", ()), {key: new.get(key) for key in keys}]
        write_json(run.path / FILE, record)
    subject.seed = first


def _swept(run: Run, record: JsonObject, chosen: Sequence[Cell], minutes: float) -> None:
    """Write the record with how far the sweep is. What a setting says depends on how many were tried, those of attacks
    with one setting among them.
    """
    record["swept"] = {"minutes": minutes, **cells.standing(chosen, record)}
    tried = [entry for entry in cells.entries(record).values() if not entry["reason"]]
    # One that cannot tell says nothing, whatever was tried beside it.
    for entry in (one for one in tried if one["says"]):
        floor = float(entry["details"].get("chance", 0.0))
        entry["says"] = says(entry["values"], entry["tells"], floor=floor, errors=errors_for(len(tried)))
    write(run, record)
