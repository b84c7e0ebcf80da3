"""This module turns rows into batches. The same step always holds the same texts, so that a resumed run
repeats nothing.

One epoch passes once over the forget texts; retain texts come from a stream of their own beside them, in the
ratio that the method asks for, reshuffled whenever it runs out.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from unlearn.compute.tokens import Batch, Example, Tokens, answer_tokens, collate
from unlearn.data.base import Row
from unlearn.store.config import RunConfig

if TYPE_CHECKING:
    from unlearn.methods.base import Method


@dataclass(frozen=True)
class Batches:
    """The stream of optimiser steps of a run. forget or retain may be empty where the method uses only one.

    batch_size forget texts a micro-batch (retain texts where there is no forget term), accumulation
    micro-batches a step, retain_ratio retain texts for each forget text. withheld: the forget texts of a method that
    trains on none of them, but must know which they are.
    """

    forget: tuple[Example, ...]
    retain: tuple[Example, ...]
    batch_size: int
    accumulation: int
    retain_ratio: float
    epochs: int
    seed: int
    pad_id: int
    # The number of texts in an epoch. It is that of the forget set, also where only retain texts are trained
    # on.
    clock: int
    withheld: tuple[Example, ...] = ()
    # {key: the row that a forget text was made from}, for a method that asks the model about it.
    asked: Mapping[int, Row] = field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of optimiser steps in one epoch."""
        return -(-self.clock // (self.batch_size * self.accumulation))

    @property
    def steps(self) -> int:
        """Return the number of optimiser steps in all epochs."""
        return self.steps_per_epoch * self.epochs

    def step(self, number: int) -> list[Batch]:
        """Return the micro-batches of one step, from 1 to `steps`. Every call gives the same."""
        epoch, within = divmod(number - 1, self.steps_per_epoch)
        per_step = self.batch_size * self.accumulation
        width = min(per_step, self.clock - within * per_step)
        forget: list[Example] = []
        if self.forget:
            order = _shuffled(len(self.forget), (self.seed, "forget", epoch))
            forget = [self.forget[i] for i in order[within * per_step : within * per_step + width]]
        retain: list[Example] = []
        if self.retain:
            ratio = self.retain_ratio if self.forget else 1.0
            start = round(((epoch * self.clock) + within * per_step) * ratio)
            retain = [self._retain_at(start + i) for i in range(max(1, round(width * ratio)))]
        return self._micro(forget, retain, epoch)

    def _retain_at(self, position: int) -> Example:
        lap, place = divmod(position, len(self.retain))
        return self.retain[_shuffled(len(self.retain), (self.seed, "retain", lap))[place]]

    def _micro(self, forget: list[Example], retain: list[Example], epoch: int) -> list[Batch]:
        parts = min(self.accumulation, max(1, -(-max(len(forget), 1) // self.batch_size))) if forget else 1
        if not forget:
            parts = max(1, -(-len(retain) // self.batch_size))
        sides = [self._side(examples, parts) for examples in (forget, retain)]
        return [
            Batch(forget=f, retain=r, epoch=epoch)
            for f, r in zip(*sides, strict=True)
            if f is not None or r is not None
        ]

    def _side(self, examples: list[Example], parts: int) -> list[Tokens | None]:
        totals = {"total_tokens": answer_tokens(examples), "total_rows": len(examples)}
        cuts = [round(i * len(examples) / parts) for i in range(parts + 1)]
        pieces = [examples[a:b] for a, b in pairwise(cuts)]
        return [collate(piece, self.pad_id, **totals) if piece else None for piece in pieces]

    def every(self, side: str, size: int = 32) -> Iterator[Tokens]:
        """Return all texts of "forget" or "retain" once, in batches of similar lengths, for the reference
        pass.
        """
        examples = sorted(getattr(self, side), key=lambda e: len(e.input_ids))
        for at in range(0, len(examples), size):
            yield collate(examples[at : at + size], self.pad_id)


def batches_of(
    config: RunConfig, method: "Method", forget: Sequence[Example], retain: Sequence[Example], pad_id: int
) -> Batches:
    """Return the stream of a run with this config over these texts, before the method changes its order
    (Method.stream).
    """
    return Batches(
        forget=tuple(forget) if method.uses_forget else (),
        withheld=() if method.uses_forget else tuple(forget),
        retain=tuple(retain),
        batch_size=config.batch_size,
        accumulation=config.accumulation,
        retain_ratio=method.retain_ratio,
        epochs=config.epochs,
        seed=config.seed,
        pad_id=pad_id,
        clock=len(forget) or len(retain),
    )


@lru_cache(maxsize=16)
def _shuffled(count: int, key: tuple[int | str, ...]) -> tuple[int, ...]:
    """A permutation that depends on key alone; a few are kept, since neighbouring steps ask for the same."""
    order = list(range(count))
    random.Random(repr(key)).shuffle(order)
    return tuple(order)
