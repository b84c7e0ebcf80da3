"""Puts one model's hidden states into another at each layer, and reads what is left of the entities of the answers.

For layer l of text i:  s_l = mean over the entity tokens of log p(token), by the target model whose block l hands on
the source model's states at the places that predict these tokens. One pass of the target reads all layers of a text:
its batch holds the text once for each layer, and only the row of a layer is changed there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unlearn.compute.lazy import Model, Tensor, head, no_grad, torch
from unlearn.compute.states import blocks, last_states
from unlearn.compute.tokens import Example, collate

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# The most tokens of one pass, so that a deep model does not need the memory of a training.
MOST_TOKENS = 4096
# (what a block hands on) → (what it hands on instead, or nothing).
Change = Callable[[Tensor], Tensor | None]


def shape_of(model: Model) -> tuple[int, int] | None:
    """Return (number of blocks, width) of a model. It is None for a model without a list of blocks."""
    try:
        return len(blocks(model)), model.get_input_embeddings().weight.shape[1]
    except (ValueError, AttributeError):
        return None


def entity_places(example: Example, eos: int | None) -> list[int]:
    """Return the places of the answer's entity tokens. Where none is marked these are all but the end of text."""
    marked = [i for i in example.answer_at if example.entity[i]]
    if marked:
        return marked
    spoken = [i for i in example.answer_at if example.input_ids[i] != eos]
    return spoken or list(example.answer_at)


@no_grad
def patched(
    target: "Loaded",
    source: "Loaded | None",
    examples: Sequence[Example],
    count: Callable[[int], None] = lambda tokens: None,
) -> list[list[float]]:
    """Return s_l for each text and layer. Without a source nothing is put in, and all layers have the same value.

    count is called with the tokens that a pass read. Both models must have one shape and read one vocabulary.
    """
    layers = len(blocks(target.model))
    found = []
    for example in examples:
        places = entity_places(example, target.tokenizer.eos_token_id)
        at = torch.tensor([i - 1 for i in places])
        ids = torch.tensor([example.input_ids[i] for i in places])
        if source is None:
            found.append(_read(target, example, at, ids, {}, 1) * layers)
            count(len(example.input_ids))
            continue
        given = block_states(source, example, at)
        size, values = max(1, MOST_TOKENS // len(example.input_ids)), list[float]()
        for first in range(0, layers, size):
            some = range(first, min(first + size, layers))
            values += _read(target, example, at, ids, {i: given[i] for i in some}, len(some))
        found.append(values)
        count(len(example.input_ids) * (1 + layers))
    return found


@no_grad
def block_states(loaded: "Loaded", example: Example, at: Tensor) -> list[Tensor]:
    """Return the states [k, d] that each block hands on at these k places of a text."""
    caught: dict[int, Tensor] = {}

    def catch(layer: int) -> Change:
        def keep(states: Tensor) -> None:
            caught[layer] = states[0, at.to(states.device)].clone()

        return keep

    with _changed(loaded.model, {i: catch(i) for i in range(len(blocks(loaded.model)))}):
        last_states(loaded.model, _inputs(loaded, example, 1))
    return [caught[i] for i in sorted(caught)]


def _read(
    loaded: "Loaded", example: Example, at: Tensor, ids: Tensor, given: dict[int, Tensor], rows: int
) -> list[float]:
    """Mean log-prob of the tokens ids in each row, of which row r gets the states of the r-th layer of `given`."""

    def put(row: int, own: Tensor) -> Change:
        def change(states: Tensor) -> Tensor:
            states = states.clone()
            states[row, at.to(states.device)] = own.to(states.device, states.dtype)
            return states

        return change

    with _changed(loaded.model, {layer: put(row, own) for row, (layer, own) in enumerate(given.items())}):
        states = last_states(loaded.model, _inputs(loaded, example, rows))
    logits = head.head_of(loaded.model)(states[:, at.to(states.device)])
    wanted = ids.to(logits.device).expand(rows, -1)[..., None]
    return logits.double().log_softmax(-1).gather(-1, wanted)[..., 0].mean(-1).tolist()


def _inputs(loaded: "Loaded", example: Example, rows: int) -> dict[str, Tensor]:
    from unlearn.compute.lm import inputs_of

    batch = collate([example], loaded.pad_id).to(loaded.device)
    return {name: x.expand(rows, *x.shape[1:]).contiguous() for name, x in inputs_of(batch).items()}


@contextmanager
def _changed(model: Model, changes: dict[int, Change]) -> Iterator[None]:
    """Within it, block i hands on what changes[i] makes of its states."""

    def hook(change: Change) -> Callable[..., object]:
        def after(_: object, __: object, output: Tensor | tuple[Tensor, ...]) -> object:
            states = output[0] if isinstance(output, tuple) else output
            new = change(states)
            if new is None:
                return None
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return after

    listed = blocks(model)
    handles = [listed[i].register_forward_hook(hook(change)) for i, change in changes.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
