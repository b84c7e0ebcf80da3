"""Language-model arithmetic at answer positions: the only module that shifts labels or reads -100.

A method or metric never sees padding, prompts or a [batch, length, vocabulary] tensor. One forward pass
stops before the output head, keeps the hidden states that predict an answer token ([T, d] for T answer
tokens in the whole batch) and applies the head to those alone, in chunks, in float32 from the logits on.

An encoder-decoder (T5) is the same with a source: the encoder reads the prompt, and input_ids are what the decoder
reads, its start token and then the answer. models.load tells the tokenizer that token (decoder_start_id).
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unlearn.head import Target, chunk, cross_entropy, fusible, head_of, soft_cross_entropy
from unlearn.packing import attending, layout_of, packed_inputs, packs

IGNORE = -100


@dataclass(frozen=True)
class Example:
    """One tokenised text. labels equal input_ids at answer tokens and IGNORE elsewhere; key names the text.

    source: what the encoder of an encoder-decoder reads; input_ids are then the decoder's. subject: whom or what the
    text is about, where its row says so.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    key: int
    entity: tuple[bool, ...] = ()  # per token of input_ids: lies in an entity span of the answer
    source: tuple[int, ...] = ()
    subject: str = ""

    @property
    def answer_at(self) -> tuple[int, ...]:
        """Places of the answer tokens in input_ids."""
        return tuple(i for i, label in enumerate(self.labels) if label != IGNORE)

    @property
    def answer_ids(self) -> tuple[int, ...]:
        """The answer tokens, in the order in which Answers holds them."""
        return tuple(self.input_ids[i] for i in self.answer_at)


@dataclass(frozen=True)
class Tokens:
    """A padded batch: input_ids, attention_mask, labels [B, L]; keys [B] name the texts.

    total_tokens, total_rows: answer tokens and sequences of the whole optimiser step, so that a mean over
    2 × 2 accumulated micro-batches is the mean over one batch of 4. source_ids, source_mask [B, S]: what an
    encoder reads, None for a decoder-only model.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    keys: tuple[int, ...]
    total_tokens: int
    total_rows: int
    source_ids: Tensor | None = None
    source_mask: Tensor | None = None

    def to(self, device: torch.device | str) -> "Tokens":
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            labels=self.labels.to(device),
            source_ids=None if self.source_ids is None else self.source_ids.to(device),
            source_mask=None if self.source_mask is None else self.source_mask.to(device),
        )


@dataclass(frozen=True)
class Batch:
    """One micro-batch of a step; either side is None where the method does not use it."""

    forget: Tokens | None
    retain: Tokens | None

    @property
    def tokens(self) -> int:
        """Tokens that the forward pass reads, padding excluded."""
        sides = [side for side in (self.forget, self.retain) if side is not None]
        masks = [
            mask for side in sides for mask in (side.attention_mask, side.source_mask) if mask is not None
        ]
        return sum(int(mask.sum()) for mask in masks)


@dataclass
class Answers:
    """What one forward pass says about the answers of a batch.

    hidden [T, d]: the states that predict the T answer tokens. labels [T]: those tokens. rows [T]: the
    sequence that each belongs to, 0 … B-1. head: [n, d] → logits [n, V] in float32.
    """

    hidden: Tensor
    labels: Tensor
    rows: Tensor
    keys: tuple[int, ...]
    total_tokens: int
    total_rows: int
    head: Callable[[Tensor], Tensor] = field(repr=False)

    def per_token(self, fn: Callable[..., Tensor], *others: Tensor) -> Tensor:
        """fn(logits [n, V], labels [n], *others [n, …]) → [n], over chunks of answer tokens; returns [T].

        With more than one chunk the logits are recomputed in the backward pass instead of being kept.
        """
        count, size = len(self.labels), chunk(self.vocabulary)

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
        with torch.no_grad():
            return self.head(self.hidden[:1]).shape[-1]

    @cached_property
    def nll(self) -> Tensor:
        """[T] negative log-likelihood of each answer token, in nats."""
        return self.nll_of(self.labels)

    def nll_of(self, tokens: Tensor) -> Tensor:
        """[T] negative log-likelihood of other tokens [T] in the places of the answer's."""
        if fusible(self.head):
            return cross_entropy(self.head, self.hidden, tokens)

        def one(logits: Tensor, _: Tensor, wanted: Tensor) -> Tensor:
            return F.cross_entropy(logits, wanted, reduction="none")

        return self.per_token(one, tokens)

    def cross_entropy(self, target: Target, *others: Tensor, divergence: bool = False) -> Tensor:
        """[T] -Σ q log p, q the softmax of target(labels [n], *others [n, …]) → logits [n, V], which has no gradient.

        divergence: KL(q ‖ p), which is 0 where the two agree.
        """
        if fusible(self.head):
            return cross_entropy(self.head, self.hidden, self.labels, target, others, divergence=divergence)

        def one(logits: Tensor, labels: Tensor, *extra: Tensor) -> Tensor:
            with torch.no_grad():
                taught = target(labels, *extra)
            return soft_cross_entropy(logits, taught, divergence=divergence)

        return self.per_token(one, *others)

    def row_sum(self, values: Tensor) -> Tensor:
        """[T] → [B] sums over each sequence's answer tokens."""
        return values.new_zeros(len(self.keys)).index_add(0, self.rows, values)

    @property
    def row_count(self) -> Tensor:
        """[B] answer tokens of each sequence."""
        return torch.bincount(self.rows, minlength=len(self.keys))

    def token_mean(self, values: Tensor) -> Tensor:
        """Mean of [T] over all answer tokens of the optimiser step (a part of it, in a micro-batch)."""
        return values.sum() / self.total_tokens

    def row_mean(self, values: Tensor) -> Tensor:
        """Mean of [B] over all sequences of the optimiser step (a part of it, in a micro-batch)."""
        return values.sum() / self.total_rows

    def mean_nll(self) -> Tensor:
        """NLL(X) = Σ_i S_i / Σ_i n_i, the scalar of METHODS' house rules."""
        return self.token_mean(self.nll)


def encode(
    tokenizer: Any,
    prompt: str,
    target: str,
    *,
    key: int,
    max_length: int,
    spans: Sequence[tuple[int, int]] = (),
) -> Example:
    """Tokenise prompt + target in one go (as the model would meet it) and label the target's tokens.

    An end-of-text token is added and labelled unless the text was cut at max_length. spans: character spans
    in target. For an encoder-decoder the encoder reads the prompt (of a plain text its first half) and the decoder
    the rest, each up to max_length. ValueError where no answer token is left.
    """
    start_id, source = getattr(tokenizer, "decoder_start_id", None), ()
    if start_id is not None:
        if not prompt:
            prompt, target = halves(target)
            spans = [(a - len(prompt), b - len(prompt)) for a, b in spans]
        source, prompt = tuple(encoder_input(tokenizer, prompt, max_length)), ""
    coded = tokenizer(prompt + target, return_offsets_mapping=True, return_special_tokens_mask=True)
    ids, offsets = list(coded["input_ids"]), coded["offset_mapping"]
    special = coded["special_tokens_mask"]
    start = len(prompt)
    answer = [end > start and not flag for (_, end), flag in zip(offsets, special, strict=True)]
    entity = [
        hit and any(begin < to + start and end > at + start for at, to in spans)
        for hit, (begin, end) in zip(answer, offsets, strict=True)
    ]
    eos = tokenizer.eos_token_id
    if eos is not None and (not ids or ids[-1] != eos):
        ids, answer, entity = [*ids, eos], [*answer, True], [*entity, False]
    elif ids and ids[-1] == eos:
        answer[-1] = True
    if start_id is not None:
        ids, answer, entity = [start_id, *ids], [False, *answer], [False, *entity]
    ids, answer, entity = ids[:max_length], answer[:max_length], entity[:max_length]
    answer[:1] = [False] * len(ids[:1])  # nothing stands before the first token, so nothing predicts it
    if not any(answer):
        where = f"prompt of {len(offsets)} tokens" if prompt else "text of one token"
        raise ValueError(
            f"data: a {where} leaves no answer within max_length {max_length}; shorten it or raise it."
        )
    labels = tuple(token if hit else IGNORE for token, hit in zip(ids, answer, strict=True))
    return Example(tuple(ids), labels, key, tuple(entity), source)


def encoder_input(tokenizer: Any, prompt: str, max_length: int) -> list[int]:
    """Token ids that an encoder reads, closed by end of text as T5 was trained."""
    ids, eos = list(tokenizer(prompt)["input_ids"]), tokenizer.eos_token_id
    if eos is None:
        return ids[:max_length]
    return [*(ids[:-1] if ids and ids[-1] == eos else ids)[: max_length - 1], eos]


def halves(text: str) -> tuple[str, str]:
    """(first words, the rest): how a plain text is asked for. A single word is all rest."""
    words = text.split(" ")
    if len(words) < 2:
        return "", text
    first = " ".join(words[: len(words) // 2])
    return first, text[len(first) :]


def collate(
    examples: Sequence[Example],
    pad_id: int,
    *,
    total_tokens: int | None = None,
    total_rows: int | None = None,
) -> Tokens:
    """Right-padded batch. Padding is known by position, never by id, so pad = eos masks no real end of text."""

    def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        length = max(map(len, rows))
        return torch.tensor([[*row, *([fill] * (length - len(row)))] for row in rows])

    labels = padded([e.labels for e in examples], IGNORE)
    sources = [e.source for e in examples]
    return Tokens(
        input_ids=padded([e.input_ids for e in examples], pad_id),
        attention_mask=padded([[1] * len(e.input_ids) for e in examples], 0),
        labels=labels,
        keys=tuple(e.key for e in examples),
        total_tokens=total_tokens or answer_tokens(examples),
        total_rows=total_rows or len(examples),
        source_ids=padded(sources, pad_id) if any(sources) else None,
        source_mask=padded([[1] * len(s) for s in sources], 0) if any(sources) else None,
    )


def answer_tokens(examples: Sequence[Example]) -> int:
    """Labelled tokens in all of them."""
    return sum(label != IGNORE for e in examples for label in e.labels)


def forward(model: Any, *batches: Tokens, layer: int | None = None) -> tuple[Answers, ...]:
    """One forward pass over all batches together; one Answers for each, in order.

    With layer, hidden holds what block `layer` (from 0) hands on, and the blocks above it are not run.
    """
    labels = _joined(batches, "labels", IGNORE)
    following = F.pad(labels[:, 1:], (0, 1), value=IGNORE)  # the state at t predicts token t + 1
    where = (following != IGNORE).nonzero()
    states = _states_at(model, inputs_of(*batches), where, layer)
    targets, rows = following[where[:, 0], where[:, 1]], where[:, 0]
    answers, first, head = [], 0, head_of(model)
    for b in batches:
        count = len(b.keys)
        mine = (rows >= first) & (rows < first + count)
        pick = slice(None) if len(batches) == 1 else mine
        answers.append(
            Answers(
                hidden=states[pick],
                labels=targets[pick],
                rows=rows[pick] - first,
                keys=b.keys,
                total_tokens=b.total_tokens,
                total_rows=b.total_rows,
                head=head,
            )
        )
        first += count
    return tuple(answers)


def inputs_of(*batches: Tokens) -> dict[str, Tensor]:
    """What the model's forward is called with for all of them together."""
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


def _states_at(model: Any, inputs: dict[str, Tensor], where: Tensor, layer: int | None) -> Tensor:
    """[T, d] states at the places where [T, 2] (row, token); padding does not run through a model that packs."""
    read = last_states if layer is None else partial(_block_states, layer=layer)
    mask = inputs["attention_mask"]
    if bool(mask.all()) or not packs(model):
        return read(model, inputs)[where[:, 0], where[:, 1]]
    layout = layout_of(mask)
    with attending(model.config, layout):
        whole = read(model, packed_inputs(inputs["input_ids"], mask))[0]
    return whole[layout.token[where[:, 0] * layout.length + where[:, 1]]]


def last_states(model: Any, inputs: dict[str, Any]) -> Tensor:
    """[B, L, d]: what the model hands to its output head, the head itself fed with nothing."""
    caught: list[Tensor] = []

    def catch(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        caught.append(args[0])
        return (args[0][:, :0], *args[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(catch)
    try:
        model(**inputs, use_cache=False)
    finally:
        handle.remove()
    return caught[0]


class _Reached(Exception):
    """The block that was asked for has run."""


def _block_states(model: Any, inputs: dict[str, Any], layer: int) -> Tensor:
    """[B, L, d]: the output of one block; the pass ends there."""
    caught: list[Tensor] = []

    def catch(_: Any, __: Any, output: Any) -> None:
        caught.append(output[0] if isinstance(output, tuple) else output)
        raise _Reached

    handle = blocks(model)[layer].register_forward_hook(catch)
    try:
        with contextlib.suppress(_Reached):
            model(**inputs, use_cache=False)
    finally:
        handle.remove()
    return caught[0]


def depth(model: Any) -> int:
    """How many transformer blocks the model has; of an encoder-decoder those of the decoder."""
    config = model.config
    if getattr(config, "is_encoder_decoder", False):
        return getattr(config, "num_decoder_layers", None) or config.decoder_layers
    return (config.get_text_config() if hasattr(config, "get_text_config") else config).num_hidden_layers


def blocks(model: Any) -> Any:
    """The list of transformer blocks. ValueError for a model that is built otherwise."""
    root = model.get_decoder() if getattr(model.config, "is_encoder_decoder", False) else model
    for module in root.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth(model):
            return module
    raise ValueError(f"model: {type(model).__name__} has no list of {depth(model)} blocks to reach into.")


@torch.no_grad()
def top_k(answers: Answers, k: int) -> dict[str, Tensor]:
    """For each of T answer tokens: logit, lp, rank (0 = most likely) [T]; top_id, top_lp [T, k].

    Of equal logits the lower id comes first, so that one token a place has rank 0; beside nan nothing ranks.
    mu, sigma [T]: mean and standard deviation of log p(token) for a token drawn from p, in nats.
    """
    size = chunk(answers.vocabulary)
    names = ("logit", "lp", "rank", "top_id", "top_lp", "mu", "sigma")
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for at in range(0, len(answers.labels), size):
        logits = answers.head(answers.hidden[at : at + size])
        labels = answers.labels[at : at + size, None]
        lps = logits.log_softmax(-1)
        own = logits.gather(1, labels)
        best = lps.topk(min(k, lps.shape[-1]), dim=-1)
        earlier = torch.arange(logits.shape[-1], device=logits.device) < labels
        ahead = ~(logits <= own) | ((logits == own) & earlier)
        own_lp = lps.gather(1, labels)[:, 0]
        found = (own[:, 0], own_lp, ahead.sum(-1), best.indices, best.values, *surprise(lps))
        for name, value in zip(parts, found, strict=True):
            parts[name].append(value)
    return {name: torch.cat(values).cpu() for name, values in parts.items()}


def surprise(lps: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, standard deviation) [n] of log p under p itself, from log-probs [n, V]; an impossible token adds 0."""
    p = lps.exp()
    mean = (p * lps).nan_to_num(nan=0.0, neginf=0.0).sum(-1)
    spread = (p * (lps - mean[:, None]) ** 2).nan_to_num(nan=0.0, posinf=0.0).sum(-1)
    return mean, spread.sqrt()
