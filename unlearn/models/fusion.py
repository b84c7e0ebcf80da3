"""Fusion joins unlearning layers that were trained separately, each on its own deletion request. The method
is from arXiv 2310.20150, §3.3.

    W_m = (Σ_i X_iᵀX_i + εI)^-1 Σ_i X_iᵀX_i W_i,   ε = 1e-4 · tr(Σ_i X_iᵀX_i) / d

for each linear map of each layer: X_i the inputs that this map sees on request i with the layers of request i
switched on, with a column of ones for the bias. It is the least-squares map whose outputs are nearest to those of
each W_i on its own inputs, and needs only the Gram matrices X_iᵀX_i of each request and not its texts, so a forget
set can be thrown away once its layer is trained. average() is the control: it ignores where each layer was active.

Gram matrices and solutions are float64: their condition is the square of the inputs'.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from unlearn.compute.lazy import Model
from unlearn.compute.lm import forward
from unlearn.compute.tokens import Example, collate
from unlearn.models.layers import layers_of
from unlearn.store.scratch import beside

RIDGE = 1e-4
BATCH = 64
MAPS = ("down", "up")
GRAMS = "grams.safetensors"
# "<feed-forward end>.down.weight" …, as unlearn.models.layers.layer_state gives it.
State = dict[str, Tensor]
# "<feed-forward end>.down" …: [d + 1, d + 1].
Grams = dict[str, Tensor]


def fuse_maps(grams: Sequence[Tensor], maps: Sequence[Tensor], ridge: float = RIDGE) -> Tensor:
    """Return the fused map W_m [d, o] of maps W_i [d, o] (y = x W) with grams X_iᵀX_i [d, d]. ridge is
    relative: ε = ridge · tr / d.
    """
    total = torch.stack([g.double() for g in grams]).sum(0)
    wanted = torch.stack([g.double() @ w.double() for g, w in zip(grams, maps, strict=True)]).sum(0)
    size = len(total)
    epsilon = ridge * total.trace() / size
    shrunk = total + epsilon * torch.eye(size, dtype=total.dtype)
    if epsilon > 0:
        return torch.linalg.solve(shrunk, wanted)
    return torch.linalg.pinv(shrunk, hermitian=True) @ wanted


def fuse(states: Sequence[State], grams: Sequence[Grams], ridge: float = RIDGE) -> State:
    """Return the layers that serve all requests together. ValueError where they are not of one model and
    bottleneck.
    """
    _check(states)
    if len(grams) != len(states):
        raise ValueError(f"fusion: {len(states)} sets of layers need as many grams, got {len(grams)}.")
    fused: State = {}
    for place in _places(states[0]):
        found = fuse_maps([g[place] for g in grams], [_with_bias(s, place) for s in states], ridge)
        fused |= _without_bias(found, place, states[0])
    return fused


def average(states: Sequence[State]) -> State:
    """Return the plain mean of every weight, as a control for fuse()."""
    _check(states)
    return {key: torch.stack([s[key] for s in states]).mean(0) for key in states[0]}


@torch.no_grad()
def grams_of(model: Model, examples: Sequence[Example], *, device: str = "cpu") -> Grams:
    """Return the Gram matrix X_iᵀX_i of every map over all tokens of these texts. The model reads them once
    with its layers switched on.

    Texts of one length go together, so that there is no padding to leave out.
    """
    groups: dict[tuple[int, int], list[Example]] = {}
    for example in examples:
        groups.setdefault((len(example.source), len(example.input_ids)), []).append(example)
    with watching(model) as grams:
        for group in groups.values():
            for at in range(0, len(group), BATCH):
                forward(model, collate(group[at : at + BATCH], 0).to(device))
    return grams


@contextmanager
def watching(model: Model) -> Iterator[Grams]:
    """Add the inputs of each map, at every position of every pass, to the yielded grams within the `with`
    block.
    """
    grams: Grams = {}

    def watcher(name: str) -> Callable[..., None]:
        def watch(*inputs: Tensor) -> None:
            for each, x in zip(MAPS, inputs, strict=True):
                grams[f"{name}.{each}"] = grams.get(f"{name}.{each}", 0) + gram(x)

        return watch

    layers = layers_of(model)
    try:
        for name, layer in layers.items():
            layer.watch = watcher(name)
        yield grams
    finally:
        for layer in layers.values():
            layer.watch = None


def gram(inputs: Tensor) -> Tensor:
    """Return XᵀX [d + 1, d + 1] in float64 for inputs […, d]. X has a column of ones for the bias."""
    x = inputs.detach().reshape(-1, inputs.shape[-1]).cpu().double()
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    return x.T @ x


def save_grams(grams: Grams, folder: Path) -> None:
    """Write the grams to folder/grams.safetensors, beside the layers that they belong to."""
    from safetensors.torch import save_file

    with beside(folder / GRAMS) as scratch:
        save_file({name: g.contiguous() for name, g in grams.items()}, scratch)


def load_grams(folder: Path) -> Grams:
    """Return the grams that save_grams() wrote."""
    from safetensors.torch import load_file

    return load_file(folder / GRAMS)


def _places(state: State) -> list[str]:
    return [key.removesuffix(".weight") for key in state if key.endswith(".weight")]


def _with_bias(state: State, place: str) -> Tensor:
    """[d + 1, o]: the map as X W, its bias as the last row."""
    return torch.cat([state[f"{place}.weight"].T, state[f"{place}.bias"][None]])


def _without_bias(found: Tensor, place: str, like: State) -> State:
    dtype = like[f"{place}.weight"].dtype
    weight, bias = found[:-1].T.contiguous().to(dtype), found[-1].clone().to(dtype)
    return {f"{place}.weight": weight, f"{place}.bias": bias}


def _check(states: Sequence[State]) -> None:
    shapes = [{key: value.shape for key, value in state.items()} for state in states]
    if not shapes or any(s != shapes[0] for s in shapes):
        raise ValueError("fusion: needs one or more sets of layers of the same model and bottleneck.")
