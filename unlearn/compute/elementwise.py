"""Norms and rotated positions of a block in fewer passes over its states than autograd makes for them.

On a CPU a block of a small model spends a third of its time beside its products, reading and writing states once for
each step of a formula. Here RMSNorm and the rotation of queries and keys have one forward and one backward function
each, with the same operations in the same order, that make no copy, no zeros and no sum of three where two do.

adopt() gives them to the norms of a loaded model, and to the module that its attention rotates in. What another
architecture computes under the same name is found out by trying, and left alone.
"""

import contextlib
import sys
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unlearn.compute import packing, private
from unlearn.compute.lazy import Model
from unlearn.compute.protocols import Context
from unlearn.compute.states import blocks

# The parts of a block that is attention and feed-forward, each behind a norm and beside a residual.
PARTS = dict.fromkeys(("self_attn", "input_layernorm", "post_attention_layernorm", "mlp")).keys()
# The function that a module of transformers rotates its queries and keys by.
ROTATION = "apply_rotary_pos_emb"


def adopt(model: Model) -> Model:
    """Return the same model, whose norms and rotations are computed as above wherever that gives what they gave."""
    for module in model.modules():
        own: Any = type(module)
        if (kind := _norm(own)) is not None and not private.brought(module):
            module.__class__ = kind
    for place in {type(module).__module__ for module in model.modules()}:
        _turn(place)
    with contextlib.suppress(ValueError):
        last = blocks(model)[-1]
        if dict(last.named_children()).keys() == PARTS and not private.brought(last):
            own = type(last)
            last.__class__ = _reading(own)
    return model


@cache
def _norm(own: type[Any]) -> type[Any] | None:
    """The class that computes the same as this one, or None where it is no RMSNorm or already that class."""
    if not own.__name__.endswith("RMSNorm") or _Lean in own.__mro__:
        return None
    kind = type(own.__name__, (_Lean, own), {})
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 8, generator=generator, device="cpu")
    with torch.no_grad():
        try:
            usual = own(8, eps=1e-3).to("cpu")
            usual.weight.copy_(torch.linspace(0.5, 2.0, 8, device="cpu"))
            wanted = usual(x), usual(x.bfloat16())
            usual.__class__ = kind
            found = usual(x), usual(x.bfloat16())
        except private.BROKEN:
            return None
    same = all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(found, wanted, strict=True))
    return kind if same else None


class _Lean:
    """What comes before an RMSNorm's own class."""

    weight: nn.Parameter
    variance_epsilon: float

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised states [..., d]."""
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(x)  # type: ignore[misc]  # the class is made when it runs
        if not torch.is_grad_enabled():
            # A position of a continuation has few numbers, so that autograd's own work is a quarter of a norm's.
            return self.weight * _even(x, self.variance_epsilon)[0]
        return _RMSNorm.apply(x, self.weight, self.variance_epsilon)


def _even(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """x r(x) in the type of x, and r(x)."""
    wide = x.float()
    root = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return (wide * root).to(x.dtype), root


class _RMSNorm(torch.autograd.Function):
    """w x r(x), r(x) = (mean x² + ε)^-½ in float32; the rest in the type of x."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, w: Tensor, epsilon: float) -> Tensor:
        even, root = _even(x, epsilon)
        ctx.save_for_backward(x, w, root, even if ctx.needs_input_grad[1] else None)
        return w * even

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w, root, even = ctx.saved_tensors
        for_w = None
        if ctx.needs_input_grad[1]:
            for_w = (grad * even).sum(tuple(range(grad.dim() - 1)))
        if not ctx.needs_input_grad[0]:
            return None, for_w, None
        # Not yet cut to the type of x, in which autograd has it too.
        slope, wide = (grad * w).float(), x.float()
        inner = (slope * wide).sum(-1, keepdim=True)
        inner = -0.5 * inner * root.pow(3) / x.shape[-1] * 2
        return slope.mul_(root).add_(wide * inner).to(x.dtype), for_w, None


class Reading:
    """What comes before the class of a last block, of whose states only those are computed that somebody asks for.

    Behind its attention each token is for itself. Whether that gives what the block's own class gives is found out by
    trying (unlearn/compute/together.py).
    """

    def forward(self, hidden_states: Tensor, **options: Any) -> Any:
        """Return the states of all tokens, or of those that the layout of the pass asks for."""
        layout = packing.current()
        if layout is None or layout.read is None:
            return super().forward(hidden_states, **options)  # type: ignore[misc]  # the class is made when it runs
        parts: dict[str, Any] = dict(cast(nn.Module, self).named_children())
        attention, norm, second, feed = (parts[name] for name in PARTS)
        seen = attention(hidden_states=norm(hidden_states), **options)[0]
        states = hidden_states.index_select(1, layout.read) + seen.index_select(1, layout.read)
        return states + feed(second(states))


@cache
def _reading(own: type[Any]) -> type[Any]:
    """The class of a last block with this class of its own."""
    return own if issubclass(own, Reading) else type(own.__name__, (Reading, own), {})


def _turn(place: str) -> None:
    """Let the attention of this module of transformers rotate by one function, where it does what its own does."""
    module = sys.modules.get(place)
    own = vars(module).get(ROTATION) if module is not None and place.startswith("transformers.") else None
    if own is not None and not hasattr(own, "__wrapped__") and _turns_alike(own):
        setattr(module, ROTATION, _turning(own))


def _turns_alike(own: Callable[..., Any]) -> bool:
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, heads, 3, 8, generator=generator, device="cpu") for heads in (2, 1))
    angles = torch.linspace(0, 3, 24, device="cpu").view(1, 3, 8)
    cos, sin = angles.cos(), (1.7 * angles).sin()
    try:
        wanted = own(q, k, cos, sin)
        found = [_Rotated.apply(x, cos.unsqueeze(1), sin.unsqueeze(1)) for x in (q, k)]
        return all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    except private.BROKEN:
        return False


def _turning(own: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(own)
    def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *more: Any, **named: Any) -> Any:
        usual = more or named or cos.requires_grad or cos.dim() != 3 or cos.shape[-1] != q.shape[-1]
        # What is not packed is somebody else's pass, or one position of a continuation.
        if (
            usual
            or packing.current() is None
            or q.device.type != "cpu"
            or not q.dtype == k.dtype == cos.dtype
        ):
            return own(q, k, cos, sin, *more, **named)
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return _Rotated.apply(q, cos, sin), _Rotated.apply(k, cos, sin)

    return rotate


class _Rotated(torch.autograd.Function):
    """x cos + (-x₂, x₁) sin for the halves x₁ and x₂ of the last dimension; its gradient turns the other way."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, *_halves(sin))

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        low, high = _halves(sin)
        return _turned(grad, cos, -high, -low), None, None


def _turned(x: Tensor, cos: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """x cos + (-x₂ low, x₁ high), in one new tensor."""
    first, second = _halves(x)
    turned = x * cos
    one, two = _halves(turned)
    one.sub_(second * low)
    two.add_(first * high)
    return turned


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]
