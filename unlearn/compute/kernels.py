"""This module uses a faster kernel where one is installed: liger-kernel's cross-entropy on CUDA.

    pip install "liger-kernel==0.8.5"

It covers one case: -log p(label) under a head that does not move (an adapter's). Its gradient is asked for with one for
each token and scaled here, because releases differ in what they do with anything else: some read the first token's
upstream value for all. For the same reason a head that moves stays with our own code. Without the package nothing
changes.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unlearn.compute.protocols import Context

# liger-kernel's kernels run on these devices.
DEVICES = ("cuda",)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@cache
def liger() -> Callable[..., Tensor] | None:
    """Return liger-kernel's function of (states [T, d], matrix [V, d], labels [T]), or None where the package
    is missing.
    """
    # An installed liger-kernel raises RuntimeError where its own requirement (triton) is missing.
    try:
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy
    except (ImportError, RuntimeError):
        return None
    return liger_fused_linear_cross_entropy


def _fused() -> Callable[..., Tensor]:
    function = liger()
    assert function is not None, "covers() is asked first"
    return function


def covers(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Return whether frozen_cross_entropy() can replace head.cross_entropy() without a target."""
    moves = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (weight, bias))
    fits = hidden.device.type in DEVICES and hidden.dtype == weight.dtype and hidden.dtype in DTYPES
    return fits and not moves and len(hidden) > 0 and liger() is not None


def frozen_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """Return -log p(label) for each token [T] in float32. Only the states [T, d] get a gradient."""
    return _Frozen.apply(hidden, weight, bias, labels, torch.is_grad_enabled() and hidden.requires_grad)


class _Frozen(torch.autograd.Function):
    """The gradient for an upstream of one, taken in the forward pass; backward() scales its rows."""

    @staticmethod
    def forward(
        ctx: Context, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, graph: bool
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
    def backward(ctx: Context, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return slope * upstream[:, None].to(slope.dtype), None, None, None, None
