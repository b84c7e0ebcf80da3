"""Holds the blind vote of a class: everybody judges the same pairs under one code, and the votes add up. No torch.

A class is <store>/.classes/CODE.json, its votes are lines beside it. They do not lie in the run's folder, so that a
class can vote on a run that ships with the app or belongs to somebody else. The pairs follow from the code alone, so
that every browser shows the same ones, with the same sides.
"""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearn.results import blind
from unlearn.store.disk import append_line, read_json, read_lines, write_json
from unlearn.store.shapes import JsonObject, JsonView

FOLDER = ".classes"
# Letters and digits that nobody takes for another when a code is read from a wall.
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
LENGTH = 5
CODE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")
ROLES = ("forget", "retain")
# The number of votes that a class keeps, and of classes that a store keeps. Anybody who knows the address may vote.
MOST, MOST_CLASSES = 10_000, 1_000


@dataclass(frozen=True)
class Classroom:
    """One class: its code, the run that it judges, and whether the rows are those to forget or those to keep."""

    code: str
    run: str
    role: str


def new_code() -> str:
    """Return a code that nobody can guess from another one."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def begin(root: Path, code: str, run: str, role: str, owner: str = "") -> Classroom:
    """Begin a class, or return the one that began with the same run and rows. owner: who begins it.

    ValueError for a code that is none or is taken, and when the store holds too many.
    """
    if not CODE.fullmatch(code):
        raise ValueError(f"class: a code has {LENGTH} letters or digits, got {code[:20]!r}.")
    if role not in ROLES:
        raise ValueError(f"class: the rows must be among {', '.join(ROLES)}, got {role!r}.")
    if known := read(root, code):
        if (known.run, known.role) != (run, role):
            raise ValueError(f"class: {code} votes on another run already; begin a new class.")
        return known
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if sum(1 for _ in folder.glob("*.json")) >= MOST_CLASSES:
        raise ValueError(f"class: this store has {MOST_CLASSES} classes; delete {folder} to begin anew.")
    write_json(folder / f"{code}.json", {"run": run, "role": role, "owner": owner, "made": time.time()})
    return Classroom(code, run, role)


def owners(root: Path) -> list[str]:
    """Return who began each class of the store."""
    return [str(read_json(path).get("owner", "")) for path in (root / FOLDER).glob("*.json")]


def read(root: Path, code: str) -> Classroom | None:
    """Return the class of this code, or None where it has not begun or its file has another shape."""
    if not CODE.fullmatch(code):
        return None
    try:
        found = read_json(root / FOLDER / f"{code}.json")
        made = Classroom(code, str(found["run"]), str(found["role"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return made if made.role in ROLES else None


def pairs(room: Classroom, rows: Sequence[JsonView]) -> list[JsonObject]:
    """Return the pairs that the class judges, the same in every browser. rows: compare.pair_samples of its run."""
    return blind.ballot([row for row in rows if row["role"] == room.role], room.code)


def cast(root: Path, room: Classroom, voter: str, pair: JsonView, choice: str) -> None:
    """Keep one vote. A second one of the same voter on the same pair takes the place of the first.

    ValueError for an unknown choice, and when the class has MOST votes.
    """
    if choice not in blind.CHOICES:
        raise ValueError(f"vote: must be among {', '.join(blind.CHOICES)}, got {choice!r}.")
    path = _votes(root, room)
    if path.is_file() and sum(1 for _ in read_lines(path)) >= MOST:
        raise ValueError(f"vote: class {room.code} has {MOST} votes already; begin a new one.")
    append_line(path, {"voter": voter, **blind.vote_record(room.code, pair, choice)})


def votes(root: Path, room: Classroom) -> list[JsonObject]:
    """Return the votes that count: the last of each voter on each pair. Lines of another shape are skipped."""
    last = {}
    path = _votes(root, room)
    for vote in read_lines(path) if path.is_file() else ():
        known = vote.get("better") in ("before", "after", "same") and isinstance(vote.get("voter"), str)
        if known and vote.get("role") == room.role and isinstance(vote.get("index"), int):
            last[vote["voter"], vote["index"]] = vote
    return list(last.values())


def tally(root: Path, room: Classroom) -> JsonObject:
    """Return {"before", "after", "same", "n": votes, "voters", "p"}: as blind.tally, over the whole class."""
    counted = votes(root, room)
    found = blind.tally(counted).get(room.role) or {"before": 0, "after": 0, "same": 0, "n": 0, "p": 1.0}
    return {**found, "voters": len({vote["voter"] for vote in counted})}


def sentence(found: JsonView, role: str) -> str:
    """Return what the class thinks, in words."""
    if not found["n"]:
        return "Nobody has voted yet."
    purpose = {"forget": "to forget", "retain": "to keep"}[role]
    people = f"{found['voters']} {'people' if found['voters'] != 1 else 'person'}"
    return (
        f"{people} gave {found['n']} votes on answers {purpose}: {found['before']} preferred the answer before "
        f"unlearning, {found['after']} the one after it, {found['same']} neither. A fair coin would be as uneven with "
        f"probability {found['p']:.2g}."
    )


def _votes(root: Path, room: Classroom) -> Path:
    return root / FOLDER / f"{room.code}.votes.jsonl"
