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
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearn.compute import private, products

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

NAME = "unlearn_packed"
_layout: ContextVar["Layout | None"] = ContextVar("layout", default=None)
_keep: ContextVar[Callable[[torch.nn.Module, Tensor, Tensor], None] | None] = ContextVar("keep", default=None)


@dataclass(frozen=True)
class Layout:
    """The places of a packed row's N tokens in a padded [B, L] batch. place [N] is b·L + t for text b and
    position t. token [B·L] gives the way back, with any value at padding. Texts that begin alike may have their common
    tokens in the row once.

    Both numbers are rounded up (products.rows): the last tokens of the row repeat the first, and nobody reads them; the
    last columns of the batch are padding.
    """

    rows: int
    place: Tensor
    token: Tensor

    @property
    def length(self) -> int:
        """Return the padded length L of the batch."""
        return len(self.token) // self.rows


def layout_of(mask: Tensor, like: Tensor, ids: Tensor | None = None) -> Layout:
    """Return the layout of a right-padded batch from its attention mask [B, L]. like: has the type and device
    of what is multiplied.

    ids [B, L]: the tokens, for a pass in which the common beginning of texts (a system prompt, a question with several
    answers) is computed once. Attention still sees each text whole, so that every state is that of the text alone.
    """
    wide = F.pad(mask, (0, products.rows(mask.shape[1], like) - mask.shape[1]))
    if ids is None:
        place = wide.flatten().nonzero()[:, 0]
        token = (wide.flatten().cumsum(0) - 1).clamp(min=0)
    else:
        place, token = _merged(ids.tolist(), mask.sum(1).tolist(), wide.shape[1], mask.device)
    return Layout(len(mask), F.pad(place, (0, products.rows(len(place), like) - len(place))), token)


def _merged(
    texts: Sequence[Sequence[int]], counts: Sequence[int], length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Layout's place and token, with one number for all tokens that have the same tokens before them."""
    numbers: dict[tuple[int, int], int] = {}
    place: list[int] = []
    token = [0] * (len(texts) * length)
    for row, (text, count) in enumerate(zip(texts, counts, strict=True)):
        before = -1
        for at in range(count):
            here = numbers.setdefault((before, text[at]), len(place))
            if here == len(place):
                place.append(row * length + at)
            token[row * length + at] = before = here
    return torch.tensor(place, device=device), torch.tensor(token, device=device)


def beginning(ids: Tensor, mask: Tensor) -> int:
    """Return how many first tokens all texts of a batch [B, L] have in common. A single text has none."""
    same = ((ids == ids[:1]) & mask.bool()).all(0)
    return int(same.cumprod(0).sum()) if len(ids) > 1 else 0


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
    length = layout.length

    def apart(x: Tensor) -> Tensor:
        # Shape [N, heads, d].
        flat = x[0].transpose(0, 1)
        rows = flat.index_select(0, layout.token.to(x.device)).view(layout.rows, length, *flat.shape[1:])
        return rows.transpose(1, 2)

    q, k, v = apart(query), apart(key), apart(value)
    if (put := _keep.get()) is not None:
        put(module, k, v)
    if fits_plain_products(q, k, v, options):
        return _short_attention(q, k, v, options["scaling"]).index_select(0, layout.place)[None], None
    window = options.get("sliding_window")
    if window is not None and window < length:
        t = torch.arange(length, device=query.device)
        attention_mask = ((t[None] <= t[:, None]) & (t[None] > t[:, None] - window))[None, None]
    out, _ = _sdpa()(module, q, k, v, attention_mask, **options)
    return out.flatten(0, 1).index_select(0, layout.place.to(out.device))[None], None


# The most tokens for plain products. The fused kernel is faster for longer texts.
SHORT = 128


def fits_plain_products(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> bool:
    """Return whether plain products can compute this attention. For short texts on a CPU they take down to an
    80th of the fused backward pass' time.
    """
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
