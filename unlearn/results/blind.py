"""Runs a blind comparison of answers before and after a run, keeps the votes and counts them.

Metrics say what they were told to count; a person who does not know which answer is which says whether a text reads
worse. Votes are lines of votes.jsonl in the run's folder, one a vote, so that several people add up. No torch.
"""

import math
import random
from collections.abc import Sequence

from unlearn.store.disk import append_line, read_lines
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

FILE = "votes.jsonl"
CHOICES = ("left", "right", "same")
# The number of pairs in one ballot.
ROUNDS = 10
# The number of votes that a run keeps. There is a limit because anybody who sees the run may vote.
MOST = 10_000


def ballot(rows: Sequence[JsonView], seed: str, rounds: int = ROUNDS) -> list[JsonObject]:
    """Draw pairs to vote on from the rows of compare.pair_samples whose texts before and after differ.

    Each: {"role", "index", "question", "answer", "left", "right", "is_left": "before" | "after"}. Texts alike say
    nothing to a voter and are left out; which side is which is drawn anew for each pair.
    """
    rng = random.Random(seed)
    fit = [
        r for r in rows if r["before"] and r["a"] and r["before"]["text"].strip() != r["a"]["text"].strip()
    ]
    pairs = []
    for row in rng.sample(fit, min(rounds, len(fit))):
        texts = {"before": row["before"]["text"], "after": row["a"]["text"]}
        left, right = rng.sample(["before", "after"], 2)
        said = {key: row[key] for key in ("role", "index", "question", "answer")}
        pairs.append(said | {"left": texts[left], "right": texts[right], "is_left": left})
    return pairs


def vote(run: Run, ballot_id: str, pair: JsonView, choice: str) -> JsonObject:
    """Keep one vote with the run and return it. ValueError for an unknown choice, and when the run has MOST."""
    if choice not in CHOICES:
        raise ValueError(f"vote: must be among {', '.join(CHOICES)}, got {choice!r}.")
    if len(votes(run)) >= MOST:
        raise ValueError(f"vote: {run.id} has {MOST} votes already; export it and start another.")
    line = vote_record(ballot_id, pair, choice)
    append_line(run.path / FILE, line)
    return line


def vote_record(ballot_id: str, pair: JsonView, choice: str) -> JsonObject:
    """Return one vote as a plain record. Its "better" is before, after or same."""
    other = {"before": "after", "after": "before"}[pair["is_left"]]
    better = {"left": pair["is_left"], "right": other, "same": "same"}[choice]
    return {"ballot": ballot_id, "role": pair["role"], "index": pair["index"], "better": better}


def votes(run: Run) -> list[JsonObject]:
    """Return every vote that the run keeps. Lines of another shape (an imported run) are skipped."""
    found = read_lines(run.path / FILE)
    return [
        v for v in found if v.get("better") in ("before", "after", "same") and isinstance(v.get("role"), str)
    ]


def tally(cast: Sequence[JsonView]) -> dict[str, JsonObject]:
    """Count the votes of each role: {role: {"before", "after", "same": votes, "n", "p"}}.

    p is that of the two-sided sign test over the votes that prefer one side.
    """
    found = {}
    for role in dict.fromkeys(v["role"] for v in cast):
        mine = [v["better"] for v in cast if v["role"] == role]
        counts = {better: mine.count(better) for better in ("before", "after", "same")}
        found[role] = counts | {"n": len(mine), "p": sign_test(counts["before"], counts["after"])}
    return found


def sign_test(a: int, b: int) -> float:
    """Return the two-sided p-value of the hypothesis that a and b are draws of a fair coin.

    p = min(1, 2 P(X ≥ max(a, b))) with X ~ Bin(a + b, 1/2).
    """
    n, most = a + b, max(a, b)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n)
