"""Models larger than their device: what accelerate brings from elsewhere at each call, and an adapter on top.

A weight that accelerate keeps on disk (or, on a GPU, in main memory) is nowhere between two calls ("meta"), and PEFT
would put the layer's adapter there too. So each such weight is stood in for, while the adapter is made, by a tensor of
its shape on the device that the layer computes on, which takes no memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def adapters_in_place(model: Any) -> Iterator[None]:
    """Within it PEFT finds every layer of the model on the device that it computes on."""
    import torch

    away = []
    for module in model.modules():
        weight, hook = getattr(module, "_parameters", {}).get("weight"), getattr(module, "_hf_hook", None)
        if weight is not None and weight.device.type == "meta" and hook is not None:
            away.append((module, weight))
            device = torch.device(hook.execution_device)
            empty = torch.empty(1, dtype=weight.dtype, device=device).expand(weight.shape)
            module._parameters["weight"] = torch.nn.Parameter(empty, weight.requires_grad)
    try:
        yield
    finally:
        for module, weight in away:
            weight.requires_grad_(
                module._parameters["weight"].requires_grad
            )  # frozen with the rest of the base
            module._parameters["weight"] = weight
