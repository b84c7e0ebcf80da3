"""This module continues prompts from the pass that scored their texts. No token is computed twice.

As long as the likeliest token is the text's own, the greedy continuation is the text itself, and the pass has read it.
Only from the first other token on is there anything to generate, and the keys and values up to there are known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tokenizer, continuing
from unlearn.compute.tokens import Example, Whole, reading
from unlearn.training.encoding import ends_of

BATCH = 128
# The most bytes of keys and values of the texts that are read together.
CACHE_BYTES = 2**30


@dataclass(frozen=True)
class Asked:
    """A scored text with its prompt and the most tokens that its continuation may have."""

    example: Example
    prompt: str
    room: int


def by_length(
    model: Model, lengths: Sequence[int], more: int = 0, spent: bool = False
) -> Iterator[list[int]]:
    """Yield batches of places of texts with similar length, shortest first. A batch is as large as
    CACHE_BYTES of keys and values allow, and has at most BATCH texts and `more`.

    spent: whether those of the pass are let go of while the texts are continued (continuing.greedy).
    """
    # Those of the pass, and once more with room behind them; or, block by block, either the one or the other.
    each = (1.5 if spent else 2) * continuing.bytes_a_token(model)
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) == BATCH + more or (len(batch) + 1) * lengths[place] * each > CACHE_BYTES):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def follow(
    model: Model,
    tokenizer: Tokenizer,
    kept: continuing.Kept,
    asked: Sequence[Asked],
    best: dict[int, list[int]],
) -> list[str | None]:
    """Return the continuation of each prompt, or None where it must be generated separately.

    kept: of the passes that scored these texts; it is emptied. best: {key: the likeliest token at each answer place}
    from them.
    """
    if not kept.pairs:
        return [None] * len(asked)
    positions, ends = positions_of(model), ends_of(tokenizer)
    said: list[list[int] | None] = []
    starts: dict[int, continuing.Start] = {}
    for row, one in enumerate(asked):
        example, room = one.example, one.room
        begins = open_ended(tokenizer, one.prompt)
        fits = len(begins) + room <= positions and list(example.input_ids[: len(begins)]) == begins
        own = _own(example, len(begins), best[example.key], room, ends) if fits else None
        said.append(own)
        if own is not None and not _ended(own, room, ends):
            # Its last token may not be the text's own any more.
            whole = [*begins, *own]
            starts[row] = continuing.Start(row, len(whole) - 1, whole[-1], room - len(own))
    found = continuing.greedy(model, kept, list(starts.values()), ends, spent=True)
    for row, more in zip(starts, found, strict=True):
        said[row] = [*(said[row] or ()), *more]
    return [None if ids is None else tokenizer.decode(ids, skip_special_tokens=True) for ids in said]


def _own(example: Example, begin: int, best: Sequence[int], room: int, ends: Collection[int]) -> list[int]:
    """The likeliest tokens from place `begin` on, up to the first that is not the text's own."""
    place_of = {at: n for n, at in enumerate(example.answer_at)}
    found: list[int] = []
    while begin + len(found) in place_of and not _ended(found, room, ends):
        at = begin + len(found)
        found.append(best[place_of[at]])
        if found[-1] != example.input_ids[at]:
            break
    return found


def _ended(ids: Sequence[int], room: int, ends: Collection[int]) -> bool:
    return len(ids) >= room or bool(ids and ids[-1] in ends)


def positions_of(model: Model) -> int:
    """Return the number of positions that the model supports, or 2048 where its config names none."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048


def open_ended(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Return the prompt's tokens without an end-of-text token last. At least one token is left."""
    if isinstance(prompt, Whole) and prompt.ids:
        return list(prompt.ids)
    ids = list(tokenizer(prompt, **reading(prompt))["input_ids"])
    if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids or [tokenizer.pad_token_id]
