"""A reference holds what the model said before the run began, computed once and kept by text.

The usual way is a second, frozen model that reads the same texts again at every step. Here one pass keeps what the loss
will ask for, so that no second model is held and no text is read twice. Where every weight moves, that pass is made
before the first step. Under an adapter the original is there all the time: a text is read when a loss first asks for
it, with the adapter off, and at the first step, where the adapter adds nothing yet, the step's own pass is that
reading. So a run that is short or stopped reads no text that it never trains on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from unlearn.compute.lazy import Model, Tensor, Tokenizer, head, lm, lora, no_grad, products, torch
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
    context manager); None where this run begins there itself. later: switches the adapter off for a `with` block,
    so that texts can be read when they are first asked for; None where all are read before the first step.
    """

    untouched: Callable[[], AbstractContextManager[Model]] | None = None
    later: Callable[[], AbstractContextManager[object]] | None = None

    def __init__(self, model: Model, *, head_moves: bool, folder: Path | None = None) -> None:
        self.shelf = Shelf(folder)
        self._kept: dict[str, dict[int, Tensor]] = {}
        # What is read when it is first asked for: {kind: (the model, the block of its states)}.
        self._promised: dict[str, tuple[Model, int | None]] = {}
        # The number of texts that were read for the reference alone.
        self.passes = 0
        self._began = False
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

        Where the adapter can be switched off (later), nothing is read now.
        """
        if self.later is not None:
            self._promised[kind] = model, layer
            self._kept.setdefault(kind, {})
            return
        for tokens in batches:
            self._read(model, kind, tokens, layer)

    def _read(self, model: Model, kind: str, tokens: Tokens, layer: int | None) -> None:
        (answers,) = lm.forward(model, tokens, layer=layer)
        self.passes += len(tokens.keys)
        self._take(kind, answers)

    def _take(self, kind: str, answers: lm.Answers) -> None:
        if kind == "sums":
            sums = answers.row_sum(answers.nll).detach()
            self._kept.setdefault(kind, {}).update(zip(answers.keys, sums, strict=True))
        else:
            self.keep(kind, answers, answers.hidden.detach())

    @no_grad
    def see(self, kind: str, tokens: Tokens) -> None:
        """Read those of these texts, with the adapter off, that have not been read yet."""
        kept, (model, layer) = self._kept[kind], self._promised[kind]
        missing = [row for row, key in enumerate(tokens.keys) if key not in kept]
        if missing and self.later is not None:
            with self.later():
                self._read(model, kind, tokens.pick(missing), layer)

    def _ensure(self, kind: str, answers: lm.Answers) -> None:
        """Keep what was promised of these texts: from their own pass while nothing has moved, else from one more."""
        if kind not in self._promised or self._kept[kind].keys() >= set(answers.keys):
            return
        if not self._began and lora.is_identity(self._promised[kind][0]):
            self._take(kind, answers)
            return
        self._began = True
        assert answers.tokens is not None, "lm.forward tells what it has read"
        self.see(kind, answers.tokens)

    @property
    def promises(self) -> bool:
        """Return whether some values are read only when they are first asked for."""
        return bool(self._promised)

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
        self._ensure(kind, answers)
        # Rows that the shelf keeps elsewhere come back to this device.
        device = answers.hidden.device
        return torch.cat([self._kept[kind][key].to(device, non_blocking=True) for key in answers.keys])

    def sums(self, answers: lm.Answers) -> Tensor:
        """Return the sum of NLLs under the reference [B] for each of these sequences (the papers' S_i^ref)."""
        self._ensure("sums", answers)
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
