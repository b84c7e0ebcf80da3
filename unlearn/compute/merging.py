"""This module merges an adapter into the layers' weights for a while. W + s B A takes the place of W, and W
itself is kept.

A token position of a few texts is all memory traffic and calls: three products and their wrapping in place of one took
twice the time of the layer. W is not written to, so afterwards every bit is what it was. The copies need as much memory
as the adapted weights; where that is not there nothing is merged, and the answers are the same but slower.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from unlearn.compute.lazy import Model
from unlearn.compute.lora import plain

# The copies may take this share of the free memory.
SHARE = 0.5


@contextlib.contextmanager
def merged(model: Model) -> Iterator[Any]:
    """Let every plain LoRA layer of the model do one product instead of three within the `with` block. The
    model must not be trained meanwhile.
    """
    found = list(_layers(model))
    if not found or sum(layer.base_layer.weight.nbytes for layer, _ in found) > SHARE * _free(found[0][0]):
        yield model
        return
    own: list[tuple[Any, Tensor]] = []
    try:
        with torch.no_grad():
            for layer, name in found:
                weight = layer.base_layer.weight
                own.append((layer, weight.data))
                weight.data = _sum(layer, name)
                layer.forward = layer.base_layer.forward
        yield model
    finally:
        for layer, weight in own:
            layer.base_layer.weight.data = weight
            layer.__dict__.pop("forward", None)


def _layers(model: Model) -> Iterator[tuple[Any, str]]:
    """(LoRA layer, the adapter that is on) wherever y = x Wᵀ + s (x Aᵀ) Bᵀ is all there is to it."""
    for layer in model.modules():
        if not hasattr(layer, "lora_A") or not hasattr(layer, "base_layer"):
            continue
        weight = getattr(layer.base_layer, "weight", None)
        # Of a model that is larger than its device the weights are elsewhere until their layer is called.
        if weight is None or weight.is_meta:
            continue
        if (name := plain(layer, weight)) is not None:
            yield layer, name


def _sum(layer: Any, name: str) -> Tensor:
    """W + s B A, added in float32 and rounded once to W's own type."""
    weight = layer.base_layer.weight
    a, b = layer.lora_A[name].weight.float(), layer.lora_B[name].weight.float()
    return torch.addmm(weight.float(), b, a, alpha=float(layer.scaling[name])).to(weight.dtype)


def _free(layer: Any) -> int:
    import psutil

    device = layer.base_layer.weight.device
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
