"""This module limits the work beside the training steps to a share of their time.

A probe of six short texts costs a small model more than a step, a checkpoint of every weight costs several. So nothing
beside the steps has a spacing in steps or seconds of its own: what the last one cost decides when the next may come.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

# The share of the training time for generated probes, without the first and the last. At most 0.05 is asked for.
GENERATED = 0.03
# The share of the training time for the likelihoods of the probes' rows, of which at most 0.05 is asked for too: each
# look takes fewer rows then, and there are as many.
LOOKS = 0.03
CHECKPOINTS = 0.03
# The share of the training for what a stop rule reads, by count of tokens (unlearn.measure.watch).
WATCHED = 0.10


@dataclass
class Clock:
    """The time since training began, split into the steps and the work beside them. now: a function that
    returns seconds. now: seconds, from anywhere.
    """

    now: Callable[[], float] = time.perf_counter
    # {kind of work: seconds it took in all}.
    spent: dict[str, float] = field(default_factory=dict)
    # {kind of work: seconds it took the last time}.
    last: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.now()

    @property
    def trained(self) -> float:
        """Return the seconds that the steps took so far."""
        return self.now() - self.began - sum(self.spent.values())

    @contextlib.contextmanager
    def beside(self, kind: str) -> Iterator[None]:
        """Count the time of the `with` block as work of this kind and not as a step."""
        start = self.now()
        try:
            yield
        finally:
            self.spend(kind, self.now() - start)

    def spend(self, kind: str, seconds: float) -> None:
        """Count seconds that went by beside the steps as work of this kind and not as steps."""
        self.last[kind] = seconds
        self.spent[kind] = self.spent.get(kind, 0.0) + seconds

    def affords(self, kind: str, share: float, cost: float | None = None) -> bool:
        """Return whether one more work of this kind stays within this share of the time trained so far. It is
        assumed to cost as much as the last one.
        """
        if cost is None:
            cost = self.last.get(kind, 0.0)
        return self.spent.get(kind, 0.0) + cost <= share * self.trained
