"""An AdamW that needs half the memory: each gradient is taken inside the backward pass, and moments have 16 bits.

The usual way holds every gradient until the last is there. Here a weight is updated as soon as its own gradient is
whole, and the gradient is let go at once; so nothing can look at all of them together, such as a limit on their
common norm. The moments are kept in bfloat16, whose steps are 2⁻⁸ of a value. The second moment changes by 2⁻¹⁰ a step:
rounded to the nearest it would stay where it is for ever. So it is rounded up or down by a threshold that runs evenly
through all values from step to step (the multiples of the golden ratio), which is right on average and needs no random
numbers.

Obsolete once torch's own AdamW takes moments of a narrower type (bitsandbytes' needs a GPU).
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

# So many numbers are worked on together that they stay in a core's cache.
BLOCK = 2**16
GOLDEN = (math.sqrt(5) - 1) / 2
BETAS = (0.9, 0.999)
EPS = 1e-8


def narrowed(values: Tensor, step: int) -> Tensor:
    """Return float32 values as bfloat16, rounded up or down by the step's own threshold.

    Over many steps each value is rounded up as often as it is nearer to the upper neighbour.
    """
    threshold = int((step * GOLDEN) % 1.0 * 2**16)
    return ((values.view(torch.int32) + threshold) >> 16).to(torch.int16).view(torch.bfloat16)


class LeanAdamW(torch.optim.Optimizer):
    """AdamW without weight decay whose two moments are bfloat16. within_backward() lets go of the gradients."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # there is no second pass to return a loss of
        """Update every weight that has a gradient. closure is not supported, it must be None."""
        assert closure is None, "the loss is computed once"
        for weight in self.weights:
            if weight.grad is not None:
                self.update(weight)

    @property
    def weights(self) -> list[Tensor]:
        """Return all weights that it moves."""
        return list(self.param_groups[0]["params"])

    @torch.no_grad()
    def update(self, weight: Tensor) -> None:
        """Update one weight from its gradient.

        m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  w ← w - lr m̂ / (√v̂ + ε), with m̂ and v̂ divided by 1 - βᵗ.
        """
        assert weight.grad is not None, "there is nothing to update from"
        state, lr = self.state[weight], float(self.param_groups[0]["lr"])
        if not state:
            # It is read at each step, so it stays on the host.
            state["step"] = torch.tensor(0.0, device="cpu")
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(weight, dtype=torch.bfloat16)
        state["step"] += 1
        step = int(state["step"])
        first, second = (1 - beta**step for beta in BETAS)
        rows = max(1, BLOCK // max(1, weight[:1].numel())) if weight.dim() else 1
        tensors = (torch.atleast_1d(x) for x in (weight, weight.grad, state["exp_avg"], state["exp_avg_sq"]))
        for w, g, kept_m, kept_v in zip(*(x.split(rows) for x in tensors), strict=True):
            g = g.float()
            m = kept_m.float().lerp_(g, 1 - BETAS[0])
            v = kept_v.float().mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
            kept_m.copy_(narrowed(m, step))
            kept_v.copy_(narrowed(v, step))
            way = m.div_(v.div_(second).sqrt_().add_(EPS))
            w.add_(way.to(w.dtype), alpha=-lr / first)

    @contextlib.contextmanager
    def within_backward(self, before: Callable[[], None]) -> Iterator["Taken"]:
        """Within the `with` block update each weight inside the backward pass that completes its gradient.

        before: called before the first update of a pass.
        """
        taken = Taken(self, before)
        handles = [weight.register_post_accumulate_grad_hook(taken.take) for weight in self.weights]
        try:
            yield taken
        finally:
            for handle in handles:
                handle.remove()


class Taken:
    """What the updates of one backward pass saw: the norm of all gradients, which nobody holds any more."""

    def __init__(self, optimizer: LeanAdamW, before: Callable[[], None]) -> None:
        self.optimizer, self.before = optimizer, before
        self._squares: Tensor | None = None

    @torch.no_grad()
    def take(self, weight: Tensor) -> None:
        """Update the weight and let its gradient go. After a gradient that is not finite nothing is updated."""
        assert weight.grad is not None, "the hook comes after the gradient"
        norm = torch.linalg.vector_norm(weight.grad, dtype=torch.float32)
        if self._squares is None:
            self.before()
            self._squares = torch.zeros((), device="cpu")
        self._squares += norm.square().cpu()
        if torch.isfinite(self._squares):
            self.optimizer.update(weight)
        weight.grad = None

    def norm(self) -> float:
        """Return the norm of all gradients of the pass, and begin to count the next."""
        squares, self._squares = self._squares, None
        return 0.0 if squares is None else math.sqrt(squares)
