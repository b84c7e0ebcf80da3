"""Keeps what the attacks on a run found as attacks.json: the entry of each, and what all of them depend on.

What is there for the same weights, data, versions and seed stays; with any other the record begins anew.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from unlearn.attacks.base import Attack, Subject, exact_each
from unlearn.measure.ask import load_source
from unlearn.measure.judge import evidence_of
from unlearn.models.reading import rows_asked
from unlearn.results.verdict import mean_or_zero, overall, residue, says
from unlearn.store import records
from unlearn.store.disk import write_json
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject
from unlearn.work.cells import entries

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# Raise this number when an attack or the rule changes, so that old results are not reused.
FORMAT = 1
FILE = "attacks.json"
SEED = 0
Progress = Callable[[str, float], None]


def opened(
    run: Run, seed: int | None, roots: Sequence[Path] | None, progress: Progress
) -> tuple[JsonObject, Subject]:
    """Return (what attacks.json holds for these weights, data, versions and seed, the subject), asked plainly."""
    if run.state in ACTIVE:
        raise ValueError(f"run: {run.title} is {run.state}; attack it when it has ended.")
    record = read_attacks(run)
    seed = good_seed(record.get("seed", SEED) if seed is None else seed)
    subject, identity = subject_of(run, roots, seed)
    if record.get("identity") != identity:
        record = {"identity": identity, "seed": seed, "control": subject.control, "attacks": {}}
    if "plain" not in record:
        progress("asking plainly", 0.0)
        sides = subject.each("forget", lambda loaded, side: exact_each(subject.read(loaded, side.role)))
        record["plain"] = {side: list(values) for side, values in sides.items()}
    return record, subject


def write(run: Run, record: JsonObject) -> None:
    """Write attacks.json with the verdict that its entries give, and with what another process has kept there for the
    same weights and data in the meantime.
    """
    there = read_attacks(run)
    if there.get("identity") == record["identity"]:
        for part in ("attacks", "sweep"):
            if part in there:
                record[part] = {**there[part], **record.get(part, {})}
    record["verdict"] = overall(entries(record), record["plain"])
    write_json(run.path / FILE, record)


def good_seed(seed: object) -> int:
    """Return the seed where it is valid, or else raise a ValueError that says what it must be."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise ValueError(f"attack: seed must be a whole number in [0, {2**31 - 1}], got {seed!r}.")
    return seed


def carry_out(one: Attack, subject: Subject) -> JsonObject:
    """Carry out one attack and return its entry in attacks.json.

    What it cannot do on this model is said as its reason.
    """
    start, reason, found = perf_counter(), "", None
    try:
        found = one.run(subject)
        reason = "" if found else f"needs {one.needs}"
    except (ValueError, ArithmeticError) as error:
        reason = str(error)
    entry: JsonObject = {
        "title": one.title,
        "help": one.help,
        "paper": one.paper,
        "tells": one.tells,
        "reason": reason,
        "seconds": round(perf_counter() - start, 3),
        "seed": subject.seed,
    }
    if found is None:
        return entry
    floor = float(found.details.get("chance", 0.0))
    control = found.values.get("control")
    return entry | {
        "n": len(found.values["after"]),
        "before": mean_or_zero(found.values["before"]),
        "after": mean_or_zero(found.values["after"]),
        "retrained": mean_or_zero(control) if control and subject.control == "retrained" else None,
        "never_seen": mean_or_zero(control) if control and subject.control == "never seen" else None,
        "plain": mean_or_zero(found.plain) if found.plain else None,
        "residue": residue(found.values, floor) if found.counts else None,
        "says": says(found.values, one.tells, found.counts, floor),
        "finding": found.finding,
        "values": {side: list(values) for side, values in found.values.items()},
        "details": dict(found.details),
    }


def read_attacks(run: Run) -> JsonObject:
    """Return the content of the run's attacks.json. It is empty where the run was never attacked."""
    return records.read_attacks(run.path / FILE)


def subject_of(run: Run, roots: Sequence[Path] | None = None, seed: int = SEED) -> tuple[Subject, JsonObject]:
    """Return (attacks.Subject of the run, what its numbers depend on). ValueError when it keeps no weights."""
    from unlearn.models.tuning import load_trained

    config = run.config
    evidence, identity = evidence_of(run, roots)
    start = run.start()

    def load(when: str) -> "Loaded":
        return load_trained(start) if start and when == "before" else load_source(when, run, roots)

    data = rows_asked(run, roots)
    subject = Subject(data, load, evidence.models, max_length=config.max_length, seed=seed)
    versions = {name: version(name) for name in ("torch", "transformers", "peft", "scikit-learn")}
    return subject, {**identity, **versions, "seed": seed, "attacks": FORMAT}
