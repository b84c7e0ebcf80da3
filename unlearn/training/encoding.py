"""This module turns a row into tokens. Its prompt format makes the text, and the answer's tokens are
labelled.
"""

from collections.abc import Sequence
from dataclasses import replace

from unlearn.compute.lazy import Tokenizer
from unlearn.compute.tokens import IGNORE, Example, control_ids, control_names, encode
from unlearn.data.base import Row
from unlearn.data.prompts import Rendered, has_template, render

# Any exchange shows how a template ends an answer.
ENDED = Row(question="?", answer="!", format="chat")


def encode_rows(
    tokenizer: Tokenizer, rows: Sequence[Row], *, max_length: int, first_key: int = 0
) -> list[Example]:
    """Return one Example for each row, in the row's own prompt format. The keys are first_key, first_key + 1,
    …
    """
    examples = []
    for key, row in enumerate(rows, first_key):
        text = render(row, tokenizer)
        shift = len(text.target) - len(row.answer)
        spans = [(a + shift, b + shift) for a, b in row.entities]
        if text.own:
            one = encode_whole(tokenizer, text, key=key, max_length=max_length, spans=spans)
        else:
            one = encode(tokenizer, text.prompt, text.target, key=key, max_length=max_length, spans=spans)
        examples.append(replace(one, subject=row.subject))
    return examples


def encode_whole(
    tokenizer: Tokenizer,
    rendered: Rendered,
    *,
    key: int,
    max_length: int,
    spans: Sequence[tuple[int, int]] = (),
) -> Example:
    """Tokenise a text that a chat template has made, and label the answer with the token that ends it.

    The template brings beginning and end, so that the tokenizer adds none. What follows the answer's end is left away.
    spans: character spans in rendered.target. ValueError where no answer token is left within max_length.
    """
    ids, offsets = _coded(tokenizer, rendered)
    start, stop = len(rendered.prompt), len(rendered.prompt) + len(rendered.target)
    answer = [end > start and begin < stop for begin, end in offsets]
    entity = [
        hit and any(begin < to + start and end > at + start for at, to in spans)
        for hit, (begin, end) in zip(answer, offsets, strict=True)
    ]
    control = control_ids(tokenizer)
    behind = next((i for i, (begin, _) in enumerate(offsets) if begin >= stop), len(ids))
    last = next((i for i in range(behind, len(ids)) if ids[i] in control), None)
    if last is not None:
        ids, answer, entity = ids[: last + 1], [*answer[:last], True], entity[: last + 1]
    else:
        ids, answer, entity = ids[:behind], answer[:behind], entity[:behind]
        if tokenizer.eos_token_id is not None:
            ids, answer, entity = [*ids, tokenizer.eos_token_id], [*answer, True], [*entity, False]
    ids, answer, entity = ids[:max_length], answer[:max_length], entity[:max_length]
    answer[:1] = [False] * len(ids[:1])
    if not any(answer):
        raise ValueError(
            f"data: a prompt of {len(offsets)} tokens leaves no answer within max_length {max_length}; shorten it or "
            "raise it."
        )
    labels = tuple(token if hit else IGNORE for token, hit in zip(ids, answer, strict=True))
    return Example(tuple(ids), labels, key, tuple(entity))


def _coded(tokenizer: Tokenizer, rendered: Rendered) -> tuple[list[int], list[tuple[int, int]]]:
    """(ids, character spans) of the whole text; in parts where a content spells a control token, which stays text."""
    names = control_names(tokenizer)
    spelled = any(name in text for text, counts in rendered.pieces if not counts for name in names)
    if not spelled:
        coded = tokenizer(
            rendered.prompt + rendered.target + rendered.tail,
            add_special_tokens=False,
            return_offsets_mapping=True,
        )
        return list(coded["input_ids"]), list(coded["offset_mapping"])
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    at = 0
    for text, counts in rendered.pieces:
        coded = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=not counts
        )
        ids += coded["input_ids"]
        offsets += [(begin + at, end + at) for begin, end in coded["offset_mapping"]]
        at += len(text)
    return ids, offsets


def ends_of(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of the tokens that end an answer: end of text, and the token that a chat template puts
    after an answer.
    """
    ends = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    if has_template(tokenizer):
        (example,) = encode_rows(tokenizer, [ENDED], max_length=10**6)
        ends += [example.input_ids[-1]] if example.input_ids[-1] not in ends else []
    return ends
