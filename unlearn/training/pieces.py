"""Weights of a model in parts, brought together or put in place: what a method needs that changes them by itself.

One step of an optimiser moves each part where it lies. A method that computes with a whole matrix (its singular
vectors, an edit) or puts other weights in needs these here. In one process a part is the whole, and all is as without
them. All processes call them together, within processes.jointly() or between the beginning of a step and its end.
"""

from __future__ import annotations

from collections.abc import Mapping

from unlearn.compute.lazy import Model, Tensor, no_grad, torch
from unlearn.training import processes


def own_part(whole: Tensor, like: Tensor) -> Tensor:
    """Return of a whole tensor what lies in this process of a weight of the same shape, in the weight's type.

    All processes must have the same whole one.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    found = whole.detach().to(like.device, like.dtype)
    if not isinstance(like, DTensor):
        return found
    return distribute_tensor(found, like.device_mesh, like.placements, src_data_rank=None)


def whole_of(part: Tensor) -> Tensor:
    """Return the whole tensor that this one is a part of, in all processes."""
    together = getattr(part, "full_tensor", None)
    return part if together is None else together()


@no_grad
def weights_of(model: Model) -> dict[str, Tensor]:
    """Return a copy of the model's whole weights by name, on the host. It is empty in all processes but the first."""
    found: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        # All processes take part, one of them keeps it.
        whole = whole_of(value.detach())
        if processes.is_first():
            found[name] = whole.cpu().clone()
    return found


@no_grad
def put(model: Model, weights: Mapping[str, Tensor]) -> None:
    """Put whole weights by name into the model. What process 0 has goes to all; the others need not have any."""
    if processes.group() is None:
        model.load_state_dict(weights)
        return
    for name, weight in model.named_parameters():
        whole = torch.empty(weight.shape, dtype=weight.dtype, device="cpu")
        if processes.is_first():
            whole.copy_(weights[name])
        torch.distributed.broadcast(whole, 0)
        weight.copy_(own_part(whole, weight))
