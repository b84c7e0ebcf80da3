"""What is done beside the training steps, and the share of their time that it may take.

A probe of six short texts costs a small model more than a step, a checkpoint of every weight costs several. So nothing
beside the steps has a spacing in steps or seconds of its own: what the last one cost decides when the next may come.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

GENERATED = (
    # Share of the training time for probes that are generated, the first and the last not counted.
    0.05
)
# For the likelihoods of their rows.
LOOKS = 0.05
CHECKPOINTS = 0.03


@dataclass
class Clock:
    """The time since training began, split into steps and what is beside them. now: seconds, from anywhere."""

    now: Callable[[], float] = time.perf_counter
    # Of each kind, in all.
    spent: dict[str, float] = field(default_factory=dict)
    # And the last time.
    last: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.now()

    @property
    def trained(self) -> float:
        """Seconds that the steps took so far."""
        return self.now() - self.began - sum(self.spent.values())

    @contextlib.contextmanager
    def beside(self, kind: str) -> Iterator[None]:
        """What happens within it is no step, and of this kind."""
        start = self.now()
        try:
            yield
        finally:
            self.last[kind] = self.now() - start
            self.spent[kind] = self.spent.get(kind, 0.0) + self.last[kind]

    def affords(self, kind: str, share: float, cost: float | None = None) -> bool:
        """Whether one more of this kind stays within the share of the time trained so far, if it costs as the last."""
        if cost is None:
            cost = self.last.get(kind, 0.0)
        return self.spent.get(kind, 0.0) + cost <= share * self.trained
