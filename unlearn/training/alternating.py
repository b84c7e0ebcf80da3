"""Alternating(batches) trains one epoch on the texts to forget, one on the texts to keep, and so on.

EUL trains like this (arXiv 2310.20150, §3.2). Alternation is a property of the stream and not of the training
loop, so that one schedule, one optimiser and one step count span the run, and a resumed run goes on where it was.
It ends with the texts to keep, so that the last phase repairs and does not damage; the paper leaves the order open.
Each phase is a fresh pass: newly shuffled, every forget text once.
"""

from dataclasses import dataclass, replace

from unlearn.compute.tokens import Batch
from unlearn.training.batches import Batches


@dataclass(frozen=True)
class Alternating:
    """A stream for fit() of batches.epochs rounds, each with a forget phase and a retain phase.

    A retain phase passes over retain_ratio texts to keep for each text to forget, at most over all of them; the
    next goes on where it ended. A side without texts has no phase.
    """

    batches: Batches

    @property
    def phases(self) -> tuple[Batches, ...]:
        """Return the forget-only and the retain-only stream, as far as there are texts."""
        b = self.batches
        kept = min(len(b.retain), max(1, round(b.retain_ratio * b.clock)))
        retain = replace(b, forget=(), clock=kept)
        return tuple(s for s, texts in ((replace(b, retain=()), b.forget), (retain, b.retain)) if texts)

    @property
    def steps(self) -> int:
        """Return the number of optimiser steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def step(self, number: int) -> list[Batch]:
        """Return the micro-batches of one step, from 1 to `steps`. Each has one side only, and every call
        gives the same.
        """
        lengths = [phase.steps_per_epoch for phase in self.phases]
        epoch, within = divmod(number - 1, sum(lengths))
        for phase, length in zip(self.phases, lengths, strict=True):
            if within < length:
                return phase.step(epoch * length + within + 1)
            within -= length
        raise AssertionError(number)
