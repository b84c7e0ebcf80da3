"""Tokenised texts with their answer tokens marked, padded batches of them, and the batch of a step.

labels hold the token itself at answer places and IGNORE elsewhere; unlearn.compute.lm alone shifts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unlearn.compute.lazy import Tensor, Tokenizer, torch

IGNORE = -100


@dataclass(frozen=True)
class Example:
    """One tokenised text with a label for each token. labels equal input_ids at answer tokens and IGNORE
    elsewhere; key names the text.

    source: what the encoder of an encoder-decoder reads; input_ids are then the decoder's. subject: whom or what the
    text is about, where its row says so.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    key: int
    # One entry for each token of input_ids: whether it is in an entity span of the answer.
    entity: tuple[bool, ...] = ()
    source: tuple[int, ...] = ()
    subject: str = ""

    @property
    def answer_at(self) -> tuple[int, ...]:
        """Return the places of the answer tokens in input_ids."""
        return tuple(i for i, label in enumerate(self.labels) if label != IGNORE)

    @property
    def answer_ids(self) -> tuple[int, ...]:
        """Return the answer tokens in the same order as in Answers."""
        return tuple(self.input_ids[i] for i in self.answer_at)


@dataclass(frozen=True)
class Tokens:
    """A padded batch of texts with input_ids, attention_mask and labels [B, L]. keys [B] name the texts.

    total_tokens, total_rows: answer tokens and sequences of the whole optimiser step, so that a mean over
    2 × 2 accumulated micro-batches, or over the shares of several processes, is the mean over one batch of 4.
    source_ids, source_mask [B, S]: what an encoder reads, None for a decoder-only model.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    keys: tuple[int, ...]
    total_tokens: float
    total_rows: float
    source_ids: Tensor | None = None
    source_mask: Tensor | None = None

    def pick(self, rows: Sequence[int]) -> Tokens:
        """Return the texts at these places of the batch. The totals stay those of the whole step."""
        if list(rows) == list(range(len(self.keys))):
            return self
        places = torch.tensor(rows, device=self.input_ids.device)
        # Columns that are padding in all of them are cut off.
        mask = self.attention_mask[places]
        width = int(mask.sum(1).max())
        source_ids, source_mask = (
            None if whole is None else whole[places] for whole in (self.source_ids, self.source_mask)
        )
        return replace(
            self,
            input_ids=self.input_ids[places, :width],
            attention_mask=mask[:, :width],
            labels=self.labels[places, :width],
            keys=tuple(self.keys[row] for row in rows),
            source_ids=source_ids,
            source_mask=source_mask,
        )

    def to(self, device: torch.device | str) -> Tokens:
        """Return the same batch with its tensors on another device."""
        return replace(
            self,
            input_ids=brought(self.input_ids, device),
            attention_mask=brought(self.attention_mask, device),
            labels=brought(self.labels, device),
            source_ids=None if self.source_ids is None else brought(self.source_ids, device),
            source_mask=None if self.source_mask is None else brought(self.source_mask, device),
        )


def brought(x: Tensor, device: torch.device | str) -> Tensor:
    """Return the tensor on the device. It goes to CUDA through pinned memory, so that the host need not wait
    for the copy.
    """
    if x.device.type == "cpu" and torch.device(device).type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


@dataclass(frozen=True)
class Batch:
    """The texts of one micro-batch. A side is None where the method does not use it.

    epoch: which pass over the forget texts this is, from 0.
    """

    forget: Tokens | None
    retain: Tokens | None
    epoch: int = 0

    def to(self, device: torch.device | str) -> Batch:
        """Return the same batch with its tensors on another device."""
        forget, retain = (None if side is None else side.to(device) for side in (self.forget, self.retain))
        return replace(self, forget=forget, retain=retain)

    @property
    def tokens(self) -> int:
        """Return the number of tokens that the forward pass reads, without padding."""
        sides = [side for side in (self.forget, self.retain) if side is not None]
        masks = [
            mask for side in sides for mask in (side.attention_mask, side.source_mask) if mask is not None
        ]
        return sum(int(mask.sum()) for mask in masks)


def encode(
    tokenizer: Tokenizer,
    prompt: str,
    target: str,
    *,
    key: int,
    max_length: int,
    spans: Sequence[tuple[int, int]] = (),
) -> Example:
    """Tokenise prompt and target as one text, as the model reads them, and label the target's tokens.

    A special token's name in a text stays text.
    An end-of-text token is added and labelled unless the text was cut at max_length. spans: character spans
    in target. For an encoder-decoder the encoder reads the prompt (of a plain text its first half) and the decoder
    the rest, each up to max_length. ValueError where no answer token is left.
    """
    start_id = getattr(tokenizer, "decoder_start_id", None)
    source: tuple[int, ...] = ()
    if start_id is not None:
        if not prompt:
            prompt, target = halves(target)
            spans = [(a - len(prompt), b - len(prompt)) for a, b in spans]
        source, prompt = tuple(encoder_input(tokenizer, prompt, max_length)), ""
    coded = tokenizer(
        prompt + target,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        **reading(prompt),
    )
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
    # No token comes before the first one, so nothing predicts it.
    answer[:1] = [False] * len(ids[:1])
    if not any(answer):
        where = f"prompt of {len(offsets)} tokens" if prompt else "text of one token"
        raise ValueError(
            f"data: a {where} leaves no answer within max_length {max_length}; shorten it or raise it."
        )
    labels = tuple(token if hit else IGNORE for token, hit in zip(ids, answer, strict=True))
    return Example(tuple(ids), labels, key, tuple(entity), source)


def control_names(tokenizer: Tokenizer) -> list[str]:
    """Return the texts that a tokenizer reads as one control token, such as <|im_end|>."""
    return [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]


def control_ids(tokenizer: Tokenizer) -> set[int]:
    """Return the ids of the control tokens, including the tokenizer's own beginning, end and padding."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


class Whole(str):
    """A prompt that a chat template made. Its control tokens have their meaning, and it has its own
    beginning.

    ids: its tokens, where a content of it spells a control token and must stay text.
    """

    ids: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: str, ids: Sequence[int] = ()) -> Whole:
        """Return the text as a Whole with its token ids."""
        made = cls(text)
        made.ids = tuple(ids)
        return made


def reading(prompt: str) -> dict[str, bool]:
    """Return the tokenizer's options for this prompt. Control tokens have their meaning only in the text of a
    template and are plain text elsewhere.
    """
    own = isinstance(prompt, Whole)
    return {"add_special_tokens": not own, "split_special_tokens": not own}


def encoder_input(tokenizer: Tokenizer, prompt: str, max_length: int) -> list[int]:
    """Return the token ids that an encoder reads, with an end-of-text token last, as T5 was trained."""
    ids, eos = list(tokenizer(prompt, split_special_tokens=True)["input_ids"]), tokenizer.eos_token_id
    if eos is None:
        return ids[:max_length]
    return [*(ids[:-1] if ids and ids[-1] == eos else ids)[: max_length - 1], eos]


def halves(text: str) -> tuple[str, str]:
    """Return the two halves of a plain text: the words that are given, and the words that are asked for. A
    single word is all rest.
    """
    words = text.split(" ")
    if len(words) < 2:
        return "", text
    first = " ".join(words[: len(words) // 2])
    return first, text[len(first) :]


def collate(
    examples: Sequence[Example],
    pad_id: int,
    *,
    total_tokens: float | None = None,
    total_rows: float | None = None,
) -> Tokens:
    """Return a right-padded batch of these texts. Padding is known by position, never by id, so pad = eos
    masks no real end of text.
    """

    def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        length = max(map(len, rows))
        return torch.tensor([[*row, *([fill] * (length - len(row)))] for row in rows], device="cpu")

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
    """Return the number of labelled tokens in all texts together."""
    return sum(label != IGNORE for e in examples for label in e.labels)
