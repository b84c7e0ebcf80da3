"""Reads how likely the model before finds continuations, each only once.

A continuation that is the beginning of the text's own answer was read with that answer, and one that another role or
model gave too was read there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearn.compute.tokens import Example, Whole, encode

if TYPE_CHECKING:
    from unlearn.measure.reader import Reader
    from unlearn.metrics import Observation

# What a text is known by: tokens of its source and its own, and labels.
Content = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class Continued:
    """The mean token NLL of continuations under the model before."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[Content, float] = {}

    def nlls(
        self,
        texts: Sequence[tuple[str | Whole, str]],
        wholes: Sequence[Example],
        seen: Sequence[Observation],
    ) -> list[float | None]:
        """Return for each (prompt, continuation) its mean token NLL, or None for one without words.

        wholes: the texts with their own answers. seen: what the model before made of these.
        """
        coded = [self._example(prompt, text, key) for key, (prompt, text) in enumerate(texts)]
        new: dict[Content, Example] = {}
        for e, whole, o in zip(coded, wholes, seen, strict=True):
            if e is None or _content(e) in self._known:
                continue
            if nlls := _within(e, whole, o):
                self._known[_content(e)] = sum(nlls) / len(nlls)
            else:
                new[_content(e)] = e
        self._known |= zip(new, self._reader.mean_nlls("before", list(new.values())), strict=True)
        return [None if e is None else self._known[_content(e)] for e in coded]

    def _example(self, prompt: str | Whole, text: str, key: int) -> Example | None:
        """The continuation labelled as the answer, without an end of text that was never generated."""
        if not text.strip():
            return None
        tokenizer = self._reader.tokenizer("before")
        coded = encode(tokenizer, prompt, text, key=key, max_length=self._reader.length("before"))
        if coded.input_ids[-1] == tokenizer.eos_token_id:
            coded = replace(
                coded, input_ids=coded.input_ids[:-1], labels=coded.labels[:-1], entity=coded.entity[:-1]
            )
        return coded if coded.answer_at else None


def _content(e: Example) -> Content:
    return e.source, e.input_ids, e.labels


def _within(e: Example, whole: Example, o: Observation) -> list[float]:
    """NLL of each answer token of e where e is the beginning of `whole`, which o has read; else empty."""
    known = {at: -token["lp"] for at, token in zip(whole.answer_at, o.tokens, strict=True)}
    begins = e.source == whole.source and e.input_ids == whole.input_ids[: len(e.input_ids)]
    return [known[at] for at in e.answer_at] if begins and set(e.answer_at) <= set(known) else []
