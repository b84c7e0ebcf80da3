"""Kernels of others where they serve: liger-kernel's fused cross-entropy on CUDA, an optional extra.

    pip install "liger-kernel==0.8.5"

It covers one case: -log p(label) under a head that does not move (an adapter's). Its gradient is asked for with one for
each token and scaled here, because releases differ in what they do with anything else: some read the first token's
upstream value for all. For the same reason a head that moves stays with our own code. Without the package nothing
changes.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Where its kernels run.
DEVICES = ("cuda",)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@cache
def liger() -> Callable[..., Tensor] | None:
    """Its function of (states [T, d], matrix [V, d], labels [T]), or None where the package is not there."""
    try:
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy
    # Also where its own needs (triton) are missing.
    except (ImportError, RuntimeError):
        return None
    return liger_fused_linear_cross_entropy


def _fused() -> Callable[..., Tensor]:
    function = liger()
    assert function is not None, "covers() is asked first"
    return function


def covers(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether frozen_cross_entropy() may stand in for head.cross_entropy() without a target."""
    moves = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (weight, bias))
    fits = hidden.device.type in DEVICES and hidden.dtype == weight.dtype and hidden.dtype in DTYPES
    return fits and not moves and len(hidden) > 0 and liger() is not None


def frozen_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """[T] -log p(label) in float32, with a gradient in the states [T, d] alone."""
    return _Frozen.apply(hidden, weight, bias, labels, torch.is_grad_enabled() and hidden.requires_grad)


class _Frozen(torch.autograd.Function):
    """The gradient for an upstream of one, taken in the forward pass; backward() scales its rows."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, graph: bool
    ) -> Tensor:
        fixed = None if bias is None else bias.detach()
        with torch.set_grad_enabled(graph):
            states = hidden.detach().requires_grad_(graph)
            values = _fused()(states, weight.detach(), labels, bias=fixed, reduction="none")
            if graph:
                ctx.save_for_backward(torch.autograd.grad(values, states, torch.ones_like(values))[0])
        return values.detach().float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return slope * upstream[:, None].to(slope.dtype), None, None, None, None
