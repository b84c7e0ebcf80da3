"""Carries out the stress tests of a finished run, and keeps the results as attacks.json.

What is already there for the same weights, data and versions is not done again. A page does not wait for it: it
queues a StressRecord, a folder like a run's inside the run's own, which the runner carries out with perform().
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from unlearn.attacks import ATTACKS
from unlearn.attacks.base import Attack
from unlearn.measure.judge import judge
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject
from unlearn.store.studies import Study, checking, conduct
from unlearn.work import cells
from unlearn.work.attack_record import FILE, Progress, carry_out, good_seed, opened, read_attacks, write
from unlearn.work.attack_sweep import sweep
from unlearn.work.card import write_card

__all__ = ["FILE", "StressRecord", "attack", "create", "latest", "perform", "read_attacks", "sweep"]


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
    record, subject = opened(run, seed, roots, progress)
    missing = [a for a in wanted if a.name not in record["attacks"]]
    for done, one in enumerate(missing):

        def told(phrase: str, part: float, a: Attack = one, d: int = done) -> None:
            progress(f"{a.name}: {phrase}", (d + min(1.0, part)) / len(missing))

        subject.progress = told
        subject.progress("starting", 0.0)
        record["attacks"][one.name] = carry_out(one, subject)
        write(run, record)
    write_card(run)
    progress("done", 1.0)
    return read_attacks(run)


def chosen_attacks(names: Sequence[str] | None) -> list[Attack]:
    """Return the attacks of these names, in the order of the list. ValueError for an unknown name."""
    if unknown := [name for name in names or () if name not in ATTACKS]:
        raise ValueError(f"attack: must be among {', '.join(ATTACKS)} or all, got {', '.join(unknown)}.")
    return [one for name, one in ATTACKS.items() if not names or name in names]


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
