"""Language-model arithmetic at answer positions. Only this module shifts labels or reads the label -100.

A method or metric never sees padding, prompts or a [batch, length, vocabulary] tensor. One forward pass
stops before the output head, keeps the hidden states that predict an answer token ([T, d] for T answer
tokens in the whole batch) and applies the head to those alone, in chunks, in float32 from the logits on.

An encoder-decoder (T5) is the same with a source: the encoder reads the prompt, and input_ids are what the decoder
reads, its start token and then the answer. models.load tells the tokenizer that token (decoder_start_id).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unlearn.compute.chunks import chunk
from unlearn.compute.head import Head, Target, block, cross_entropy, fusible, head_of, soft_cross_entropy
from unlearn.compute.layout import Layout, beginning, layout_of, reading
from unlearn.compute.lazy import Model
from unlearn.compute.packing import attending, keeps_states, packed_inputs
from unlearn.compute.states import block_states, last_states
from unlearn.compute.together import packs, pads, reads
from unlearn.compute.tokens import IGNORE, Tokens

# The part of a batch's tokens from which on packing it saves nothing.
WORTH = 0.9
# While a model learns, texts share their beginnings where that leaves at most this part of their tokens.
SHARED = 0.95
# On a GPU they share theirs from so many tokens on: it adds up the gradients of a token in any order, so that only a
# chat template's system prompt is worth the last bits.
LEAST_SHARED = 16


@dataclass
class Answers:
    """The hidden states of one forward pass at the answer tokens of a batch, with losses computed from them.

    hidden [T, d]: the states that predict the T answer tokens. labels [T]: those tokens. rows [T]: the
    sequence that each belongs to, 0 … B-1. head: [n, d] → logits [n, V] in float32.
    """

    hidden: Tensor
    labels: Tensor
    rows: Tensor
    keys: tuple[int, ...]
    total_tokens: float
    total_rows: float
    head: Callable[[Tensor], Tensor] = field(repr=False)
    # The texts that were read, for whoever must read them again in another way.
    tokens: Tokens | None = field(default=None, repr=False)

    def per_token(self, fn: Callable[..., Tensor], *others: Tensor) -> Tensor:
        """Return fn's value for each answer token [T]. fn takes logits [n, V], labels [n] and others [n, …],
        and returns [n].

        With more than one chunk the logits are recomputed in the backward pass instead of being kept.
        """
        count, size = len(self.labels), chunk(self.vocabulary, self.hidden.device)

        def run(hidden: Tensor, labels: Tensor, *extra: Tensor) -> Tensor:
            return fn(self.head(hidden), labels, *extra)

        if count <= size:
            return run(self.hidden, self.labels, *others)
        parts = []
        for at in range(0, count, size):
            pieces = [x[at : at + size] for x in (self.hidden, self.labels, *others)]
            parts.append(
                checkpoint(run, *pieces, use_reentrant=False) if torch.is_grad_enabled() else run(*pieces)
            )
        return torch.cat(parts)

    @cached_property
    def vocabulary(self) -> int:
        """Return the number of entries in the vocabulary."""
        with torch.no_grad():
            return self.head(self.hidden[:1]).shape[-1]

    @cached_property
    def nll(self) -> Tensor:
        """Return the negative log-likelihood of each answer token [T], in nats."""
        return self.nll_of(self.labels)

    def nll_of(self, tokens: Tensor) -> Tensor:
        """Return the negative log-likelihood [T] of other tokens [T] at the places of the answer tokens."""
        if fusible(self.head):
            return cross_entropy(self.head, self.hidden, tokens)

        def one(logits: Tensor, _: Tensor, wanted: Tensor) -> Tensor:
            return F.cross_entropy(logits, wanted, reduction="none")

        return self.per_token(one, tokens)

    def cross_entropy(self, target: Target, *others: Tensor, divergence: bool = False) -> Tensor:
        """Return the cross-entropy of each answer token [T] against a target, in nats.

        It is -Σ q log p over the vocabulary, q being the softmax of target(labels [n], *others [n, …]), whose
        logits [n, V] get no gradient. With divergence it is KL(q ‖ p), which is 0 where the two agree.
        """
        if fusible(self.head):
            return cross_entropy(self.head, self.hidden, self.labels, target, others, divergence=divergence)

        def one(logits: Tensor, labels: Tensor, *extra: Tensor) -> Tensor:
            with torch.no_grad():
                taught = target(labels, *extra)
            return soft_cross_entropy(logits, taught, divergence=divergence)

        return self.per_token(one, *others)

    def row_sum(self, values: Tensor) -> Tensor:
        """Return the sum of values [T] over each sequence's answer tokens, as [B]."""
        return values.new_zeros(len(self.keys)).index_add(0, self.rows, values)

    @property
    def row_count(self) -> Tensor:
        """Return the number of answer tokens of each sequence [B]."""
        return torch.bincount(self.rows, minlength=len(self.keys))

    def token_mean(self, values: Tensor) -> Tensor:
        """Return the mean of values [T] over all answer tokens of the optimiser step. In a micro-batch it is
        that batch's part of the mean.
        """
        return values.sum() / self.total_tokens

    def row_mean(self, values: Tensor) -> Tensor:
        """Return the mean of values [B] over all sequences of the optimiser step. In a micro-batch it is that
        batch's part of the mean.
        """
        return values.sum() / self.total_rows

    def mean_nll(self) -> Tensor:
        """Return the mean negative log-likelihood over all answer tokens of the optimiser step.

        It is Σ_i S_i / Σ_i n_i, S_i being the sum over the n_i answer tokens of sequence i. In a micro-batch
        it is that batch's part of the mean.
        """
        return self.token_mean(self.nll)


def forward(
    model: Model, *sides: Tokens | None, layer: int | None = None, whole: bool = False
) -> tuple[Answers, ...]:
    """Run one forward pass over all sides together and return one Answers for each side, in order.

    With layer, hidden holds what block `layer` (from 0) hands on, and the blocks above it are not run. whole: every
    token goes through every block, for whoever watches what a matrix is given; else those do that an answer needs.
    ValueError for a side that the batch has no texts of.
    """
    batches = [side for side in sides if side is not None]
    if len(batches) < len(sides):
        raise ValueError("forward: the batch has no texts of a side that the loss reads; ask it first.")
    labels = _joined(batches, "labels", IGNORE)
    # The state at t predicts token t + 1.
    following = F.pad(labels[:, 1:], (0, 1), value=IGNORE)
    where = (following != IGNORE).nonzero()
    states = _states_at(model, inputs_of(*batches), where, layer, whole)
    targets, rows = following[where[:, 0], where[:, 1]], where[:, 0]
    answers, first, head = [], 0, head_of(model)
    for b, own in zip(batches, _sides(rows, batches), strict=True):
        count = len(b.keys)
        answers.append(
            Answers(
                hidden=states[own],
                labels=targets[own],
                rows=rows[own] - first,
                keys=b.keys,
                total_tokens=b.total_tokens,
                total_rows=b.total_rows,
                head=head,
                tokens=b,
            )
        )
        first += count
    return tuple(answers)


def _sides(rows: Tensor, batches: Sequence[Tokens]) -> list[slice]:
    """The place of each batch's answer tokens among those of all, whose rows [T] ascend. The host reads it at once."""
    if len(batches) == 1:
        return [slice(None)]
    firsts = torch.tensor(list(accumulate(len(b.keys) for b in batches)), device=rows.device)
    ends = torch.searchsorted(rows, firsts).tolist()
    return [slice(start, end) for start, end in pairwise([0, *ends])]


def inputs_of(*batches: Tokens) -> dict[str, Tensor]:
    """Return the named tensors with which the model is called for all batches together."""
    ids, mask = _joined(batches, "input_ids", 0), _joined(batches, "attention_mask", 0)
    if batches[0].source_ids is None:
        return {"input_ids": ids, "attention_mask": mask}
    return {
        "input_ids": _joined(batches, "source_ids", 0),
        "attention_mask": _joined(batches, "source_mask", 0),
        "decoder_input_ids": ids,
        "decoder_attention_mask": mask,
    }


def _joined(batches: Sequence[Tokens], name: str, fill: int) -> Tensor:
    parts = [getattr(b, name) for b in batches]
    length = max(x.shape[1] for x in parts)
    return torch.cat([F.pad(x, (0, length - x.shape[1]), value=fill) for x in parts])


def _states_at(
    model: Model, inputs: dict[str, Tensor], where: Tensor, layer: int | None, whole: bool
) -> Tensor:
    """[T, d] states at the places where [T, 2] (row, token), by the cheapest way that this model reads rightly."""
    read = last_states if layer is None else partial(block_states, layer=layer)
    mask = inputs["attention_mask"]
    rows, longest = mask.shape
    padless = bool(mask.all())
    if rows == 1 and padless and not keeps_states():
        return read(model, inputs)[0, where[:, 1]]
    packed = packs(model, longest)
    layout = _layout(model, inputs, where, padless, whole) if packed else None
    full = layout is None or len(layout.place) > WORTH * mask.numel()
    if (padless and packed and full and not keeps_states()) or (not packed and pads(model, longest)):
        return read(model, inputs)[where[:, 0], where[:, 1]]
    if layout is None:
        return torch.cat(
            [read(model, _alone(inputs, row))[0, where[where[:, 0] == row, 1]] for row in range(rows)]
        )
    wanted = layout.token[where[:, 0] * layout.length + where[:, 1]]
    if layer is None and not whole and reads(model, longest):
        layout = reading(layout, wanted, model.get_input_embeddings().weight)
    with attending(model.config, layout):
        states = read(model, packed_inputs(inputs["input_ids"], layout))[0]
    return states[wanted] if layout.read is None else states[: len(wanted)]


def _layout(
    model: Model, inputs: dict[str, Tensor], where: Tensor, padless: bool, whole: bool
) -> Layout | None:
    """The layout of a packed pass, in which texts that begin alike share their beginning. None where it would save
    nothing.
    """
    ids, mask, weight = inputs["input_ids"], inputs["attention_mask"], model.get_input_embeddings().weight
    learns = torch.is_grad_enabled()
    # In bfloat16 a gradient that many texts share is cut to it once more, by half a percent of its length. The type
    # itself puts 3 % on the first gradient of SmolLM2, so a quarter of the steps' time is worth that.
    any_length = not learns or (adds_in_order(mask.device) and not whole)
    alike = any_length or beginning(ids, mask) >= LEAST_SHARED
    if padless and not alike and not keeps_states():
        return None
    if not whole and not keeps_states():
        # Nothing looks at what stands behind the last token that predicts one.
        last = torch.zeros(len(mask), dtype=torch.long, device=mask.device)
        last.scatter_reduce_(0, where[:, 0], where[:, 1], "amax")
        mask = mask * (torch.arange(mask.shape[1], device=mask.device) <= last[:, None])
    worth = SHARED if learns and any_length else 1.0
    return layout_of(mask, weight, ids if alike else None, worth)


def adds_in_order(device: torch.device) -> bool:
    """Return whether a device adds up the gradients of one token in the same order each time."""
    return device.type == "cpu"


def _alone(inputs: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    """The same for one text, without its padding."""
    found: dict[str, Tensor] = {}
    for ids, mask in (("input_ids", "attention_mask"), ("decoder_input_ids", "decoder_attention_mask")):
        if ids in inputs:
            count = int(inputs[mask][row].sum())
            found |= {name: inputs[name][row : row + 1, :count] for name in (ids, mask)}
    return found


@torch.no_grad()
def nll_and_best(answers: Answers) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihood of each answer token [T], in nats, and the most likely token there [T]."""
    size = chunk(answers.vocabulary, answers.hidden.device)
    nlls, best = [], []
    for at in range(0, len(answers.labels), size):
        for own, labels in _in_blocks(answers, at, size):
            nlls.append(F.cross_entropy(own, labels, reduction="none"))
            best.append(own.argmax(-1))
    return torch.cat(nlls), torch.cat(best)


@torch.no_grad()
def top_k(answers: Answers, k: int) -> dict[str, Tensor]:
    """Return what the model predicts at each of T answer tokens. logit, lp and rank (0 = most likely) are
    [T], top_id and top_lp are [T, k].

    Of equal logits the lower id comes first, so that one token a place has rank 0; beside nan nothing ranks.
    mu, sigma [T]: mean and standard deviation of log p(token) for a token drawn from p, in nats.
    """
    size = chunk(answers.vocabulary, answers.hidden.device)
    names = ("logit", "lp", "rank", "top_id", "top_lp", "mu", "sigma")
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for at in range(0, len(answers.labels), size):
        for own, labelled in _in_blocks(answers, at, size):
            for name, value in zip(names, _predicted(own, labelled, k), strict=True):
                parts[name].append(value)
    return {name: torch.cat(values).cpu() for name, values in parts.items()}


def _in_blocks(answers: Answers, at: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(logits, labels) of the `size` answer tokens from place `at` on, a few at a time."""
    hidden, labels = answers.hidden[at : at + size], answers.labels[at : at + size]
    if isinstance(answers.head, Head):
        yield from _beside(answers.head.in_blocks(hidden), labels)
    else:
        logits = answers.head(hidden)
        yield from _beside(logits.split(block(logits)), labels)


def _beside(blocks: Iterable[Tensor], labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    start = 0
    for logits in blocks:
        yield logits, labels[start : start + len(logits)]
        start += len(logits)


def _predicted(logits: Tensor, labels: Tensor, k: int) -> tuple[Tensor, ...]:
    """What top_k() tells of a few tokens: logits [n, V], labels [n]."""
    own = logits.gather(1, labels[:, None])
    lps = logits.log_softmax(-1)
    own_lp = lps.gather(1, labels[:, None])[:, 0]
    ahead = ~(logits <= own) if bool(own_lp.isnan().any()) else logits > own
    best = lps.topk(min(k, lps.shape[-1]), dim=-1)
    return (
        own[:, 0],
        own_lp,
        ahead.sum(-1) + _alike(logits, labels, own),
        best.indices,
        best.values,
        *surprise(lps),
    )


def _alike(logits: Tensor, labels: Tensor, own: Tensor) -> Tensor:
    """[n] how many tokens before the label have its logit own [n, 1]."""
    if logits.device.type == "cpu":
        rows = zip(logits, labels.tolist(), own, strict=True)
        return torch.stack([(row[:label] == mine).sum() for row, label, mine in rows])
    earlier = torch.arange(logits.shape[-1], device=logits.device) < labels[:, None]
    return ((logits == own) & earlier).sum(-1)


def surprise(lps: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [n] of log p for a token drawn from p itself, given log-probs [n,
    V]. An impossible token adds 0.
    """
    p = lps.exp()
    mean = (p * lps).nansum(-1)
    apart = (lps - mean[:, None]).square_().mul_(p)
    return mean, apart.nansum(-1).sqrt()
