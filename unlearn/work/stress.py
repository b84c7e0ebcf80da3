"""Carries out the stress tests of a finished run, and keeps the results as attacks.json.

What is already there for the same weights, data and versions is not done again. A page does not wait for it: it
queues a StressRecord, a folder like a run's inside the run's own, which the runner carries out with perform().
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from unlearn.attacks import ATTACKS, Subject
from unlearn.attacks.base import Attack, Cell, exact_each
from unlearn.measure.ask import load_source
from unlearn.measure.judge import evidence_of, judge
from unlearn.models.reading import rows_asked
from unlearn.results.verdict import errors_for, mean_or_zero, overall, residue, says, worst_first
from unlearn.store import records
from unlearn.store.disk import write_json
from unlearn.store.runs import ACTIVE, Run, RunStore
from unlearn.store.shapes import JsonObject
from unlearn.store.studies import Study, checking, conduct
from unlearn.work import cells
from unlearn.work.card import write_card

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# Raise this number when an attack or the rule changes, so that old results are not reused.
FORMAT = 1
FILE = "attacks.json"
SEED = 0
# The worst setting that draws is tried again with so many other seeds.
AGAIN = 2
Progress = Callable[[str, float], None]


def attack(
    run: Run,
    names: Sequence[str] | None = None,
    *,
    seed: int | None = None,
    roots: Sequence[Path] | None = None,
    progress: Progress = lambda phrase, fraction: None,
) -> JsonObject:
    """Attack a finished run and return what attacks.json then holds: {"identity", "seed", "control", "plain",
    "attacks", "verdict"}.

    names: of ATTACKS; all by default. seed: of what an attack draws; that of the attacks already done by default, and
    another one begins the file anew. progress(phrase, fraction) may raise to stop; what is done stays. ValueError for
    an unknown attack or a bad seed, and for a run that is not over or keeps no weights.
    """
    wanted = chosen_attacks(names)
    record, subject = _opened(run, seed, roots, progress)
    missing = [a for a in wanted if a.name not in record["attacks"]]
    for done, one in enumerate(missing):

        def told(phrase: str, part: float, a: Attack = one, d: int = done) -> None:
            progress(f"{a.name}: {phrase}", (d + min(1.0, part)) / len(missing))

        subject.progress = told
        subject.progress("starting", 0.0)
        record["attacks"][one.name] = carry_out(one, subject)
        _write(run, record)
    write_card(run)
    progress("done", 1.0)
    return read_attacks(run)


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
    record, subject = _opened(run, seed, roots, progress)
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
    """Write the record with how far the sweep is. What a setting says depends on how many were tried."""
    record["swept"] = {"minutes": minutes, **cells.standing(chosen, record)}
    tried = [entry for entry in record["sweep"].values() if not entry["reason"]]
    for entry in tried:
        floor = float(entry["details"].get("chance", 0.0))
        entry["says"] = says(entry["values"], entry["tells"], floor=floor, errors=errors_for(len(tried)))
    _write(run, record)


def _opened(
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


def _write(run: Run, record: JsonObject) -> None:
    record["verdict"] = overall(cells.entries(record), record["plain"])
    write_json(run.path / FILE, record)


def chosen_attacks(names: Sequence[str] | None) -> list[Attack]:
    """Return the attacks of these names, in the order of the list. ValueError for an unknown name."""
    if unknown := [name for name in names or () if name not in ATTACKS]:
        raise ValueError(f"attack: must be among {', '.join(ATTACKS)} or all, got {', '.join(unknown)}.")
    return [one for name, one in ATTACKS.items() if not names or name in names]


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
    start = RunStore(run.path.parent).get(config.start) if config.start else None

    def load(when: str) -> "Loaded":
        return load_trained(start) if start and when == "before" else load_source(when, run, roots)

    data = rows_asked(run, roots)
    subject = Subject(data, load, evidence.models, max_length=config.max_length, seed=seed)
    versions = {name: version(name) for name in ("torch", "transformers", "peft", "scikit-learn")}
    return subject, {**identity, **versions, "seed": seed, "attacks": FORMAT}


# -- in the background ---------------------------------------------------------------------------------------------


class StressRecord(Study[JsonObject]):
    """The folder of one stress test, <run>/stress/<id>.

    It holds stress.json ({"attacks": names, "metrics": names, "minutes": of a sweep, "seed"}), meta.json and
    events.jsonl.
    """

    FILE, FOLDER = "stress.json", "stress"

    @property
    def run(self) -> Run:
        """Return the run that is tested."""
        return Run(self.path.parent.parent)

    @property
    def asked(self) -> JsonObject:
        """Return what was asked for, as stress.json holds it."""
        return self.config


def create(
    run: Run,
    attacks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    *,
    minutes: float | None = None,
    seed: int | None = None,
    owner: str = "",
) -> StressRecord:
    """Make a new, queued record and return it.

    minutes: those of a sweep, and attacks then names settings of it. seed is as for attack(). ValueError for an attack
    that does not exist, bad minutes and a bad seed.
    """
    asked: dict[str, object] = {"attacks": list(attacks), "metrics": list(metrics)}
    if minutes is None:
        chosen_attacks(attacks)
    else:
        cells.chosen_cells(attacks)
        asked["minutes"] = cells.good_minutes(minutes)
    asked |= {} if seed is None else {"seed": good_seed(seed)}
    return StressRecord.create(run.path, "stress", asked, owner=owner, title=f"Stress of {run.title}")


def latest(run: Run) -> StressRecord | None:
    """Return the newest stress test of the run, or None."""
    return next(iter(StressRecord.every(run.path)), None)


def perform(
    record: StressRecord,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Progress = lambda phase, fraction: None,
    roots: Sequence[Path] | None = None,
) -> None:
    """Carry out the stress test as execute() does a run.

    It never raises, and leaves state done, stopped or failed with a reason.
    """
    check = checking(record.stopping(should_stop), "stopped by hand; the attacks that were done are kept")

    def progress(phrase: str, fraction: float) -> None:
        check()
        on_progress(phrase, fraction)

    def work() -> None:
        names, seed = record.config.get("attacks"), record.config.get("seed")
        if minutes := record.config.get("minutes"):
            sweep(record.run, minutes, names, seed=seed, roots=roots, progress=progress)
        elif names:
            attack(record.run, names, seed=seed, roots=roots, progress=progress)
        if names := record.config.get("metrics"):
            judge(record.run, names, roots=roots, progress=progress)

    conduct(record, work)
