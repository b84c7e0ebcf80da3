"""A LoRA layer that computes its part in three small products, without a wide tensor of its own.

y = x Wᵀ + s (x Aᵀ) Bᵀ. PEFT widens x to the adapter's float32, and makes, scales and adds a result of the layer's width
in float32: in a bfloat16 model on a CPU that costs more than the layer itself. Here A and B are brought to the layer's
type (the float32 values stay the ones that the optimiser moves), the product is added in place, and the backward pass
keeps x and x Aᵀ alone.

Obsolete once PEFT's own layer computes in the base's type without autocast (bench/upstream measures both).
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unlearn.compute import private, products
from unlearn.compute.lazy import Model
from unlearn.compute.protocols import Context


class LoraLayer(Protocol):
    """What is read and set of PEFT's LoRA layer."""

    base_layer: nn.Linear
    active_adapters: Sequence[str]
    disable_adapters: bool
    merged: bool
    training: bool
    fan_in_fan_out: bool
    lora_A: Mapping[str, nn.Linear]
    lora_B: Mapping[str, nn.Linear]
    lora_dropout: Mapping[str, nn.Module]
    lora_variant: Container[str]
    scaling: Mapping[str, float]
    forward: Callable[..., Tensor]


def lean(model: Model) -> Model:
    """Return the same model after giving its plain LoRA layers on an nn.Linear the computation described
    above. A layer that needs more than y = x Wᵀ + s (x Aᵀ) Bᵀ keeps PEFT's.
    """
    from peft.tuners.lora.layer import Linear

    kind = _kind(Linear)
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = kind
    return model


def _kind(linear: type) -> type:
    """The subclass of PEFT's layer, made once: PEFT is imported late, since the app must start without it."""
    global _made
    if _made is None:

        class LeanLinear(linear):
            """PEFT's layer, but for the arithmetic of the plain case."""

            def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
                at_rest: AtRest | None = self.__dict__.get(AT_REST)
                plain = not args and not kwargs
                # A copy of the model in another type has what rests in the old one.
                if (
                    at_rest is not None
                    and plain
                    and x.dtype == at_rest.a.dtype
                    and not torch.is_grad_enabled()
                ):
                    return at_rest(x)
                name = only_adapter(self, x) if plain else None
                if name is None:
                    return super().forward(x, *args, **kwargs)
                base = self.base_layer
                a, b = self.lora_A[name].weight, self.lora_B[name].weight
                return _AddLoRA.apply(x, base.weight, base.bias, a, b, float(self.scaling[name]))

        _made = LeanLinear
    return _made


_made: type | None = None
# The attribute of a layer that holds its AtRest.
AT_REST = "unlearn_at_rest"


@dataclass(frozen=True)
class AtRest:
    """What a plain layer computes with while its weights rest: w [out, in], a [r, in] and b [out, r] of one type."""

    w: Tensor
    bias: Tensor | None
    a: Tensor
    b: Tensor
    s: float

    def __call__(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        y = products.linear(flat, self.w, self.bias)
        y.addmm_(products.linear(flat, self.a), self.b.T, alpha=self.s)
        return y.view(*x.shape[:-1], -1)


@contextmanager
def resting(model: Model) -> Iterator[None]:
    """Let passes without gradients within the block take the adapter as it is at the block's beginning.

    What a layer has to look at and to bring to the base's type is looked at and brought once, and not for each token
    that is generated: of 210 layers that takes as long as their products. Nobody may move a weight, switch an adapter
    or watch a layer within the block.
    """
    modules = model.modules() if isinstance(model, nn.Module) and _made is not None else ()
    held = [module for module in modules if type(module) is _made]
    for module in held:
        if (at_rest := _at_rest(cast(LoraLayer, module))) is not None:
            module.__dict__[AT_REST] = at_rest
    try:
        yield
    finally:
        for module in held:
            module.__dict__.pop(AT_REST, None)


def _at_rest(layer: LoraLayer) -> AtRest | None:
    """What this layer computes with now, or None where it computes more than the plain case."""
    base = layer.base_layer
    # Weights that lie elsewhere, or in parts in several processes, are brought for each pass, and are not here now.
    elsewhere = base.weight.is_meta or type(base.weight) is not nn.Parameter
    if elsewhere or (name := only_adapter(layer, base.weight[:0])) is None:
        return None
    a, b = (part[name].weight.detach().to(base.weight.dtype) for part in (layer.lora_A, layer.lora_B))
    return AtRest(base.weight, base.bias, a, b, float(layer.scaling[name]))


def is_identity(model: Model) -> bool:
    """Return whether every adapter adds nothing, as all do until their first step: B is 0."""
    return not any(
        bool(layer.weight.detach().any())
        for module in model.modules()
        for layer in getattr(module, "lora_B", {}).values()
    )


def only_adapter(layer: LoraLayer, x: Tensor) -> str | None:
    """Return the one active adapter if the layer computes nothing but y = x Wᵀ + s (x Aᵀ) Bᵀ, else None."""
    base, names = layer.base_layer, [n for n in layer.active_adapters if n in layer.lora_A]
    if layer.disable_adapters or layer.merged or len(names) != 1 or names[0] in layer.lora_variant:
        return None
    name = names[0]
    dropout = layer.lora_dropout[name]
    silent = isinstance(dropout, nn.Identity) or not layer.training
    a, b, w = layer.lora_A[name], layer.lora_B[name], base.weight
    whole = products.is_plain(base) and not w.requires_grad
    watched = any(private.watched(m) for m in (base, a, b))
    one = x.dtype == w.dtype and x.device == w.device == a.weight.device and w.is_floating_point()
    bare = a.bias is None and b.bias is None and not layer.fan_in_fan_out
    amp = torch.is_autocast_enabled(x.device.type)
    return name if silent and whole and one and bare and not watched and not amp else None


class _AddLoRA(torch.autograd.Function):
    """x [..., in], w [out, in], bias [out] or None, a [r, in], b [out, r]: [..., out]; gradients for x, a and b."""

    @staticmethod
    def forward(
        ctx: Context, x: Tensor, w: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, s: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        down = products.matmul(flat, a.to(x.dtype).T)
        y = products.linear(flat, w, bias).addmm_(down, b.to(x.dtype).T, alpha=s)
        ctx.save_for_backward(flat, w, a, b, down)
        ctx.s, ctx.shape = s, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, g: Tensor) -> tuple[Tensor | None, ...]:
        flat, w, a, b, down = ctx.saved_tensors
        g = g.reshape(-1, g.shape[-1])
        up = products.matmul(g, b.to(g.dtype))
        for_x = for_a = for_b = None
        if ctx.needs_input_grad[0]:
            for_x = products.matmul(g, w).addmm_(up, a.to(g.dtype), alpha=ctx.s).view(ctx.shape)
        if ctx.needs_input_grad[3]:
            for_a = products.outer(up, flat).to(a.dtype).mul_(ctx.s)
        if ctx.needs_input_grad[4]:
            for_b = products.outer(g, down).to(b.dtype).mul_(ctx.s)
        return for_x, None, None, for_a, for_b, None
