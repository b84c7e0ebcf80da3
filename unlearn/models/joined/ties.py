"""TIES joins what several runs changed in one model's weights. The method is from arXiv 2306.01708.

    τ_i = θ_i - θ             what run i changed; of each matrix the largest DENSITY of the entries stays, the rest is 0
    s = sign(Σ_i τ_i)         for each entry, the direction that has more weight
    θ + mean of the τ_i that are not 0 and point in the direction s

so that small changes of one run do not thin out the large ones of another, and two runs that pull an entry in opposite
directions do not cancel. The paper cuts each τ_i as a whole; here each matrix is cut by itself, so that a layer that
changes little keeps its share too. The scale of the joined change is 1, as the paper takes where nothing is tuned.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unlearn.compute.lazy import Model
from unlearn.models import tuning
from unlearn.models.placement import is_placed
from unlearn.models.precision import is_rounded

if TYPE_CHECKING:
    from unlearn.models.load import Loaded
    from unlearn.store.runs import Run, RunConfig

# The share that the paper keeps of each change.
DENSITY = 0.2
# {parameter of the model: what a run adds to it}, float32 on the host.
Changes = dict[str, Tensor]


def merge(changes: Sequence[Tensor], density: float = DENSITY) -> Tensor:
    """Return the joined change [...] of changes [...] of one matrix, one of each run. density: the share of entries
    that is kept of each, in (0, 1]; of equal ones at the edge all are kept.
    """
    kept = torch.stack([_largest(one, density) for one in changes])
    agreed = kept * (kept.sign() == kept.sum(0).sign())
    return agreed.sum(0) / (agreed != 0).sum(0).clamp(min=1)


def _largest(change: Tensor, density: float) -> Tensor:
    """The change with all but the largest entries 0."""
    size = change.abs()
    count = math.ceil(density * size.numel())
    edge = size.flatten().kthvalue(size.numel() - count + 1).values
    return torch.where(size >= edge, change, torch.zeros_like(change))


def joined(runs: Sequence["Run"], config: "RunConfig", density: float = DENSITY) -> "Loaded":
    """Return the model that these runs began with, with what they changed in it joined by TIES.

    config: the settings that all of them have in common. ValueError where a run keeps no weights, and where they lie
    rounded or partly elsewhere.
    """
    start = tuning.base(config)
    if is_rounded(start.model) or is_placed(start.model):
        raise ValueError(
            "ties: the model's weights are rounded or lie partly elsewhere, so that nothing can be added to them; take "
            "the mode joint, or a model that the device holds."
        )
    weights = dict(start.model.named_parameters())
    # Each run's model is let go of before the next one comes.
    changes = [_changed(tuning.load_trained(run).model, weights) for run in runs]
    with torch.no_grad():
        for name in dict.fromkeys(name for one in changes for name in one):
            shape = weights[name].shape
            each = [one.get(name, torch.zeros(shape)) for one in changes]
            weights[name] += merge(each, density).to(weights[name])
    return start


@torch.no_grad()
def _changed(model: Model, before: dict[str, Tensor]) -> Changes:
    """What a trained model adds to the weights of the model before: of an adapter its product, else the difference."""
    places: list[tuple[str, Any]] = [
        (name, place) for name, place in model.named_modules() if hasattr(place, "get_delta_weight")
    ]
    if places:
        return {
            f"{name.removeprefix('base_model.model.')}.weight": _added(place).float().cpu()
            for name, place in places
        }
    found = {}
    for name, weight in model.named_parameters():
        change = weight.float().cpu() - before[name].float().cpu()
        if change.any():
            found[name] = change
    return found


def _added(place: Any) -> Tensor:
    """The product of the matrices of the adapters that are on at this place of PEFT's model."""
    return torch.stack([place.get_delta_weight(name) for name in place.active_adapters]).sum(0)
