"""All private hooks of torch, transformers and accelerate are in this module. Each one has a public way as
its replacement.

A name that begins with an underscore may go with the next release. So each hook is tried once a process; where it is
missing, raises, or gives something else than the public way, the function here says so (None or False) and the caller
takes plain torch: slower, and equal in its results.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

BROKEN = (AttributeError, ImportError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


@cache
def onednn_linear() -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """Return oneDNN's float32 function of x [n, k], w [m, k] and bias [m] or None that gives x wᵀ + bias. The
    result is None where torch does not offer it.

    It is the name that torch's compiler uses. Obsolete once torch lets a program choose the library of its products.
    """

    def product(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, w, bias, "none", [], "")

    generator = torch.Generator().manual_seed(0)
    x, w, bias = (torch.randn(s, generator=generator, device="cpu") for s in ((16, 24), (8, 24), (8,)))
    with contextlib.suppress(*BROKEN), torch.no_grad():
        pairs = [(product(x, w, b), F.linear(x, w, b)) for b in (None, bias)]
        turned = (product(x, w.T.contiguous().T, None), F.linear(x, w))
        if torch.backends.mkldnn.is_available() and all(near(a, b) for a, b in (*pairs, turned)):
            return product
    return None


def softmax_backward(grad: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient of a softmax over the last dimension in its input, for the softmax itself and the gradient
    in it. Both are float32.

    It is the one operation that autograd calls. Obsolete once torch has a public name for it.
    """
    kernel = _softmax_kernel()
    if kernel is not None:
        return kernel(grad, weights)
    inner = grad * weights
    return inner - weights * inner.sum(-1, keepdim=True)


@cache
def _softmax_kernel() -> Callable[[Tensor, Tensor], Tensor] | None:
    def kernel(grad: Tensor, weights: Tensor) -> Tensor:
        return torch.ops.aten._softmax_backward_data(grad, weights, -1, weights.dtype)

    with contextlib.suppress(*BROKEN), torch.enable_grad():
        x = torch.linspace(-1, 1, 12, device="cpu").view(3, 4).requires_grad_()
        weights, grad = x.softmax(-1), torch.linspace(2, -1, 12, device="cpu").view(3, 4)
        (wanted,) = torch.autograd.grad(weights, x, grad)
        if near(kernel(grad, weights.detach()), wanted):
            return kernel
    return None


def near(found: Tensor, wanted: Tensor) -> bool:
    """Return whether two float32 results differ only by rounding."""
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)


def backward_pass() -> int | None:
    """Return the number of the backward pass that runs now, or None where torch does not tell it.

    Obsolete once a hook may ask torch publicly for the pass that it is called in.
    """
    task = _task() if _tells_its_passes() else -1
    return None if task < 0 else task


def _task() -> int:
    return torch._C._current_graph_task_id()


@cache
def _tells_its_passes() -> bool:
    """Whether two passes have two numbers, two hooks of one pass the same, and what runs around them its own."""
    seen: list[int] = []

    def look(grad: Tensor) -> Tensor:
        with contextlib.suppress(*BROKEN):
            seen.append(_task())
        return grad

    try:
        around = _task()
        with torch.enable_grad():
            for _ in range(2):
                x = torch.ones(1, requires_grad=True, device="cpu")
                y = x * 1
                x.register_hook(look)
                y.register_hook(look)
                torch.autograd.grad(y, x, torch.ones_like(y))
        told = len(seen) == 4 and all(type(number) is int and number >= 0 for number in seen)
        return told and seen[0] == seen[1] != seen[2] == seen[3] and around == _task() not in seen
    except BROKEN:
        return False


def watched(module: torch.nn.Module) -> bool:
    """Return whether a hook reads or changes the inputs or outputs of the module. The result is True where
    torch does not tell it.

    Whoever takes a module apart (its weight alone) asks first. Obsolete once torch has a public question for it.
    """
    try:
        return bool(module._forward_hooks or module._forward_pre_hooks or brought(module))
    except BROKEN:
        return True


def brought(module: object) -> bool:
    """Return whether accelerate moves the module's weights to their device at each call."""
    return hasattr(module, "_hf_hook")


def device_of_call(module: object) -> torch.device | None:
    """Return the device to which accelerate moves the module's weights for a call, or None for a module
    without accelerate.
    """
    hook = getattr(module, "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    return None if device is None else torch.device(device)


def attention(config: object) -> str | None:
    """Return the name of the attention function that a model of this config uses, or None where transformers
    does not tell it.
    """
    name = getattr(config, "_attn_implementation", None)
    return name if isinstance(name, str) else None


@contextlib.contextmanager
def attention_named(config: "PreTrainedConfig", name: str) -> Iterator[None]:
    """Let the model use the attention function of this name within the `with` block. RuntimeError where that
    cannot be set.

    model.set_attn_implementation is the public way, but it asks a hub for names that it does not know, warns, and walks
    through all modules: too slow for each pass. Obsolete once it can be set for a pass.
    """
    own = attention(config)
    if own is None:
        raise RuntimeError("the config names no attention function")
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = own


def register_attention(name: str, function: Callable[..., object]) -> Callable[..., tuple[Tensor, None]]:
    """Register an attention function in transformers under this name, with a mask function that makes no
    mask. Returns transformers' own "sdpa" function.

    RuntimeError where this release keeps its functions elsewhere.
    """
    try:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        # No mask is needed, because attention is causal and nothing else is hidden.
        if name not in ALL_ATTENTION_FUNCTIONS:
            ALL_ATTENTION_FUNCTIONS.register(name, function)
            ALL_MASK_ATTENTION_FUNCTIONS.register(name, lambda *_, **__: None)
    except BROKEN as error:
        raise RuntimeError("this release of transformers keeps its attention functions elsewhere") from error
    return sdpa_attention_forward


_leave_adapters: ContextVar[bool] = ContextVar("leave_adapters", default=False)


@contextlib.contextmanager
def adapters_left_aside() -> Iterator[None]:
    """Let from_pretrained load the model of a folder or hub id alone within the `with` block, whatever adapter lies
    beside it. RuntimeError where this release looks for adapters elsewhere.

    Obsolete once from_pretrained can be told so: it takes any adapter_config.json that it finds.
    """
    _ask_before_adapters()
    token = _leave_adapters.set(True)
    try:
        yield
    finally:
        _leave_adapters.reset(token)


@cache
def _ask_before_adapters() -> None:
    from transformers.integrations import peft
    from transformers.models.auto import auto_factory

    places: tuple[Any, ...] = (peft, auto_factory)
    for place in places:
        find = getattr(place, "find_adapter_config_file", None)
        if find is None:
            raise RuntimeError("this release of transformers looks for adapters elsewhere")
        place.find_adapter_config_file = _asking(find)


def _asking(find: Callable[..., str | None]) -> Callable[..., str | None]:
    return lambda *args, **kwargs: None if _leave_adapters.get() else find(*args, **kwargs)


def allocations(seen: Any) -> list[int] | None:
    """Return the bytes of each allocation of a finished profile, in order of time. A release counts below 0.
    The result is None where torch does not tell it.

    The public events of a profile leave out what lies within an operation. Obsolete once they do not.
    """
    try:
        events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
        return [int(e.nbytes()) for e in sorted(events, key=lambda e: e.start_ns())]
    except BROKEN:
        return None
