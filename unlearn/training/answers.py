"""This module puts another answer behind a prompt that is already in tokens: a refusal, or an alternative.

The tokens of the prompt stay as they are, so that a chat template's control tokens, the tokenizer's own beginning and
what an encoder reads are the same for the true answer and for the other one.
"""

from collections.abc import Sequence
from dataclasses import replace

from unlearn.compute.lazy import Tokenizer
from unlearn.compute.tokens import IGNORE, Example, control_ids


def with_answer(tokenizer: Tokenizer, example: Example, answer: str, *, key: int) -> Example:
    """Return the example with another answer [n tokens] in place of its own, ended as its own is ended.

    The text of the answer begins with a space where that of the true one does. A special token's name stays text.
    ValueError for an empty answer.
    """
    start = example.answer_at[0]
    prompt = example.input_ids[:start]
    said = tokenizer(
        _joiner(tokenizer, example) + answer, add_special_tokens=False, split_special_tokens=True
    )["input_ids"]
    if not answer.strip() or not said:
        raise ValueError(f"data: the answer {answer!r} says nothing; give another one.")
    ids = (*said, _end(tokenizer, example))
    labels = (*([IGNORE] * start), *ids)
    return replace(
        example, input_ids=(*prompt, *ids), labels=labels, key=key, entity=(False,) * (start + len(ids))
    )


def _text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _joiner(tokenizer: Tokenizer, example: Example) -> str:
    """A space where the true answer begins with one."""
    start = example.answer_at[0]
    before, whole = (_text(tokenizer, example.input_ids[:n]) for n in (start, start + 1))
    return " " if whole[len(before) :].startswith(" ") else ""


def _end(tokenizer: Tokenizer, example: Example) -> int:
    """The token that ends the true answer; the end of text where it was cut before its end."""
    last = example.input_ids[-1]
    return last if last in control_ids(tokenizer) else int(tokenizer.eos_token_id)
