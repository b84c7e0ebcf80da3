"""This module plans the shards of SISA and which stages a request trains again (arXiv 1912.03817).

Nothing here trains: a Plan is counted before anything is, so that a form can say what a request would cost. A stage is
named by the content of all that its weights depend on, and Checkpoints keeps weights by that name alone.
"""

import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.compute.lazy import Model
from unlearn.compute.tokens import Example
from unlearn.store import content
from unlearn.store.scratch import beside
from unlearn.store.shapes import JsonObject
from unlearn.training import pieces, processes

if TYPE_CHECKING:
    from torch import Tensor

# The most bytes of kept checkpoints. The oldest beyond that are deleted.
KEPT_BYTES = 2**30


def deal(sizes: Mapping[str, int], shards: int, slices: int, seed: int) -> dict[str, tuple[int, int]]:
    """Return {unit: (shard, slice)}, chosen at random. Large units are placed before small ones, so that all
    cells are similar in size.
    """
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda unit: -sizes[unit])
    return {unit: (i % shards, i // shards % slices) for i, unit in enumerate(order)}


def first_slices(places: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return {affected shard: its first slice that holds a text to forget}."""
    found: dict[int, int] = {}
    for shard, part in places:
        found[shard] = min(part, found.get(shard, part))
    return found


def expected_share(shards: int, slices: int, units: int) -> float:
    """Return the expected tokens of a request divided by the tokens of training all shards. The units may be
    anywhere, and all slices have one size.
    """
    return sum(
        2 * j / (slices * (slices + 1)) * (1 - (1 - j / (shards * slices)) ** units)
        for j in range(1, slices + 1)
    )


@dataclass(frozen=True)
class Stage:
    """One shard after one of its slices: the texts of slices 0 … r, and the content of all that its
    checkpoint depends on.
    """

    shard: int
    slice: int
    texts: tuple[Example, ...]
    epochs: int
    batch: int
    key: str
    # The key of the stage before this one, or "" for the first.
    after: str

    @property
    def steps(self) -> int:
        """Return the number of optimiser steps of the stage."""
        return self.epochs * -(-len(self.texts) // self.batch)

    @property
    def tokens(self) -> int:
        """Return the number of tokens that the stage reads."""
        return self.epochs * sum(len(text.input_ids) for text in self.texts)


@dataclass(frozen=True)
class Plan:
    """The stages of a request.  before: every stage with the texts to forget. after: the same without them.
    again: the stages that are trained again.
    """

    before: tuple[Stage, ...]
    after: tuple[Stage, ...]
    again: tuple[Stage, ...]
    units: int

    @property
    def full(self) -> int:
        """Return the tokens of training every shard again from its first slice, without the texts to forget.
        One model would read as many.
        """
        return sum(stage.tokens for stage in self.after)

    def counts(self, left: Sequence[Stage]) -> JsonObject:
        """Return the counts of the request for the run's results. left: the stages that this run trains
        itself.
        """
        now, again = {stage.key for stage in left}, {stage.key for stage in self.again}
        return {
            "request_tokens": sum(stage.tokens for stage in self.again),
            "full_tokens": self.full,
            "trained_for_request": sum(stage.tokens for stage in left if stage.key in again),
            "trained_once": sum(stage.tokens for stage in left if stage.key not in again),
            "again": [[stage.shard, stage.slice] for stage in self.again],
            "found_trained": sum(stage.key not in now for stage in (*self.before, *self.again)),
        }

    def note(self, shards: int, slices: int) -> str:
        """Return what the request costs, in a sentence, with the formula."""
        where = {
            s: min(a.slice for a in self.again if a.shard == s) + 1 for s in {a.shard for a in self.again}
        }
        spent, expected = sum(s.tokens for s in self.again), expected_share(shards, slices, self.units)
        said = ", ".join(f"shard {s + 1} from slice {r}" for s, r in sorted(where.items()))
        return (
            f"SISA: the request trains {said or 'nothing'} again: {spent:,} tokens, {spent / self.full:.0%} of the "
            f"{self.full:,} of training all shards again. Expected of {self.units} at random: {expected:.0%} = "
            f"Σ_j 2j/(R(R+1)) · (1 - (1 - j/(SR))^{self.units}), S = {shards}, R = {slices}."
        )


class Checkpoints:
    """The trained stages by key, kept by content in a folder (unlearn/store/content.py).

    They are held in memory where there is no folder, or no room in it. Of several processes the first one keeps them.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.held: dict[str, dict[str, Tensor]] = {}

    def file(self, key: str) -> Path:
        """Return the path of the file that holds this stage."""
        assert self.folder is not None, "what is held in memory has no file"
        return self.folder / f"{key}.safetensors"

    def missing(self, stages: Sequence[Stage]) -> list[Stage]:
        """Return the stages that must be trained, in order and each once."""
        left = (stage.key for stage in stages if not self.has(stage.key)) if processes.is_first() else ()
        keys = processes.told(" ".join(left)).split()
        return list({stage.key: stage for stage in stages if stage.key in keys}.values())

    def has(self, key: str) -> bool:
        """Return whether this stage is here. A file that cannot be read is as good as none."""
        from safetensors import SafetensorError, safe_open

        if key in self.held or self.folder is None:
            return key in self.held
        with contextlib.suppress(OSError, SafetensorError), safe_open(self.file(key), framework="numpy"):
            return True
        return False

    def load(self, key: str, member: Model) -> None:
        """Load the weights of this stage into the member."""
        from safetensors.torch import load_file

        here = processes.is_first() and key not in self.held
        pieces.put(member, load_file(self.file(key)) if here else self.held.get(key, {}))

    def save(self, key: str, member: Model) -> None:
        """Keep the weights of the member as this stage."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        state = pieces.weights_of(member)
        if not processes.is_first():
            return
        if self.folder is not None:
            with contextlib.suppress(OSError, SafetensorError):
                self.folder.mkdir(parents=True, exist_ok=True)
                with beside(self.file(key)) as scratch:
                    save_file(state, scratch)
                return
        # The stages after this one go on from it, so a full disk must not lose it.
        self.held[key] = state

    def prune(self) -> None:
        """Delete the oldest files until the rest takes at most KEPT_BYTES."""
        if self.folder is not None and processes.is_first():
            content.trim(self.folder, "*.safetensors", size=KEPT_BYTES)
