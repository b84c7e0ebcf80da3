"""This module multiplies float32 matrices on a CPU with the faster of torch's two libraries for it.

torch gives them to its BLAS, mostly MKL, which keeps to half the register width on some processors of another make than
Intel's. oneDNN, the library of its bfloat16 products, does not. What that is worth differs from machine to machine: on
one AMD EPYC oneDNN took half the time, on another MKL was as fast (bench/products measures it where it runs). They
round differently, in the last bits only. So which is faster is tried once a process, and recorded with each run
(library()), so that going on with a run, or doing it again, takes the same one (use()); UNLEARN_PRODUCTS (blas, onednn)
has the last word.

oneDNN writes machine code for each shape it meets, and keeps it: half a millisecond and half a megabyte a shape. The
number of tokens differs from step to step, so it is rounded up to one of a few (rows()): here by rows of zeros, in
unlearn/compute/packing.py by tokens that nobody reads, for bfloat16 as well.

adopt() lets the linear layers of a loaded model multiply so. Models that are trained from nothing are left alone: what
ships was made with torch's own products and is compared to the bit.
"""

import os
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from unlearn.compute import private
from unlearn.compute.lazy import Model
from unlearn.compute.protocols import Context

LIBRARIES = ("blas", "onednn")
# A product with fewer multiplications always uses BLAS, because the choice costs more than it gains.
LEAST = 2**20
# oneDNN is chosen if it is this many times as fast.
GAIN = 1.25
# So many different numbers of rows are used between a power of two and the next one.
SHAPES = 16
# Two of these numbers of rows differ by at least this.
FEWEST = 8


def rows(count: int, like: Tensor) -> int:
    """Return how many rows are computed where `count` are needed. oneDNN and narrow types round the count up
    to one of few numbers.
    """
    narrow = like.dtype in (torch.bfloat16, torch.float16)
    if count == 0 or like.device.type != "cpu" or not (narrow or library() == "onednn"):
        return count
    step = max(FEWEST, 2 ** (count.bit_length() - 1) // SHAPES)
    return -(-count // step) * step


def padded(x: Tensor) -> Tensor:
    """Return x [n, k], followed by rows of zeros where rows(n) is more than n."""
    extra = rows(len(x), x) - len(x)
    return F.pad(x, (0, 0, 0, extra)) if extra else x


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return the product a @ b as [n, m] for a [n, k] and b [k, m]."""
    return linear(a, b.T)


def outer(g: Tensor, x: Tensor) -> Tensor:
    """Return gᵀ x as [m, k] for g [n, m] and x [n, k]: the gradient of a linear layer's weights. Not
    differentiable.
    """
    if not _fits(g, x.T):
        return g.T @ x
    right = padded(x)
    left = g.T if right is x else F.pad(g.T, (0, len(right) - len(g)))
    return _onednn(left, right.T, None)


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x wᵀ + bias as [..., m] for x [..., k] and w [m, k] of any strides."""
    if not _fits(x, w):
        return F.linear(x, w, bias)
    flat = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    moves = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, w, bias))
    y = _Linear.apply(flat, w, bias) if moves else _rounded(flat, w, bias)
    return y if x.dim() == 2 else y.view(*x.shape[:-1], -1)


def adopt(model: Model) -> Model:
    """Return the same model, whose linear layers use the faster library wherever possible. Weights and names
    stay as they are.
    """
    from transformers.pytorch_utils import Conv1D

    kinds = {nn.Linear: Linear, Conv1D: _conv1d()}
    for module in model.modules():
        if type(module) in kinds and not private.brought(module):
            module.__class__ = kinds[type(module)]
    return model


def is_plain(layer: object) -> bool:
    """Return whether the layer is nn.Linear, or the class that adopt() makes of it, and computes only x wᵀ +
    bias.
    """
    return type(layer) in (nn.Linear, Linear)


class Linear(nn.Linear):
    """An nn.Linear whose products use the faster library."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output [..., out] for x [..., in]."""
        return linear(x, self.weight, self.bias)


@cache
def _conv1d() -> type:
    from transformers.pytorch_utils import Conv1D

    class Turned(Conv1D):
        """GPT-2's linear layer, whose weight is [in, out]."""

        def forward(self, x: Tensor) -> Tensor:
            w = self.weight.T
            return linear(x, w, self.bias) if _fits(x, w) else super().forward(x)

    return Turned


class _Linear(torch.autograd.Function):
    """x [n, in], w [out, in], bias [out] or None: [n, out]."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, w)
        return _rounded(x, w, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, g: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        for_x = matmul(g, w) if ctx.needs_input_grad[0] else None
        for_w = outer(g, x) if ctx.needs_input_grad[1] else None
        return for_x, for_w, g.sum(0) if ctx.needs_input_grad[2] else None


def _fits(x: Tensor, w: Tensor) -> bool:
    """Whether oneDNN takes x [..., k] wᵀ [k, m], and is worth being asked."""
    kind = x.dtype == w.dtype == torch.float32 and x.device.type == w.device.type == "cpu"
    large = kind and x.numel() * w.shape[0] >= LEAST
    return large and not torch.is_autocast_enabled("cpu") and library() == "onednn"


def _rounded(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """x wᵀ + bias, with as many rows computed as rows() says; no view where none is needed: autograd adds into it."""
    y = _onednn(padded(x), w, bias)
    return y if len(y) == len(x) else y[: len(x)]


def _onednn(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """x wᵀ + bias for factors of any strides; asked for where library() is "onednn" alone."""
    linear = private.onednn_linear()
    assert linear is not None, "library() asks for it"
    return linear(x, w, bias)


def use(name: str | None) -> str:
    """Use this library for products from now on, as an earlier run did. None selects the faster one. Returns
    the library in use.

    That is torch's own way where this build lacks oneDNN, and UNLEARN_PRODUCTS has the last word. It holds for the
    whole process: whoever goes on with a recorded run calls it before the first product.
    """
    global _recorded
    if name is not None and name not in LIBRARIES:
        raise ValueError(f"products must be among {', '.join(LIBRARIES)}, got {name!r}.")
    _recorded = name
    library.cache_clear()
    return library()


_recorded: str | None = None


@cache
def library() -> str:
    """Return "onednn" where it exists and is faster at a feed-forward layer's product, else "blas", which is
    torch's usual way.
    """
    chosen = os.environ.get("UNLEARN_PRODUCTS")
    if chosen and chosen not in LIBRARIES:
        raise ValueError(f"UNLEARN_PRODUCTS must be among {', '.join(LIBRARIES)}, got {chosen!r}.")
    there = private.onednn_linear() is not None
    if chosen == "onednn" and not there:
        raise ValueError(
            "UNLEARN_PRODUCTS is onednn, which this build of torch lacks; unset it, or choose blas."
        )
    if chosen or _recorded or not there:
        return chosen or (_recorded if _recorded and there else "blas")
    with torch.inference_mode():
        x, w = (torch.ones(shape, device="cpu") for shape in ((256, 256), (1024, 256)))
        laps = [(_seconds(F.linear, x, w, None), _seconds(_onednn, x, w, None)) for _ in range(6)]
    own, other = (min(column) for column in zip(*laps, strict=True))
    return "onednn" if own >= GAIN * other else "blas"


def _seconds(product: Callable[..., Tensor], *args: Tensor | None) -> float:
    start = time.perf_counter()
    product(*args)
    return time.perf_counter() - start
