"""The places of texts that lie end to end in one row, for whoever takes them apart (unlearn/compute/packing.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearn.compute import products


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
    # The texts' tokens in the row. Those behind them round their number up.
    count: int
    # The places in the batch of tokens that the row has already, since another text begins alike.
    again: Tensor | None = None
    # The tokens of the row whose last states somebody asks for; None for all.
    read: Tensor | None = None

    @property
    def length(self) -> int:
        """Return the padded length L of the batch."""
        return len(self.token) // self.rows

    @cached_property
    def empty(self) -> Tensor:
        """Return the places of the batch that no token of the row fills: padding, and what was read before."""
        free = torch.ones(len(self.token), dtype=torch.bool, device=self.place.device)
        free[self.place[: self.count]] = False
        return free.nonzero()[:, 0]


def layout_of(mask: Tensor, like: Tensor, ids: Tensor | None = None, worth: float = 1.0) -> Layout:
    """Return the layout of a right-padded batch from its attention mask [B, L]. like: has the type and device
    of what is multiplied.

    ids [B, L]: the tokens, for a pass in which the common beginning of texts (a system prompt, a question with several
    answers) is computed once. Attention still sees each text whole, so that every state is that of the text alone.
    worth: they are computed once only where at most this part of the tokens is left.
    """
    wide = F.pad(mask, (0, products.rows(mask.shape[1], like) - mask.shape[1]))
    merged = None if ids is None else _merged(ids.tolist(), mask.sum(1).tolist(), wide.shape[1], mask.device)
    if merged is not None and len(merged[0]) <= worth * (len(merged[0]) + len(merged[2])):
        place, token, again = merged
    else:
        place = wide.flatten().nonzero()[:, 0]
        token, again = (wide.flatten().cumsum(0) - 1).clamp(min=0), place[:0]
    count = len(place)
    place = F.pad(place, (0, products.rows(count, like) - count))
    return Layout(len(mask), place, token, count, again if len(again) else None)


def reading(layout: Layout, wanted: Tensor, like: Tensor) -> Layout:
    """Return the same layout, of which the model's last block hands on these tokens [T] of the row alone, in this
    order, and behind them some that round their number up.
    """
    more = products.rows(len(wanted), like) - len(wanted)
    return replace(layout, read=F.pad(wanted, (0, more)))


def _merged(
    texts: Sequence[Sequence[int]], counts: Sequence[int], length: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Layout's place, token and again, with one number for all tokens that have the same tokens before them."""
    numbers: dict[tuple[int, int], int] = {}
    place: list[int] = []
    again: list[int] = []
    token = [0] * (len(texts) * length)
    for row, (text, count) in enumerate(zip(texts, counts, strict=True)):
        before = -1
        for at in range(row * length, row * length + count):
            here = numbers.setdefault((before, text[at - row * length]), len(place))
            (place if here == len(place) else again).append(at)
            token[at] = before = here
    return (
        torch.tensor(place, device=device),
        torch.tensor(token, device=device),
        torch.tensor(again, dtype=torch.long, device=device),
    )


def beginning(ids: Tensor, mask: Tensor) -> int:
    """Return how many first tokens all texts of a batch [B, L] have in common. A single text has none."""
    same = ((ids == ids[:1]) & mask.bool()).all(0)
    return int(same.cumprod(0).sum()) if len(ids) > 1 else 0
