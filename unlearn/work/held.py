"""Forecasts the memory of a run from the shapes of its model: the most that it holds at once, and where that lies.

Everything is counted as it is held: weights, gradients, moments, what the backward pass needs of each token, and the
output head's part. On a processor the libraries themselves come on top (PROCESS). The numbers a token were measured on
Llama shapes of 256 to 576 wide; bench/beside/peak compares it with whole processes. No weights are read,
and torch is not loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unlearn.models import hub
from unlearn.store.config import RunConfig
from unlearn.store.disk import read_json
from unlearn.store.shapes import JsonView

# Resident memory of a process with Python, torch and transformers, before it has a model; what peft adds, and the code
# that is compiled for products in 16 bits. Measured on Linux with glibc.
PROCESS, PEFT, NARROW = 430 * 2**20, 45 * 2**20, 60 * 2**20
# Under an adapter a step's peak of resident memory is so many times what it keeps, since the heap has gaps.
HEAP = 1.5
# The head's float32 copies of one chunk of logits, and the logits of a chunk (unlearn.compute.chunks).
CHUNK_COPIES, CHUNK_LOGITS = 4, 2**22
# Texts that are scored together, and the tokens of a text with room for its continuation.
SCORED = 64
NAMES = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "blocks": ("num_hidden_layers", "n_layer", "num_layers"),
    "feed": ("intermediate_size", "n_inner", "d_ff", "ffn_dim"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "vocabulary": ("vocab_size",),
}


@dataclass(frozen=True)
class Shape:
    """The sizes of a transformer. feed: width of the feed-forward part, keys: width of keys and of values."""

    hidden: int
    blocks: int
    feed: int
    keys: int
    vocabulary: int

    def lora(self, rank: int) -> int:
        """Return the number of weights of an adapter of this rank on every linear layer of the blocks."""
        h, f, k = self.hidden, self.feed, self.keys
        return rank * self.blocks * (2 * (h + h) + 2 * (h + k) + 3 * (h + f))

    def kept(self, *, lora: bool, narrow: bool, checkpointing: bool) -> float:
        """Return how many numbers the backward pass needs of one token.

        A block keeps what its products and its norms read. An adapter's base needs none of its products' inputs, but
        for the adapter's own. Norms compute in float32, which are two numbers of a narrow type.
        """
        block = 4 * self.feed + (6.7 if lora else 8.6) * self.hidden + 1.8 * self.keys
        block += 2.7 * self.hidden if narrow else 0.0
        return self.blocks * self.hidden + block if checkpointing else self.blocks * block


@dataclass(frozen=True)
class Forecast:
    """The bytes of each part of a run, without those of the process. training, scoring: at the peak of each."""

    parts: Mapping[str, int]
    training: int
    scoring: int

    @property
    def peak(self) -> int:
        """Return the most bytes that are held at once."""
        return max(self.training, self.scoring)


def shape_of(base: str | Path, parameters: int) -> Shape:
    """Return the shape that the config.json of a model's folder or hub id tells. The hub is not asked.

    Without one it is a usual shape of this many parameters.
    """
    folder = base if isinstance(base, Path) else hub.snapshot_here(base)
    return shape_in(read_json(folder / "config.json") if folder else {}, parameters)


def shape_in(told: JsonView, parameters: int) -> Shape:
    """Return the shape that the values of a config.json tell, or a usual one of this many parameters."""
    told = told.get("text_config") or told
    found = {name: next((told[key] for key in keys if told.get(key)), 0) for name, keys in NAMES.items()}
    # A transformer of N parameters is about (N / 150)^0.5 wide and has 12 blocks.
    hidden = found["hidden"] or max(64, round((parameters / 150) ** 0.5))
    heads = found["heads"] or 1
    keys = (told.get("num_key_value_heads") or heads) * (told.get("head_dim") or hidden // heads)
    return Shape(
        hidden, found["blocks"] or 12, found["feed"] or 4 * hidden, keys, found["vocabulary"] or 32_000
    )


def forecast(
    config: RunConfig,
    shape: Shape,
    *,
    parameters: int,
    weight: float,
    texts: float,
    length: float,
    answer: float,
) -> Forecast:
    """Return the forecast of a run on a processor. On a GPU the process does not count.

    weight: bytes a weight of the model. texts: of one micro-batch, of this mean length in tokens, of which so many
    are predicted.
    """
    tokens, answers = texts * length, round(texts * answer)
    lora, lean = config.tuning == "lora", config.memory == "lean"
    narrow, own = weight < 4, min(4.0, max(2.0, weight))
    moving = 4 * shape.lora(config.lora_rank) if lora else round(parameters * weight)
    weights = round(parameters * weight) + (moving if lora else 0)
    moments = moving if lean else 2 * moving
    # SAM comes back to the weights from a copy, and the best step's weights wait in another.
    copies = moving * ((config.sam > 0) + (config.keep == "best"))
    kept = shape.kept(lora=lora, narrow=narrow, checkpointing=config.checkpointing)
    matrix = 0 if lora else round(shape.vocabulary * shape.hidden * weight)
    head = logits_bytes(shape, answers, moves=not lora)
    activations = round(tokens * kept * own)
    gradients = matrix if lean else max(moving, matrix)
    if lean:
        # One gradient after the other, and what is freed is gone; the head's comes first, beside all that is kept.
        step = max(activations + head + matrix, 3 * matrix)
    elif lora:
        step = gradients + round(HEAP * activations) + 2 * head
    else:
        # What the backward pass frees stays in the heap, so that gradients come on top. A matrix that is head and
        # embedding in one has two gradients before they are added.
        step = activations + head + gradients + 2 * matrix
    training = weights + moments + copies + step
    scored = SCORED * (shape.blocks * 4 * shape.keys + 4 * shape.feed + 8 * shape.hidden)
    # What the logits tell is read a few tokens at a time, so that one chunk of them is held and no copies.
    scoring = (
        weights + round(scored * own * length) + logits_bytes(shape, round(SCORED * answer), moves=False)
    )
    parts = {
        "weights": weights,
        "gradients": gradients,
        "moments": moments,
        "copies": copies,
        "activations": activations,
        "head": head,
    }
    return Forecast(parts, training, scoring)


def process_bytes(*, lora: bool, weight: float) -> int:
    """Return the bytes that a process on a processor holds beside its tensors: libraries and compiled code."""
    return PROCESS + PEFT * lora + NARROW * (weight == 2)


def logits_bytes(shape: Shape, answers: int, *, moves: bool) -> int:
    """Return the bytes of logits that a loss holds: one chunk's, or all where the head's gradient needs them."""
    chunk = CHUNK_COPIES * 4 * min(answers * shape.vocabulary, max(CHUNK_LOGITS, 256 * shape.vocabulary))
    return max(chunk, 4 * answers * shape.vocabulary) if moves else chunk
