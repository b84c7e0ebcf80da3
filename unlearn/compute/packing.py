"""Packing puts texts end to end in one row, in which each text attends to itself alone. So no padding runs
through the model.

A padded batch spends a third of its work on padding where lengths vary from 40 to 96. Here every layer that works
token by token (which is all but attention) sees real tokens only; attention alone lays them out as [texts, longest]
for the kernel and takes them back. Nothing of the model is changed but, within one pass, the name of its attention
function. transformers packs by itself too, from positions that start anew, with one mask over all pairs of the row's
tokens; this is obsolete once its sdpa attention takes the texts apart as flash attention does (bench/upstream measures
both). Whether a model can be read like this is found out by trying (unlearn/compute/together.py).
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unlearn.compute import attention, private
from unlearn.compute.layout import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

NAME = "unlearn_packed"
_layout: ContextVar[Layout | None] = ContextVar("layout", default=None)
_keep: ContextVar[Callable[[torch.nn.Module, Tensor, Tensor], None] | None] = ContextVar("keep", default=None)


def packed_inputs(input_ids: Tensor, layout: Layout) -> dict[str, Tensor | None]:
    """Return the inputs of the model within attending(): one row of N tokens, whose positions start at 0 in
    each text.

    input_ids: [B, L] as in the mask that the layout is of; every text has its first token.
    """
    row, column = layout.place // layout.length, layout.place % layout.length
    return {"input_ids": input_ids[row, column][None], "attention_mask": None, "position_ids": column[None]}


@contextlib.contextmanager
def attending(config: "PreTrainedConfig", layout: Layout | None) -> Iterator[None]:
    """Keep the texts of this layout apart in the model's attention within the `with` block. None changes
    nothing.
    """
    if layout is None:
        yield
        return
    _sdpa()
    token = _layout.set(layout)
    try:
        with private.attention_named(config, NAME):
            yield
    finally:
        _layout.reset(token)


@contextlib.contextmanager
def keeping(put: Callable[[torch.nn.Module, Tensor, Tensor], None]) -> Iterator[None]:
    """Call put(module, keys, values) for each attention of a packed pass within the `with` block. Keys and
    values are [B, G, L, d].
    """
    token = _keep.set(put)
    try:
        yield
    finally:
        _keep.reset(token)


def keeps_states() -> bool:
    """Return whether somebody collects keys and values. If so, a batch without padding is packed too."""
    return _keep.get() is not None


def current() -> Layout | None:
    """Return the layout of the forward pass that runs now, or None outside attending()."""
    return _layout.get()


@cache
def _sdpa() -> Callable[..., tuple[Tensor, None]]:
    """transformers' own attention function; ours is known to it from here on."""
    return private.register_attention(NAME, _attention)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """[1, heads, N, d] in, [1, N, heads, d] out. Right padding needs no mask: no real token looks ahead to it."""
    layout = _layout.get()
    assert layout is not None, "attention() is in force only within attending()"
    length, put = layout.length, _keep.get()
    if attention.fits(query, key, value, length, options):
        out, k, v = attention.attend(query, key, value, layout, options["scaling"])
        if put is not None:
            put(module, k, v)
        return out, None

    def apart(x: Tensor) -> Tensor:
        # Shape [N, heads, d].
        flat = x[0].transpose(0, 1)
        rows = flat.index_select(0, layout.token.to(x.device)).view(layout.rows, length, *flat.shape[1:])
        return rows.transpose(1, 2)

    q, k, v = apart(query), apart(key), apart(value)
    if put is not None:
        put(module, k, v)
    window = options.get("sliding_window")
    if window is not None and window < length:
        t = torch.arange(length, device=query.device)
        attention_mask = ((t[None] <= t[:, None]) & (t[None] > t[:, None] - window))[None, None]
    out, _ = _sdpa()(module, q, k, v, attention_mask, **options)
    return out.flatten(0, 1).index_select(0, layout.place.to(out.device))[None], None
