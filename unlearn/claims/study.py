"""Carries out a claim's experiment as a study, so that an engine can do it on another machine.

The folder lies beside the outcomes that claims share (unlearn.claims.lab). These travel with it, and new ones come
back as soon as they are written, so that a claim that was cut short goes on where it was.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from unlearn.claims import CLAIMS
from unlearn.claims.base import Claim
from unlearn.claims.lab import Lab
from unlearn.claims.record import entry_of
from unlearn.claims.training import TINY, WORLDS
from unlearn.compute import threads
from unlearn.store.disk import read_json, write_json
from unlearn.store.engine import Engine, looked_after
from unlearn.store.runs import ACTIVE, RunStore
from unlearn.store.shapes import JsonObject
from unlearn.store.studies import Study, checking, conduct

# The folder of a store with the outcomes, and the file with what came of one claim.
FOLDER, ENTRY = "claims", "entry.json"
# Seconds between two looks at the claims that an engine carries out.
LOOK = 0.1

# CPU minutes of a whole experiment, as budgeted before anything was measured (docs/claims.md). Claims that
# stand together share what they train. G1 reads a record.
MINUTES: dict[tuple[str, ...], float] = {
    ("B5",): 2.5,
    ("A4",): 2.0,
    ("A2",): 8.0,
    ("A5",): 1.0,
    ("C1", "C3"): 8.0,
    ("A3",): 6.0,
    ("D1", "E1", "F1"): 9.0,
    ("G1",): 0.0,
}
# CPU minutes of all experiments of a mode together.
ALL = {"quick": 15.0, "full": 120.0}

Progress = Callable[[str, float], None]


class ClaimRecord(Study[JsonObject]):
    """The folder of one claim at work, <store>/claims/<id>. claim.json holds {"claim": its key, "mode", "world"}.

    With "stays" its folder is kept when it is done, as a page wants it; a command's goes.
    """

    FILE, FOLDER, ALONG = "claim.json", FOLDER, (FOLDER,)
    FOR_VISITORS = False

    @property
    def entry(self) -> JsonObject:
        """Return what came of it, as in claims.json. It is empty before it is done."""
        return read_json(self.path / ENTRY)


def begun(claim: Claim, mode: str, world: str, runs: Path) -> ClaimRecord:
    """Return the claim's folder: one that an earlier command left and nobody has, or a new one."""
    asked = {"claim": claim.key, "mode": mode, "world": world}
    for known in ClaimRecord.every(runs):
        if known.config == asked and not known.is_held():
            return known
    return ClaimRecord.create(runs, claim.key.lower(), asked, title=claim.title)


def create(claim: Claim, mode: str, runs: Path, *, owner: str = "") -> ClaimRecord:
    """Return a new folder for a claim on the bundled model, which stays when it is done.

    ValueError where the same is waiting or at work.
    """
    asked = {"claim": claim.key, "mode": mode, "world": TINY.model, "stays": True}
    if any(known.config == asked and known.state in ACTIVE for known in ClaimRecord.every(runs)):
        raise ValueError(
            f"claims: {claim.key} ({mode}) is waiting or at work already; wait for it, or stop it."
        )
    return ClaimRecord.create(runs, claim.key.lower(), asked, owner=owner, title=f"{claim.key}, {mode}")


def perform(
    record: ClaimRecord,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Progress = lambda phase, fraction: None,
    roots: Sequence[Path] | None = None,
) -> None:
    """Carry out the experiment as execute() does a run. Its outcome is ENTRY, without a header.

    It never raises, and leaves state done, stopped or failed with a reason.
    """
    check, key = checking(record.stopping(should_stop)), record.config["claim"]

    def say(line: str) -> None:
        check()
        on_progress(f"{key}: {line}", 0.0)

    def work() -> None:
        world = WORLDS[record.config["world"]]
        threads.choose_threads(world is TINY)
        lab = Lab(record.path.parent, say, world)
        entry = entry_of(CLAIMS[key], lab, record.config["mode"], {}, time.process_time)
        write_json(record.path / ENTRY, entry)

    conduct(record, work)


def minutes(key: str) -> float | None:
    """Return the CPU minutes of a claim's whole experiment, or None where it was not timed by itself."""
    return next((spent for keys, spent in MINUTES.items() if key in keys), None)


def budget(keys: Collection[str], mode: str) -> str:
    """Return a sentence with the CPU minutes that testing these claims takes, as it was budgeted."""
    whole = f"all {len(CLAIMS)} together some {ALL[mode]:g} CPU minutes"
    if mode == "quick":
        return f"Quick: {len(keys)} of {len(CLAIMS)}; {whole}."
    parts = {group: spent for group, spent in MINUTES.items() if set(group) & set(keys)}
    unknown = [key for key in CLAIMS if key in keys and minutes(key) is None]
    named = ", ".join(key for key in CLAIMS if key in keys and key not in unknown)
    spent = f"about {total:g} CPU minutes" if (total := sum(parts.values())) else "less than one CPU minute"
    words = [f"{named} {spent}"] if named else []
    if unknown:
        words.append(f"{', '.join(unknown)} not timed {'alone' if len(unknown) == 1 else 'one by one'}")
    return f"Whole: {'; '.join([*words, whole])}."


def carried_out(
    engine: Engine, claims: Sequence[Claim], mode: str, world: str, runs: Path, progress: Progress
) -> Iterator[tuple[Claim, JsonObject, str]]:
    """Have the engine carry out the claims, and yield (claim, its entry, "") or (claim, {}, why not) as each ends.

    Their folders go when they have ended. Ctrl-C asks for the end of all, a second one leaves them alone.
    """
    records = [begun(claim, mode, world, runs) for claim in claims]
    claim_of = {record.id: claim for record, claim in zip(records, claims, strict=True)}
    engine.submit(*(record for record in records if record.state != "done"), perform=perform)
    ended = 0
    for record, where in looked_after(engine, records, LOOK):
        claim = claim_of[record.id]
        if where is not None:
            progress(where.words or claim.key, ended / len(claims))
            continue
        ended += 1
        yield claim, record.entry, _why_not(record)
        if not record.is_held():
            RunStore(runs).delete(record)


def _why_not(record: ClaimRecord) -> str:
    state = record.state
    return "" if state == "done" else f"{state} ({record.reason})" if record.reason else state
