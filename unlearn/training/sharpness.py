"""Sharpness-aware minimisation (SAM) of the forget term: Foret et al. 2021, for unlearning Fan et al. 2025.

    ε = ρ g / ‖g‖,   g = ∇ forget(θ);      a step takes   ∇ forget(θ + ε) + ∇ rest(θ)

What is forgotten at θ alone comes back after a small change of the weights; here it is forgotten in a whole ball around
them (arXiv 2502.05374). The forget texts are read twice and the weights that move are held twice, for no other way to
come back to θ is exact. A term belongs to the forget side by its name (Method.forget_terms).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from unlearn.compute.lazy import Tensor, no_grad, torch
from unlearn.compute.tokens import Batch
from unlearn.training import processes

Loss = Callable[[Batch], Mapping[str, Tensor]]


@dataclass
class Pass:
    """What the micro-batches of a step gave: the sums of the loss's terms by name, and the tokens that were read."""

    sums: dict[str, float] = field(default_factory=dict)
    tokens: int = 0

    @property
    def finite(self) -> bool:
        """Return whether every sum is finite."""
        return all(map(math.isfinite, self.sums.values()))

    def take(self, loss: Loss, batch: Batch, told: bool = True, names: Callable[[str], bool] = bool) -> bool:
        """Add the gradient of the terms with these names on one micro-batch. Return whether there was such a term,
        and it was finite. told: whether their values count as the step's.
        """
        self.tokens += batch.tokens
        terms = {name: value for name, value in loss(batch).items() if names(name)}
        for name, value in processes.summed(terms).items() if told else ():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if terms and self.finite:
            torch.stack(list(terms.values())).sum().backward()
        return bool(terms) and self.finite


def plain(loss: Loss, micros: Sequence[Batch], found: Pass) -> None:
    """Add the gradient of all terms over the micro-batches of a step. It ends at a term that is not finite."""
    for batch in micros:
        if not found.take(loss, batch):
            break


@dataclass(frozen=True)
class Sharpness:
    """SAM with this radius ρ, for a loss whose terms of these names forget."""

    radius: float
    forgets: tuple[str, ...]

    def batches(self, micros: Sequence[Batch]) -> Iterator[Batch]:
        """Yield the batches that a step reads at the weights themselves: the forget texts, then those to keep."""
        for batch in micros:
            if batch.forget is not None:
                yield replace(batch, retain=None)
        yield from self._keeping(micros)

    def _keeping(self, micros: Sequence[Batch]) -> Iterator[Batch]:
        for batch in micros:
            if batch.retain is not None:
                # A loss may ask for both sides, so the shortest forget text stands for its own.
                yield (
                    batch
                    if batch.forget is None
                    else replace(batch, forget=batch.forget.pick([_shortest(batch)]))
                )

    def add(
        self,
        loss: Loss,
        micros: Sequence[Batch],
        found: Pass,
        moving: Sequence[Tensor],
        before_move: Callable[[], None],
    ) -> None:
        """Add the gradient of a step to that of the weights that move, which are afterwards what they were.

        before_move: called before they change. A step without a forget term gets its plain gradient. It ends at a term
        that is not finite.
        """
        forgetting = [replace(batch, retain=None) for batch in micros if batch.forget is not None]
        if not forgetting:
            return plain(loss, micros, found)
        for batch in forgetting:
            if not found.take(loss, batch, names=self.forgets.__contains__):
                return plain(loss, micros, found) if found.finite else None
        self._uphill(loss, forgetting, found, moving, before_move)
        for batch in self._keeping(micros):
            found.take(loss, batch, names=lambda name: name not in self.forgets)
            if not found.finite:
                break
        return None

    def _uphill(
        self,
        loss: Loss,
        forgetting: Sequence[Batch],
        found: Pass,
        moving: Sequence[Tensor],
        before_move: Callable[[], None],
    ) -> None:
        """Put the forget term's gradient at θ + ε in the place of that at θ."""
        norm = processes.whole(torch.nn.utils.clip_grad_norm_(moving, math.inf))
        if not math.isfinite(norm):
            # The loop finds it in the step's own gradient, and says so.
            return
        before_move()
        theta = [parameter.detach().clone() for parameter in moving]
        try:
            _climb(moving, self.radius / norm if norm else 0.0)
            for batch in forgetting:
                found.take(loss, batch, told=False, names=self.forgets.__contains__)
        finally:
            _restore(moving, theta)


@no_grad
def _climb(moving: Sequence[Tensor], scale: float) -> None:
    for parameter in moving:
        if parameter.grad is not None:
            parameter.add_(parameter.grad, alpha=scale)
            parameter.grad = None


@no_grad
def _restore(moving: Sequence[Tensor], theta: Sequence[Tensor]) -> None:
    for parameter, value in zip(moving, theta, strict=True):
        parameter.copy_(value)


def _shortest(batch: Batch) -> int:
    assert batch.forget is not None
    lengths = batch.forget.attention_mask.sum(1).tolist()
    return lengths.index(min(lengths))
