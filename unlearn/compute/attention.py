"""The attention of short packed texts as plain products, whose gradient needs no copy that they did not make.

Each text's tokens are taken out of the row in the order that a batch of products wants: [groups of heads × texts,
tokens × heads of the group, width]. Left to autograd, the same way back copies queries, keys and values once more for
each product, fills a zero for each of the masked places, and adds token by token into the row what lies there once.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unlearn.compute import private
from unlearn.compute.layout import Layout
from unlearn.compute.protocols import Context

# The most tokens for plain products. The fused kernel is faster for longer texts.
SHORT = 128


def fits(q: Tensor, k: Tensor, v: Tensor, length: int, options: Mapping[str, object]) -> bool:
    """Return whether plain products can compute this attention of texts with this many tokens. For short texts on a CPU
    they take down to an 80th of the fused backward pass' time.
    """
    plain = q.device.type == "cpu" and q.dtype == k.dtype == v.dtype and options.get("scaling") is not None
    extra = any(options.get(name) is not None for name in ("softcap", "s_aux"))
    window = options.get("sliding_window")
    seen = window is None or (isinstance(window, int) and window >= length)
    return plain and seen and not extra and not options.get("dropout") and length <= SHORT


def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return what causal attention within each text gives, with the keys and values of each text.

    q [1, H, N, d] and k, v [1, G, N, d], H a multiple of G: [1, N, H, d] and twice [B, G, L, d]. The softmax is in
    float32.
    """
    out, keys, values = _Attention.apply(q, k, v, layout, scale)
    return out, _by_text(keys, layout), _by_text(values, layout)


def _by_text(x: Tensor, layout: Layout) -> Tensor:
    """[G·B, L, d] → [B, G, L, d]."""
    return x.view(-1, layout.rows, *x.shape[1:]).transpose(0, 1)


class _Attention(torch.autograd.Function):
    """R = H / G heads share a group's keys; they stand beside each other in its queries [G·B, L·R, d]."""

    @staticmethod
    def forward(
        ctx: Context, q: Tensor, k: Tensor, v: Tensor, layout: Layout, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        groups = k.shape[1]
        queries, keys, values = (_apart(x, groups, layout) for x in (q, k, v))
        scores = (queries @ keys.transpose(1, 2)).float()
        # [groups and texts, L, R, L]
        wide = scores.view(len(scores), layout.length, -1, layout.length)
        future = torch.full((layout.length, 1, layout.length), -torch.inf, device=q.device)
        # Scaled and hidden in one pass over them.
        torch.add(future[:, 0].triu_(1)[:, None], wide, alpha=scale, out=wide)
        weights = wide.softmax(-1).view_as(scores)
        out = _together(weights.to(v.dtype) @ values, groups, layout)
        ctx.save_for_backward(queries, keys, values, weights)
        ctx.layout, ctx.scale = layout, scale
        ctx.mark_non_differentiable(keys, values)
        ctx.set_materialize_grads(False)
        return out.view(1, len(layout.place), q.shape[1], q.shape[3]), keys, values

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None, None
        queries, keys, values, weights = ctx.saved_tensors
        layout, groups = ctx.layout, len(keys) // ctx.layout.rows
        down = _apart(grad.transpose(1, 2), groups, layout, unread=0.0)
        for_values = weights.to(down.dtype).transpose(1, 2) @ down
        of_weights = (down @ values.transpose(1, 2)).float()
        slope = private.softmax_backward(of_weights, weights).mul_(ctx.scale).to(down.dtype)
        found = (slope @ keys, slope.transpose(1, 2) @ queries, for_values)
        return *(_gathered(x, groups, layout, keys.shape[2]) for x in found), None, None


def _apart(x: Tensor, groups: int, layout: Layout, unread: float | None = None) -> Tensor:
    """[1, H, N, d] → [G·B, L·R, d], with the value `unread` where no token of the row belongs."""
    row = x[0].transpose(0, 1).reshape(x.shape[2], groups, -1)
    texts = row.transpose(0, 1).index_select(1, layout.token)
    if unread is not None:
        texts.index_fill_(1, layout.empty, unread)
    return texts.view(groups * layout.rows, -1, x.shape[3])


def _together(texts: Tensor, groups: int, layout: Layout) -> Tensor:
    """[G·B, L·R, d] → [N, G, R·d]."""
    wide = texts.view(groups, len(layout.token), -1).transpose(0, 1)
    return wide.index_select(0, layout.place)


def _gathered(texts: Tensor, groups: int, layout: Layout, width: int) -> Tensor:
    """[G·B, L·R, d] → [1, H, N, d]: what the places of a token have in all texts, added up."""
    row = _together(texts, groups, layout)
    # The tokens behind them are read by nobody.
    row[layout.count :] = 0
    if layout.again is not None:
        more = texts.view(groups, len(layout.token), -1).transpose(0, 1).index_select(0, layout.again)
        row.index_add_(0, layout.token[layout.again], more)
    return row.view(len(row), -1, width).transpose(0, 1)[None]
