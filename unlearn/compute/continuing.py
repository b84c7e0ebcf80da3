"""Greedy continuations of several texts together, from the keys and values that one pass has kept.

The library's own generate() concatenates a longer cache at each position, builds a mask and runs a dozen processors:
on a CPU that costs a small model as much as its weights do. Here one packed pass keeps what each block's attention made
of the texts; then each position writes into room that was made beforehand. A text may be gone on from any of its
tokens, so a pass that scored an answer serves the answer's prompt as well. Whether a model can be continued like this
is found out by trying, as in unlearn.compute.packing; whoever asks takes generate() for the others.
"""

import contextlib
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearn.compute import private
from unlearn.compute.chunks import passes
from unlearn.compute.head import head_of
from unlearn.compute.layout import layout_of
from unlearn.compute.lazy import Model
from unlearn.compute.packing import attending, keeping, packed_inputs
from unlearn.compute.states import last_states
from unlearn.compute.together import packs

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

NAME = "unlearn_continued"
# The room for keys is rounded up to a multiple of this, because oneDNN compiles each shape once.
ROUND = 16
Pair = tuple[Tensor, Tensor]

_now: ContextVar["_Position | None"] = ContextVar("position", default=None)
_works: "weakref.WeakKeyDictionary[Model, bool]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Start:
    """The point from which one text is continued: row `row` of the kept batch, its first `known` tokens, then
    `token`. At most `room` tokens follow.
    """

    row: int
    prefix: int
    token: int
    room: int


@dataclass
class Kept:
    """The keys and values [B, G, L, d] of each attention module, from a batch that was read within keep()."""

    pairs: dict[torch.nn.Module, Pair] = field(default_factory=dict)

    def put(self, module: torch.nn.Module, keys: Tensor, values: Tensor) -> None:
        """Store the keys and values of one attention module."""
        self.pairs[module] = (keys, values)


@contextlib.contextmanager
def keep() -> Iterator[Kept]:
    """Collect the keys and values of a packed pass within the `with` block. Of several passes the last one
    counts.
    """
    kept = Kept()
    with keeping(kept.put):
        yield kept


def joined(parts: Sequence[Kept]) -> Kept:
    """Return the keys and values of several passes as those of one batch, and empty the passes. Where one of them has
    none, the whole has none.
    """
    if len(parts) == 1:
        return parts[0]
    whole = Kept()
    for module in list(parts[0].pairs) if all(part.pairs for part in parts) else ():
        keys, values = zip(*(part.pairs.pop(module) for part in parts), strict=True)
        whole.put(module, _stacked(keys), _stacked(values))
    return whole


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """[B, G, L, d] each, of any L: all texts in one, zeros behind the shorter ones."""
    longest = max(x.shape[2] for x in parts)
    return torch.cat([F.pad(x, (0, 0, 0, longest - x.shape[2])) for x in parts])


def bytes_a_token(model: Model) -> int:
    """Return the bytes that one token's keys and values take in all blocks."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    size = next(p.element_size() for p in model.parameters() if p.is_floating_point())
    return 2 * config.num_hidden_layers * heads * width * size


@torch.no_grad()
def prefill(model: Model, texts: Sequence[Sequence[int]]) -> Kept:
    """Return the keys and values of these rows of token ids."""
    return joined([_prefilled(model, texts[part]) for part in passes(list(map(len, texts)))])


def _prefilled(model: Model, texts: Sequence[Sequence[int]]) -> Kept:
    device = model.get_input_embeddings().weight.device
    longest = max(map(len, texts))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in texts], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in texts], device=device)
    layout = layout_of(mask, model.get_input_embeddings().weight, ids)
    with keep() as kept, attending(model.config, layout):
        last_states(model, packed_inputs(ids, layout))
    return kept


@torch.no_grad()
def greedy(
    model: Model, kept: Kept, starts: Sequence[Start], ends: Collection[int], spent: bool = False
) -> list[list[int]]:
    """Return the most likely tokens after each start, without the start's own token. The last one may be one
    of `ends`.

    spent: whether nobody asks for what was kept any more. It is then emptied, and never held twice.
    """
    found: list[list[int]] = [[] for _ in starts]
    active = [i for i, s in enumerate(starts) if s.room > 0]
    if not active:
        return found
    given = Kept(kept.pairs if spent else dict(kept.pairs))
    run = _Run(given, [starts[i] for i in active], next(iter(kept.pairs.values()))[0])
    tokens = [starts[i].token for i in active]
    head = head_of(model)
    while active:
        states = run.states(model, tokens)
        best = [token for few in head.in_blocks(states) for token in few.argmax(-1).tolist()]
        going = []
        for place, (i, token) in enumerate(zip(active, best, strict=True)):
            if place in run.idle:
                continue
            found[i].append(token)
            if token in ends or len(found[i]) == starts[i].room:
                run.idle.add(place)
            else:
                going.append(place)
        if not going:
            break
        if 2 * len(going) <= len(active):
            active, best = [active[p] for p in going], [best[p] for p in going]
            run.only(going)
        tokens = best
    return found


class _Run:
    """Keys and values of the texts that are still going on, with room behind them, and where each one is.

    kept is emptied.
    """

    def __init__(self, kept: Kept, starts: Sequence[Start], like: Tensor) -> None:
        rows = torch.tensor([s.row for s in starts], device=like.device)
        known = torch.tensor([s.prefix for s in starts], device=like.device)
        self.first, most = int(known.max()), max(s.room for s in starts)
        size = _rounded(self.first + most)
        # The places that there are keys and values for by now.
        self.end = _rounded(self.first + 1)
        self.pairs = {
            module: tuple(_roomy(x, rows.to(x.device), self.first, self.end) for x in kept.pairs.pop(module))
            for module in list(kept.pairs)
        }
        self.position, self.slot = known, self.first
        self.idle: set[int] = set()
        at = torch.arange(size, device=like.device)
        # The place of each token in its text, or -1 for none.
        self.places = torch.where(
            at < known[:, None],
            at,
            -1,
        )
        self.masks: dict[tuple[int | None, torch.device], Tensor] = {}

    def states(self, model: Model, tokens: Sequence[int]) -> Tensor:
        """[rows, d]: what the head is given after these tokens, one a text."""
        self.places[:, self.slot] = self.position
        if self.slot == self.end:
            self._grow()
        self.masks.clear()
        device = model.get_input_embeddings().weight.device
        given = {
            "input_ids": torch.tensor(tokens, device=device)[:, None],
            "attention_mask": None,
            "position_ids": self.position[:, None].to(device),
        }
        with _continuing(model.config, self):
            states = last_states(model, given)[:, 0]
        self.position, self.slot = self.position + 1, self.slot + 1
        return states

    def _grow(self) -> None:
        """Make room for ROUND more tokens. Whole tensors are multiplied as they lie; of a part of a larger one torch
        makes a copy in 16 bits, for each token anew.
        """
        self.end += ROUND
        for module in self.pairs:
            self.pairs[module] = tuple(F.pad(x, (0, 0, 0, ROUND)) for x in self.pairs[module])

    def mask(self, window: int | None, device: torch.device) -> Tensor:
        """[rows, 1, 1, end]: 0 where a token may be looked at, -inf elsewhere."""
        if (window, device) not in self.masks:
            places = self.places[:, : self.end]
            seen = places >= 0
            if window is not None:
                seen = seen & (places > self.position[:, None] - window)
            bias = torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, -torch.inf)
            self.masks[window, device] = bias[:, None, None].to(device)
        return self.masks[window, device]

    def only(self, places: Sequence[int]) -> None:
        """Let go of all texts but these."""
        rows = torch.tensor(places, device=self.position.device)
        self.position, self.places = self.position[rows], self.places[rows]
        self.pairs = {m: tuple(x[rows.to(x.device)] for x in pair) for m, pair in self.pairs.items()}
        self.idle = set()


_Position = _Run


def _rounded(count: int) -> int:
    """The next multiple of ROUND."""
    return -(-count // ROUND) * ROUND


def _roomy(x: Tensor, rows: Tensor, first: int, size: int) -> Tensor:
    """[B, G, L, d] → [rows, G, size, d]: the first tokens of these rows, then zeros."""
    picked = x[:, :, :first].index_select(0, rows)
    return F.pad(picked, (0, 0, 0, size - picked.shape[2]))


@contextlib.contextmanager
def _continuing(config: "PreTrainedConfig", run: _Run) -> Iterator[None]:
    _registered()
    token = _now.set(run)
    try:
        with private.attention_named(config, NAME):
            yield
    finally:
        _now.reset(token)


@cache
def _registered() -> object:
    return private.register_attention(NAME, _attention)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """[B, H, 1, d] and [B, G, 1, d] in, [B, 1, H, d] out; the softmax in float32."""
    run = _now.get()
    assert run is not None, "the attention is in force only within a run"
    keys, values = run.pairs[module]
    keys[:, :, run.slot], values[:, :, run.slot] = key[:, :, 0], value[:, :, 0]
    rows, heads, _, width = query.shape
    groups = keys.shape[1]
    scale = options.get("scaling") or width**-0.5
    scores = query.reshape(rows, groups, -1, width) @ keys.transpose(-1, -2)
    weights = scores.float().mul_(scale).add_(run.mask(options.get("sliding_window"), scores.device))
    out = weights.softmax(-1).to(values.dtype) @ values
    return out.reshape(rows, 1, heads, width), None


def continues(model: Model, length: int = 0) -> bool:
    """Return whether this module can continue texts up to this length with the model. The answer comes from a
    trial with two short texts and is remembered.
    """
    if not packs(model, length):
        return False
    if model not in _works:
        _works[model] = _same_states(model)
    return _works[model]


@torch.no_grad()
def _same_states(model: Model) -> bool:
    words = model.config.get_text_config().vocab_size
    texts = [[(7919 * (n + 1)) % words for n in range(start, start + 5)] for start in (0, 5)]
    device = model.get_input_embeddings().weight.device
    want = last_states(model, {"input_ids": torch.tensor(texts, device=device)})[:, -2:].float()
    try:
        kept = prefill(model, texts)
        run = _Run(kept, [Start(0, 3, 0, 2), Start(1, 3, 0, 2)], next(iter(kept.pairs.values()))[0])
        found = torch.stack([run.states(model, [t[n] for t in texts]) for n in (3, 4)], 1).float()
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, StopIteration):
        # Such a model computes attention in a way that this module does not know.
        return False
    close = 1e-4 if next(model.parameters()).dtype == torch.float32 else 0.1
    return bool((found - want).norm() <= close * want.norm())
