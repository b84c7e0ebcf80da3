"""This module tries whether a model reads several texts together exactly as it reads each alone.

Three ways are tried when they are first needed: packed (unlearn/compute/packing.py), padded on the right, and padded on
the left, as generate() is called. Many architectures fail one of them without a word: positions that ignore the mask, a
state that runs on through padding, experts that hold so many tokens of a batch, a window that only the mask knows of.
What fails is not used; where nothing is left, texts are read one at a time.

A window (or another length at which a model begins to read otherwise) shows in texts that are longer than it alone. So
the trial's longest text is longer than every such number of the config that lies below the length that is asked for.

Obsolete where transformers tells of a model what a batch may do to it; it tells of flash attention's packing alone.
"""

import copy
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unlearn.compute import private
from unlearn.compute.elementwise import Reading
from unlearn.compute.layout import layout_of, reading
from unlearn.compute.lazy import Model
from unlearn.compute.packing import attending, packed_inputs
from unlearn.compute.states import blocks, last_states

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# The lengths of a trial's texts. They differ and are not sorted.
LENGTHS = (23, 1, 40, 5, 12)
# The lengths of the prompts that a trial continues.
PROMPTS = (9, 2, 15)
# A trial continues each prompt by this many tokens.
NEW = 2
# A trial's longest text has this many tokens more than the length at which a model may begin to read
# differently.
BEYOND = 8
# The largest difference that rounding may cause, relative to the states.
ROUNDING = {
    torch.float32: 1e-4,
    torch.float64: 1e-4,
}
# The same limit for narrower types and rounded weights. SmolLM2 shows 0.02.
COARSE = 0.1
# A ruined model makes much of the last bit. What seems wrong in 16 bits is then tried once more in 32,
# where the copy has at most so many bytes.
NARROW = (torch.bfloat16, torch.float16)
COPIED = 2**32
# Config entries with one of these words in their name hold such lengths.
TURNS = ("window", "chunk", "original_max_position")

# Results by input embeddings, which an adapted model shares with its base: {way: (longest text tried, whether
# it was right)}.
_tried: "weakref.WeakKeyDictionary[torch.nn.Module, dict[str, tuple[int, bool]]]" = (
    weakref.WeakKeyDictionary()
)


def packs(model: Model, length: int = 0) -> bool:
    """Return whether a packed pass gives texts up to this length the same states that they have alone."""
    config = getattr(model, "config", None)
    if private.attention(config) != "sdpa" or getattr(config, "is_encoder_decoder", False):
        return False
    return _remembered(model, "packed", length)


def reads(model: Model, length: int = 0) -> bool:
    """Return whether the last block of a packed pass may compute those states alone that are asked for, of texts up to
    this length. A block that somebody watches computes all.
    """
    try:
        last = blocks(model)[-1]
    except ValueError:
        return False
    return isinstance(last, Reading) and not private.watched(last) and _remembered(model, "read", length)


def pads(model: Model, length: int = 0) -> bool:
    """Return whether texts up to this length have the same states with padding on the right as they have
    alone.
    """
    if not hasattr(model, "get_input_embeddings"):
        # A stand-in with known logits (unlearn.measure.gradient) treats each text separately.
        return True
    return _remembered(model, "right", length)


def continues(model: Model, length: int = 0) -> bool:
    """Return whether generate() gives prompts up to this length, padded on the left, the same logits that
    they have alone.
    """
    return _remembered(model, "left", length)


def _remembered(model: Model, way: str, length: int) -> bool:
    known = _tried.setdefault(model.get_input_embeddings(), {})
    tried, right = known.get(way, (0, True))
    lengths = _lengths(model.config, PROMPTS if way == "left" else LENGTHS, length)
    if right and tried < max(lengths):
        right = _right(model, _texts(model, lengths), way)
        known[way] = (max(lengths), right)
    return right


def _right(model: Model, texts: Sequence[Tensor], way: str) -> bool:
    pairs = zip(WAYS[way](model, texts), _wanted(model, texts, way), strict=True)
    if all(_close(found, wanted, _margin(model, wanted)) for found, wanted in pairs):
        return True
    wider = _wider(model)
    return wider is not None and _right(wider, texts, way)


def _wider(model: Model) -> Model | None:
    """A copy of a model of 16 bits in which rounding is far smaller, or None where it has others, or no room."""
    weights = list(model.parameters())
    known = all(w.is_floating_point() and type(w.data) is Tensor for w in weights)
    if not known or not any(w.dtype in NARROW for w in weights):
        return None
    if sum(w.numel() for w in weights) * torch.float32.itemsize > COPIED:
        return None
    try:
        return copy.deepcopy(model).to(torch.float32)
    except (TypeError, ValueError, RuntimeError, AttributeError):
        # Somebody hung something on it that cannot be copied.
        return None


def _lengths(config: "PreTrainedConfig", usual: Sequence[int], length: int) -> list[int]:
    """The usual ones that the model has positions for, and two behind the last turn before the length asked for."""
    behind = [turn for turn in turns(config) if max(usual) <= turn < length - 1][-1:]
    positions = getattr(config.get_text_config(), "max_position_embeddings", None) or max(usual) + NEW
    lengths = [min(n, max(1, positions - NEW)) for n in usual]
    return lengths + [min(turn + more, length) for turn in behind for more in (BEYOND, BEYOND // 2)]


def turns(config: "PreTrainedConfig") -> list[int]:
    """Return the lengths at which a model of this config may begin to read differently: windows, chunks,
    stretched positions.
    """
    found, folders = set(), [config.to_dict()]
    while folders:
        for name, value in folders.pop().items():
            if isinstance(value, dict):
                folders.append(value)
            elif type(value) is int and value > 0 and any(word in str(name) for word in TURNS):
                found.add(value)
    return sorted(found)


def _texts(model: Model, lengths: Sequence[int]) -> list[Tensor]:
    """Texts of these lengths, their tokens spread over all words: the first are often special, and fragile."""
    embeddings = model.get_input_embeddings().weight
    count = sum(lengths)
    ids = (torch.arange(1, count + 1, device=embeddings.device) * 7919) % len(embeddings)
    return list(ids.split(list(lengths)))


def _margin(model: Model, states: Tensor | None) -> float:
    whole = all(p.is_floating_point() for p in model.parameters())
    return ROUNDING.get(states.dtype, COARSE) if whole and states is not None else COARSE


def _close(found: Tensor | None, wanted: Tensor | None, margin: float) -> bool:
    if found is None or wanted is None or found.shape != wanted.shape:
        return False
    return float((found.float() - wanted.float()).norm()) <= margin * float(wanted.float().norm())


def _padded(texts: Sequence[Tensor], left: bool) -> tuple[Tensor, Tensor]:
    """(ids, mask) [B, L], padding on one side."""
    ids, mask = texts[0].new_zeros(2, len(texts), max(map(len, texts)))
    for i, text in enumerate(texts):
        here = slice(-len(text), None) if left else slice(len(text))
        ids[i, here], mask[i, here] = text, 1
    return ids, mask


def _call(model: Model, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What a pass is called with; a decoder beside an encoder reads as many of the tokens as every text has."""
    inputs = {"input_ids": ids, "attention_mask": mask}
    if not getattr(model.config, "is_encoder_decoder", False):
        return inputs
    return inputs | {"decoder_input_ids": ids, "decoder_attention_mask": mask}


def _wanted(model: Model, texts: Sequence[Tensor], way: str) -> Iterator[Tensor | None]:
    """What a way has to give; a packed pass is known to be right when less than all of it is read."""
    if way != "read":
        yield from _alone(model, texts, way)
    else:
        found = _packed(model, texts)
        yield None if found[0] is None else torch.cat([x for x in found if x is not None])[::2]


@torch.no_grad()
def _alone(model: Model, texts: Sequence[Tensor], way: str) -> Iterator[Tensor]:
    for text in texts:
        mask = torch.ones_like(text)[None]
        if way == "left":
            yield from _continued(model, text[None], mask)
        else:
            yield last_states(model, _call(model, text[None], mask))[0]


@torch.no_grad()
def _packed(model: Model, texts: Sequence[Tensor]) -> Sequence[Tensor | None]:
    ids, mask = _padded(texts, left=False)
    try:
        layout = layout_of(mask, model.get_input_embeddings().weight)
        with attending(model.config, layout):
            states = last_states(model, packed_inputs(ids, layout))[0]
        return states[: int(mask.sum())].split(list(map(len, texts)))
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        # The model takes no positions, or computes attention in a way that this module does not know.
        return [None] * len(texts)


@torch.no_grad()
def _read(model: Model, texts: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Every other state of a packed pass whose last block computes these alone."""
    ids, mask = _padded(texts, left=False)
    weight = model.get_input_embeddings().weight
    layout = layout_of(mask, weight)
    wanted = torch.arange(0, layout.count, 2, device=ids.device)
    try:
        with attending(model.config, reading(layout, wanted, weight)):
            return [last_states(model, packed_inputs(ids, layout))[0, : len(wanted)]]
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
        return [None]


@torch.no_grad()
def _on_the_right(model: Model, texts: Sequence[Tensor]) -> Sequence[Tensor | None]:
    try:
        states = last_states(model, _call(model, *_padded(texts, left=False)))
        return [row[: len(text)] for row, text in zip(states, texts, strict=True)]
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        return [None] * len(texts)


@torch.no_grad()
def _on_the_left(model: Model, texts: Sequence[Tensor]) -> Sequence[Tensor | None]:
    try:
        return list(_continued(model, *_padded(texts, left=True)))
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        return [None] * len(texts)


def _continued(model: Model, ids: Tensor, mask: Tensor) -> Tensor:
    """[B, NEW, V]: the logits of the next token, and of the one after it read from the cache.

    Both are those of given tokens, since the argmax of near ones may differ by rounding.
    """
    fixed = model.get_input_embeddings().weight.shape[0] // 2
    seen: list[Tensor] = []

    def force(_: Tensor, scores: Tensor) -> Tensor:
        seen.append(scores.clone())
        return torch.full_like(scores, -torch.inf).index_fill_(
            1, torch.tensor([fixed], device=scores.device), 0.0
        )

    model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=NEW,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        min_length=0,
        pad_token_id=0,
        eos_token_id=None,
        logits_processor=[force],
        # As in unlearn.measure.generating.
        synced_gpus=False,
    )
    return torch.stack(seen, 1)


WAYS = {"packed": _packed, "read": _read, "right": _on_the_right, "left": _on_the_left}
