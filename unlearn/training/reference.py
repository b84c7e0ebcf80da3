"""A reference holds what the model said before the run began, computed once and kept by text.

The usual way is a second, frozen model that reads the same texts again at every step. Here one pass before the first
step keeps what the loss will ask for, so that no second model is held and no text is read twice.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from unlearn.compute.lazy import Model, Tensor, Tokenizer, head, lm, no_grad, products, torch
from unlearn.compute.tokens import Example, Tokens
from unlearn.store.shapes import JsonObject
from unlearn.training.shelf import Shelf


class Reference:
    """The values of the original model p_ref, and other values that training must not change.

    Kept by the text's key, computed once before the first step: "sums" one number a sequence, "states" the
    hidden states [n, d] at its answer tokens (with the frozen head they give the whole distribution, without a
    second model and without a vocabulary-wide cache), "layer" the states after one block, and per-token values
    that a method draws itself, such as "labels". run: what belongs to the run and to no text. So no method
    needs a cache of its own and a loss stays a function of (model, ref, batch).
    head_moves: the output head is trained, so a copy of it is kept. folder: where what is too much for the memory
    goes (unlearn.training.shelf). untouched: in a chain of requests, gives the model as it was before the first one (a
    context manager); None where this run begins there itself.
    """

    untouched: Callable[[], AbstractContextManager[Model]] | None = None

    def __init__(self, model: Model, *, head_moves: bool, folder: Path | None = None) -> None:
        self.shelf = Shelf(folder)
        self._kept: dict[str, dict[int, Tensor]] = {}
        self.run: JsonObject = {}
        self.head: head.Head
        if head_moves:
            self.head = head.head_with(_frozen_linear(model.get_output_embeddings()), model.config)
        else:
            self.head = head.head_of(model)

    def adopt_head(self, model: Model) -> None:
        """Use this model's output head for the reference states, because they come from another model than
        the trained one.
        """
        self.head = head.head_with(_frozen_linear(model.get_output_embeddings()), model.config)

    @no_grad
    def prepare(
        self, model: Model, kind: str, batches: Iterable[Tokens], *, layer: int | None = None
    ) -> None:
        """Read every text once, before the first step, and keep the values of this kind. batches: Tokens on
        the model's device.
        """
        for tokens in batches:
            (answers,) = lm.forward(model, tokens, layer=layer)
            if kind == "sums":
                sums = answers.row_sum(answers.nll)
                self._kept.setdefault(kind, {}).update(zip(answers.keys, sums, strict=True))
            else:
                self.keep(kind, answers, answers.hidden)

    def tensors(self) -> list[Tensor]:
        """Return all tensors that are kept, so that their size can be measured."""
        return [value for rows in self._kept.values() for value in rows.values()]

    def keep_row(self, kind: str, key: int, values: Tensor) -> None:
        """Keep the values [n, …] of one text by its key."""
        self._kept.setdefault(kind, {})[key] = values

    def keep(self, kind: str, answers: lm.Answers, values: Tensor) -> None:
        """Keep values [T, …] of a batch by the texts' keys. They are in the order of the batch's answer
        tokens.
        """
        for key, part in zip(answers.keys, values.split(answers.row_count.tolist()), strict=True):
            self.keep_row(kind, key, self.shelf.put(part))

    def label_table(
        self, examples: Iterable[Example], tokenizer: Tokenizer, limit: int = 60
    ) -> list[JsonObject]:
        """Return which label was drawn for each true token, as {"text": key, "token", "label"}. It is empty
        where none was drawn.
        """
        kept, rows = self._kept.get("labels", {}), []
        for example in examples:
            true = example.answer_ids if example.key in kept else ()
            for token, label in zip(true, kept.get(example.key, ()), strict=len(true) > 0):
                rows.append(
                    {
                        "text": example.key,
                        "token": tokenizer.decode([token]),
                        "label": tokenizer.decode([int(label)]),
                    }
                )
        return rows[:limit]

    def per_token(self, kind: str, answers: lm.Answers) -> Tensor:
        """Return the values [T, …] kept under this kind, in the order of the batch's answer tokens."""
        # Rows that the shelf keeps elsewhere come back to this device.
        device = answers.hidden.device
        return torch.cat([self._kept[kind][key].to(device, non_blocking=True) for key in answers.keys])

    def sums(self, answers: lm.Answers) -> Tensor:
        """Return the sum of NLLs under the reference [B] for each of these sequences (the papers' S_i^ref)."""
        return torch.stack([self._kept["sums"][key] for key in answers.keys])

    def states(self, answers: lm.Answers) -> Tensor:
        """Return the reference states [T, d] in the order of the batch's answer tokens."""
        return self.per_token("states", answers)


def _frozen_linear(layer: torch.nn.Linear) -> Callable[[Tensor], Tensor]:
    # Such a head has several parts and is copied whole.
    if not hasattr(layer, "weight"):
        return copy.deepcopy(layer).requires_grad_(False)
    weight = layer.weight.detach().clone()
    bias = None if getattr(layer, "bias", None) is None else layer.bias.detach().clone()
    return lambda hidden: products.linear(hidden.to(weight.dtype), weight, bias)
