"""This module generates: the most likely continuation of prompts, or of a text from many of its places.

There is one way (unlearn/compute/continuing.py): the texts go through the model once, and each continuation goes on
from the keys and values of that pass, all of them together, each ended at its own end. Only models that cannot be
continued so are given to the library's generate().
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from unlearn.compute.lazy import Model, Tokenizer, continuing, no_grad, together, torch
from unlearn.compute.tokens import encoder_input
from unlearn.measure.following import by_length, open_ended, positions_of
from unlearn.training.encoding import ends_of

GREEDY = {
    "do_sample": False,
    "num_beams": 1,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "use_cache": True,
    # Of a model in parts transformers would wait for the others after each token; here one process reads alone, and
    # the others lend their weights (unlearn.training.processes).
    "synced_gpus": False,
}


@no_grad
def generate(
    model: Model, tokenizer: Tokenizer, prompts: Sequence[str], new_tokens: int | Sequence[int], device: str
) -> list[str]:
    """Return the greedy continuation of each prompt, in one batch with a KV cache where the model supports
    one.

    new_tokens: for all, or one number a prompt. A prompt that is too long for the model loses its beginning. What
    the model's folder says about generation (penalties, sampling) is left aside: this is the model's own argmax.
    """
    rooms = [new_tokens] * len(prompts) if isinstance(new_tokens, int) else list(new_tokens)
    most = max(rooms)
    positions = positions_of(model)
    most = min(most, positions - 1)
    encoder = model.config.is_encoder_decoder
    read = partial(encoder_input, max_length=positions) if encoder else open_ended
    coded = [read(tokenizer, prompt)[-(positions - most) :] for prompt in prompts]
    if not encoder and continuing.continues(model, max(map(len, coded)) + most):
        starts = [
            continuing.Start(i, len(row) - 1, row[-1], min(room, most))
            for i, (row, room) in enumerate(zip(coded, rooms, strict=True))
        ]
        kept = continuing.prefill(model, coded)
        found = continuing.greedy(model, kept, starts, ends_of(tokenizer), spent=True)
        return tokenizer.batch_decode(found, skip_special_tokens=True)
    width = max(map(len, coded))
    if min(map(len, coded)) < width and not together.continues(model, width + most):
        one_by_one = zip(prompts, rooms, strict=True)
        return [generate(model, tokenizer, [prompt], room, device)[0] for prompt, room in one_by_one]
    prefixes: Sequence[Sequence[int]] = [()] * len(coded) if encoder else coded
    sources = coded if encoder else [()] * len(coded)
    found = by_library(model, tokenizer, prefixes, sources, most, ends_of(tokenizer), device)
    rows = [row[:room] for row, room in zip(found, rooms, strict=True)]
    return tokenizer.batch_decode(rows, skip_special_tokens=True)


def continue_places(
    model: Model,
    texts: Sequence[Sequence[int]],
    starts: Sequence[continuing.Start],
    ends: Collection[int],
    read: Callable[[int, float], None] = lambda tokens, fraction: None,
) -> list[list[int]]:
    """Return the most likely tokens after each start, from one pass over each text.

    Start.row is the number of the text. ends: tokens that end a continuation; they are left out of it. read(tokens,
    fraction) is called after each batch. The model must be one that unlearn.compute.continuing can continue.
    """
    mine: dict[int, list[int]] = {}
    for place, start in enumerate(starts):
        mine.setdefault(start.row, []).append(place)
    rows, found = list(mine), dict[int, list[int]]()
    for picked in by_length(model, [len(texts[row]) for row in rows]):
        batch = {rows[i]: n for n, i in enumerate(picked)}
        kept = continuing.prefill(model, [texts[row] for row in batch])
        places = [place for row in batch for place in mine[row]]
        for part in by_length(model, [starts[place].prefix + starts[place].room for place in places]):
            chosen = [places[i] for i in part]
            asked = [replace(starts[place], row=batch[starts[place].row]) for place in chosen]
            found |= zip(chosen, continuing.greedy(model, kept, asked, ends), strict=True)
        tokens = sum(len(texts[row]) for row in batch) + sum(len(found[place]) for place in places)
        read(tokens, len(found) / len(starts))
    return [_without_end(found[place], ends) for place in range(len(starts))]


def _without_end(ids: list[int], ends: Collection[int]) -> list[int]:
    return ids[:-1] if ids and ids[-1] in ends else ids


def by_library(
    model: Model,
    tokenizer: Tokenizer,
    prefixes: Sequence[Sequence[int]],
    sources: Sequence[Sequence[int]],
    room: int,
    ends: Collection[int],
    device: str,
) -> list[list[int]]:
    """Return the greedy continuations by the library's generate(), with what stands behind their ends.

    sources: what an encoder reads, and prefixes what its decoder has said, empty for nothing; without an encoder the
    sources are empty. Shorter rows get padding on their left.
    """
    given = {}
    if sources[0]:
        given = _padded(tokenizer.pad_token_id, sources, device)
        if prefixes[0]:
            given["decoder_input_ids"] = torch.tensor(prefixes, device=device)
        # A decoder that was given nothing starts from its start token.
        begins = len(prefixes[0]) or 1
    else:
        given = _padded(tokenizer.pad_token_id, prefixes, device)
        begins = given["input_ids"].shape[1]
    with _whole_states(model):
        out = model.generate(
            **given,
            max_new_tokens=room,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=list(ends) or None,
            **GREEDY,
        )
    return out[:, begins:].tolist()


def _padded(pad: int, rows: Sequence[Sequence[int]], device: str) -> dict[str, torch.Tensor]:
    width = max(map(len, rows))
    return {
        "input_ids": torch.tensor([[*[pad] * (width - len(row)), *row] for row in rows], device=device),
        "attention_mask": torch.tensor(
            [[*[0] * (width - len(row)), *[1] * len(row)] for row in rows], device=device
        ),
    }


@contextmanager
def _whole_states(model: Model) -> Iterator[None]:
    """The head reads the last positions as a tensor of their own.

    As the slice of all positions that they are, and frozen weights, torch multiplies text by text and copies the
    head's matrix for each of them: 3.6 GB and 7 s for 64 texts of SmolLM2 with LoRA.
    """
    head = model.get_output_embeddings()
    if head is None:
        yield
        return
    handle = head.register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))
    try:
        yield
    finally:
        handle.remove()
