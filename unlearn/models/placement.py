"""This module places models that are larger than their device. An adapter is trained on top of weights that
accelerate moves at each call.

Embeddings, norms and the output head stay on the device, and of the transformer blocks as many as fit; the others lie
in main memory (beside a GPU) or are read from the model's own files on disk at each pass. So the losses at the head
are the usual ones, and nothing is written. A weight that is away is nowhere between two calls ("meta"), and PEFT would
put the layer's adapter there too. So each such weight is stood in for, while the adapter is made, by a tensor of its
shape on the device that the layer computes on, which takes no memory.

accelerate's infer_auto_device_map fills a device from the first module to the last, so that the last norm ends on disk,
and it knows nothing of weights that will be rounded. This is obsolete once it can be told what has to stay.

UNLEARN_DEVICE_MEMORY says how much of the device weights may take, such as 6GiB; without it that is FILLED of a GPU's
free memory, and no limit anywhere else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.compute.lazy import Model
from unlearn.compute.states import blocks
from unlearn.models.precision import BYTES
from unlearn.store import environment
from unlearn.store.config import ROUNDED

if TYPE_CHECKING:
    from torch import nn
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedConfig

LIMIT = environment.DEVICE_MEMORY.name
# Weights may take this share of the free memory. The rest is for the adapter, a pass' states and the
# reference.
FILLED = 0.8


@dataclass(frozen=True)
class Anatomy:
    """A model's parts by size. names: all that is not in the list of blocks; rest: its parameters.

    blocks: each one's parameters in linear maps, which precision may round, and others.
    """

    stem: str
    names: tuple[str, ...]
    rest: int
    blocks: tuple[tuple[int, int], ...]

    @property
    def parameters(self) -> int:
        """Return the number of parameters of the whole model."""
        return self.rest + sum(map(sum, self.blocks))

    def sizes(self, dtype: str, precision: str) -> tuple[int, list[int]]:
        """Bytes of what is not in blocks, and of each block."""
        plain = BYTES[dtype]
        linear = BYTES[precision] if precision in ROUNDED else plain
        return round(self.rest * plain), [round(a * linear + b * plain) for a, b in self.blocks]


@dataclass(frozen=True)
class Plan:
    """The places of a model's parts: bytes and number of blocks by place. map: accelerate's device_map, empty
    if all fit.
    """

    device: str
    map: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)

    def describe(self) -> str:
        """Return a sentence for the run's page, or "" where all parts are on the device."""
        if not self.map:
            return ""
        away = [
            f"{self.blocks[place]} ({size(self.held[place])}) {where}"
            for place, where in (("cpu", "from main memory"), ("disk", "from its files on disk"))
            if place != self.device and self.blocks.get(place)
        ]
        moved = sum(self.held[place] for place in self.held if place != self.device)
        return (
            f"The model is larger than its room on {self.device}: {self.blocks.get(self.device, 0)} of its "
            f"{sum(self.blocks.values())} blocks stay there ({size(self.held[self.device])} with embeddings and head); "
            f"brought at each pass are {' and '.join(away)}. A training step passes twice: {size(2 * moved)} moved."
        )


def size(count: float) -> str:
    """1.5 GiB, 820 KiB."""
    for limit, unit in ((2**30, "GiB"), (2**20, "MiB")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return f"{count / 2**10:.3g} KiB"


def room(device: str) -> int | None:
    """Return the bytes of weights that the device may hold, or None where nobody set a limit. ValueError for
    no number of bytes.
    """
    import torch

    if (limit := environment.DEVICE_MEMORY.bytes()) is not None:
        return limit
    if not device.startswith("cuda"):
        return None
    free = torch.cuda.mem_get_info(device)[0]
    return int(FILLED * (free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)))


def anatomy(
    config: "PreTrainedConfig", kind: "type[AutoModelForCausalLM] | type[AutoModelForSeq2SeqLM]"
) -> Anatomy:
    """Return the anatomy of the model that kind (an Auto class) makes of the config. It takes no memory.
    ValueError: no list of blocks.
    """
    import torch

    with torch.device("meta"):
        model = kind.from_config(config)
    listed = blocks(model)
    stem = next(name for name, module in model.named_modules() if module is listed)
    at: nn.Module = model
    path: list[str] = []
    names: list[str] = []
    for word in stem.split("."):
        below = {name for name, _ in at.named_children()} | {
            name for name, _ in at.named_parameters(recurse=False)
        }
        below |= {name for name, _ in at.named_buffers(recurse=False)}
        names += [".".join([*path, name]) for name in sorted(below - {word})]
        at, path = getattr(at, word), [*path, word]
    made = []
    for block in listed:
        linear = sum(m.weight.numel() for m in block.modules() if isinstance(m, torch.nn.Linear))
        made.append((linear, sum(p.numel() for p in block.parameters()) - linear))
    rest = sum(p.numel() for p in model.parameters()) - sum(map(sum, made))
    return Anatomy(stem, tuple(names), rest, tuple(made))


@lru_cache(maxsize=16)
def anatomy_of(folder: Path) -> Anatomy | None:
    """Return the anatomy of a folder's model from its config alone, or None where that cannot be known."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    import unlearn.models.joined.decoding  # noqa: F401  so that transformers knows it

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return anatomy(config, AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM)
    # Another person's folder can be broken in any way. load() tells in which.
    except Exception:
        return None


def plan(parts: Anatomy, *, dtype: str, precision: str, device: str, limit: int | None) -> Plan:
    """Return a plan that puts as many blocks as fit on the device, and the last blocks elsewhere.

    ValueError where even a block at a time does not fit, or where rounded weights do not: they cannot be brought.
    """
    rest, each = parts.sizes(dtype, precision)
    if limit is None or rest + sum(each) <= limit:
        return Plan(device)
    if precision in ROUNDED:
        raise ValueError(
            f"run: precision {precision} takes {size(rest + sum(each))}, but {device} has room for {size(limit)} and "
            "rounded weights must lie there; take bfloat16, which may lie partly elsewhere, or a smaller model."
        )
    # One more block needs room, because accelerate brings it to the device at its call.
    left = limit - rest - max(each)
    if left < 0:
        raise ValueError(
            f"model: embeddings, output head and one block take {size(rest + max(each))}, but {device} has room for "
            f"{size(limit)}; choose a smaller model or precision bfloat16, or raise {LIMIT}."
        )
    rooms = {device: left} | ({} if device == "cpu" else {"cpu": _main_memory()})
    where, held = dict.fromkeys(parts.names, device), {device: rest}
    blocks: dict[str, int] = {}
    places = [*rooms, "disk"]
    for i, count in enumerate(each):
        while places[0] in rooms and rooms[places[0]] < count:
            # The later blocks follow, so that a pass brings them in their order.
            places.pop(0)
        place = places[0]
        if place in rooms:
            rooms[place] -= count
        where[f"{parts.stem}.{i}"] = place
        held[place], blocks[place] = held.get(place, 0) + count, blocks.get(place, 0) + 1
    return Plan(device, where, blocks, held)


def _main_memory() -> int:
    import psutil

    return int(FILLED * psutil.virtual_memory().available)


def lora_alone(tuning: str) -> None:
    """Raise ValueError for a tuning that cannot train a model with parts outside the device."""
    if tuning != "lora":
        raise ValueError(
            f"run: tuning must be lora for a model that lies partly outside the device, got {tuning}; choose LoRA, a "
            "smaller model, or a device that holds all of it."
        )


def is_placed(model: Model) -> bool:
    """Whether some of its weights are brought from elsewhere at each call."""
    return any(parameter.is_meta for parameter in model.parameters())


def free_head(model: Model) -> Model:
    """Remove accelerate's hook from the output head, which stays on the device, and return the same model.
    See head.fusible.
    """
    from accelerate.hooks import remove_hook_from_module

    remove_hook_from_module(model.get_output_embeddings())
    return model


@contextmanager
def adapters_in_place(model: Model) -> Iterator[None]:
    """Let PEFT find every layer of the model on the device that it computes on, within the `with` block."""
    import torch

    from unlearn.compute import private

    away = []
    for module in model.modules():
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        device = private.device_of_call(module)
        if weight is not None and weight.is_meta and device is not None:
            away.append((module, weight))
            empty = torch.empty(1, dtype=weight.dtype, device=device).expand(weight.shape)
            module.weight = torch.nn.Parameter(empty, weight.requires_grad)
    try:
        yield
    finally:
        for module, weight in away:
            # The weight is frozen with the rest of the base.
            weight.requires_grad_(module.get_parameter("weight").requires_grad)
            module.weight = weight
