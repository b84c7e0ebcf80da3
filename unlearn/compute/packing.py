"""Texts end to end in one row, each attending to itself alone: no padding runs through the model.

A padded batch spends a third of its work on padding where lengths vary from 40 to 96. Here every layer that works
token by token (which is all but attention) sees real tokens only; attention alone lays them out as [texts, longest]
for the kernel and takes them back. Nothing of the model is changed but, within one pass, the name of its attention
function. Whether a model can be read like this is found out by trying: packs() compares both ways once.
"""

import contextlib
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearn.compute import products
from unlearn.compute.states import last_states

NAME = "unlearn_packed"
_layout: ContextVar["Layout | None"] = ContextVar("layout", default=None)
_packs: "weakref.WeakKeyDictionary[Any, bool]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Layout:
    """Where the N tokens of a row stand in a [B, L] batch: place [N] is b·L + t, token [B·L] leads back (pad: any).

    Both numbers are rounded up (products.rows): the last tokens of the row repeat the first, and nobody reads them; the
    last columns of the batch are padding.
    """

    rows: int
    place: Tensor
    token: Tensor

    @property
    def length(self) -> int:
        return len(self.token) // self.rows


def layout_of(mask: Tensor, like: Tensor) -> Layout:
    """From the attention mask [B, L] of a right-padded batch. like: has the type and device of what is multiplied."""
    wide = F.pad(mask, (0, products.rows(mask.shape[1], like) - mask.shape[1]))
    place = wide.flatten().nonzero()[:, 0]
    token = (wide.flatten().cumsum(0) - 1).clamp(min=0)
    return Layout(len(mask), F.pad(place, (0, products.rows(len(place), like) - len(place))), token)


def packed_inputs(input_ids: Tensor, layout: Layout) -> dict[str, Any]:
    """What the model is called with inside attending(): one row of N tokens, positions starting anew with each text.

    input_ids: [B, L] as in the mask that the layout is of; every text has its first token.
    """
    row, column = layout.place // layout.length, layout.place % layout.length
    return {"input_ids": input_ids[row, column][None], "attention_mask": None, "position_ids": column[None]}


@contextlib.contextmanager
def attending(config: Any, layout: Layout | None) -> Iterator[None]:
    """Within it the model's attention keeps the texts of this layout apart; None changes nothing."""
    if layout is None:
        yield
        return
    _register()
    own, token = config._attn_implementation, _layout.set(layout)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = own
        _layout.reset(token)


def current() -> Layout | None:
    """The layout of the pass that runs now."""
    return _layout.get()


def packs(model: Any) -> bool:
    """Whether a packed pass gives this model's own states; tried once, on two short texts, and remembered."""
    config = getattr(model, "config", None)
    if getattr(config, "_attn_implementation", None) != "sdpa" or getattr(
        config, "is_encoder_decoder", False
    ):
        return False
    if model not in _packs:
        _packs[model] = _same_states(model, config)
    return _packs[model]


@torch.no_grad()
def _same_states(model: Any, config: Any) -> bool:
    device = model.get_input_embeddings().weight.device
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], device=device)
    words = (
        config.get_text_config().vocab_size
    )  # spread over all of them: the first are often special, and fragile
    ids = (torch.arange(1, mask.numel() + 1, device=device).view_as(mask) * 7919) % words
    want = last_states(model, {"input_ids": ids, "attention_mask": mask})[mask.bool()].float()
    try:
        layout = layout_of(mask, want)
        with attending(config, layout):
            found = last_states(model, packed_inputs(ids, layout))[0].float()
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return False  # it takes no positions, or lays attention out in a way of its own
    close = 1e-4 if want.dtype == next(model.parameters()).dtype else 0.1  # rounding alone: 0.02 in SmolLM2
    return found.shape[1:] == want.shape[1:] and float((found[: len(want)] - want).norm()) <= close * float(
        want.norm()
    )


def _register() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if NAME not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)
        ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, lambda *_, **__: None)  # causal, and nothing else to hide


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """[1, heads, N, d] in, [1, N, heads, d] out. Right padding needs no mask: no real token looks ahead to it."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    layout = _layout.get()
    length = layout.length

    def apart(x: Tensor) -> Tensor:
        flat = x[0].transpose(0, 1)  # [N, heads, d]
        rows = flat.index_select(0, layout.token.to(x.device)).view(layout.rows, length, *flat.shape[1:])
        return rows.transpose(1, 2)

    q, k, v = apart(query), apart(key), apart(value)
    if short(q, k, v, options):
        return _short_attention(q, k, v, options["scaling"]).index_select(0, layout.place)[None], None
    window = options.get("sliding_window")
    if window is not None and window < length:
        t = torch.arange(length, device=query.device)
        attention_mask = ((t[None] <= t[:, None]) & (t[None] > t[:, None] - window))[None, None]
    out, _ = sdpa_attention_forward(module, q, k, v, attention_mask, **options)
    return out.flatten(0, 1).index_select(0, layout.place.to(out.device))[None], None


SHORT = 128  # tokens; above it the fused kernel's blocks pay


def short(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> bool:
    """Whether plain products do it: for short texts on a CPU they take down to an 80th of the fused backward pass."""
    plain = q.device.type == "cpu" and q.dtype == k.dtype == v.dtype and options.get("scaling") is not None
    extra = any(options.get(name) is not None for name in ("softcap", "s_aux"))
    window = options.get("sliding_window")
    seen = window is None or window >= q.shape[2]
    return plain and seen and not extra and not options.get("dropout") and q.shape[2] <= SHORT


def _short_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """q [B, H, L, d], k and v [B, G, L, d], H a multiple of G: [B·L, H, d]; the softmax in float32.

    The H/G heads of a group stand below each other, so that their keys are not copied.
    """
    rows, heads, length, width = q.shape
    groups = k.shape[1]
    q = q.reshape(rows, groups, -1, width)
    future = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
    scores = (q @ k.transpose(-1, -2)).float().view(rows, heads, length, length) * scale
    weights = scores.masked_fill(future, -torch.inf).softmax(-1).to(v.dtype)
    out = weights.view(rows, groups, -1, length) @ v
    return out.view(rows, heads, length, width).transpose(1, 2).flatten(0, 1)
