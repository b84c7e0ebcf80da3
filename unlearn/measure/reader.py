"""This module reads texts with the models of a run, in batches of similar length. It also counts what this
reading has cost.

Beneath unlearn.measure.evidence, which says what is read and keeps it; how a text goes through a model is said
here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from unlearn.compute.lazy import Tensor, Tokenizer, lm, no_grad
from unlearn.compute.tokens import Example, collate
from unlearn.data.base import Row
from unlearn.measure.following import by_length
from unlearn.models.load import Loaded
from unlearn.training.encoding import encode_rows

Value = TypeVar("Value")


class Reader:
    """A reader of texts with the models of a run.

    load: a function from when to models.Loaded, called once for each. progress(phrase, fraction) is called
    while loading and reading.
    """

    def __init__(
        self, load: Callable[[str], Loaded], max_length: int, progress: Callable[[str, float], None]
    ) -> None:
        self.max_length, self.progress = max_length, progress
        self._load = load
        self._loaded: dict[str, Loaded] = {}
        # Of all that was counted, 2·N for each token.
        self.tokens, self.flops = 0, 0.0

    @property
    def device(self) -> str:
        """Return the device of the models that were loaded so far."""
        return next((loaded.device for loaded in self._loaded.values()), "cpu")

    def model(self, when: str) -> Loaded:
        """Return the loaded model of this name. It is loaded at the first call."""
        if when not in self._loaded:
            self.progress(f"loading {when}", 0.0)
            self._loaded[when] = self._load(when)
        return self._loaded[when]

    def tokenizer(self, when: str) -> Tokenizer:
        """Return the tokenizer of this model."""
        return self.model(when).tokenizer

    def length(self, when: str) -> int:
        """Return the most tokens of a text that this model reads."""
        return self.model(when).fit_length(self.max_length)

    def encode(self, when: str, rows: Sequence[Row]) -> list[Example]:
        """Return one tokenised example for each row."""
        return encode_rows(self.tokenizer(when), rows, max_length=self.length(when))

    def count(self, when: str, tokens: int) -> None:
        """Add these tokens, and 2 · parameters FLOP for each, to the cost of reading."""
        self.tokens += tokens
        self.flops += 2.0 * self.model(when).parameters * tokens

    @no_grad
    def read(
        self, when: str, examples: Sequence[Example], take: Callable[[lm.Answers], Sequence[Value]]
    ) -> list[Value]:
        """Return one value for each text, in the order of the examples. take(answers) computes the values of
        a batch.
        """
        loaded = self.model(when)
        found: dict[int, Value] = {}
        for picked in by_length(loaded.model, beside_each_other(examples)):
            batch = collate([examples[i] for i in picked], loaded.tokenizer.pad_token_id)
            (answers,) = lm.forward(loaded.model, batch.to(loaded.device))
            found |= dict(zip(picked, take(answers), strict=True))
            self.count(when, int(batch.attention_mask.sum()))
            self.progress(f"reading {when}", len(found) / len(examples))
        return [found[i] for i in range(len(examples))]

    def mean_nlls(self, when: str, examples: Sequence[Example]) -> list[float]:
        """Return the mean token NLL of each text's answer, in nats."""
        return self.read(when, examples, lambda a: (a.row_sum(a.nll) / a.row_count).tolist())


def beside_each_other(examples: Sequence[Example]) -> list[int]:
    """Return the length of each text, or of the longest one that follows it with the same prompt or comes before it.

    Sorted by it, the answers to one question stay together, so that their prompt goes through the model once.
    """
    lengths: dict[object, int] = {}
    prompts = [(e.source, e.input_ids[: e.answer_at[0]] if e.answer_at else ()) for e in examples]
    for prompt, example in zip(prompts, examples, strict=True):
        lengths[prompt] = max(lengths.get(prompt, 0), len(example.input_ids))
    return [lengths[prompt] for prompt in prompts]


def each(answers: lm.Answers) -> list[Tensor]:
    """Return for each text the states [n_i, d] that the head gets at its answer positions."""
    return [states.clone() for states in answers.hidden.split(answers.row_count.tolist())]
