"""Unlearning layers are small trained layers behind every feed-forward block of a frozen model. The method is
from arXiv 2310.20150, §3.1.

    f(h) = h + W_up relu(W_down h + b_down) + b_up,   W_up = 0 and b_up = 0 at the start

h is what the feed-forward block hands on, before the residual is added. At the start f is the identity, so the
model's logits are unchanged to the bit; switched off, f is not computed at all, so the original comes back to
the bit at any time. That is a property to know: whoever has the file can switch the forgetting off.

Blocks are found by their shapes and not by family: a feed-forward block is what widens and narrows again. It is
the module whose own linear maps are one m → d, and one or two d → m (or one d → 2m), with d the model's width and
m > d. Attention never looks like that: it has three maps in, or maps of other widths. So a new family needs no
line here, and one of another build (mixture of experts) is refused with its name and never half covered.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from unlearn.compute.lazy import Model
from unlearn.store.disk import write_json

# Each layer is a submodule of this name: trainable(name) picks `".unlearning." in name`.
NAME = "unlearning"
# All layers together have this share of the model's parameters.
SHARE = 0.005
CONFIG, WEIGHTS = "eul_config.json", "eul.safetensors"


class UnlearningLayer(nn.Module):
    """A layer that returns h + W_up relu(W_down h + b_down) + b_up for h [..., d]. It computes in its own
    dtype (float32 on a bfloat16 base).

    on: off returns h itself. watch: called with (inputs of W_down, inputs of W_up), for the Gram matrices of fusion.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        # Torch's default is 2.4 times smaller.
        nn.init.kaiming_normal_(self.down.weight, nonlinearity="relu")
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.on = True
        self.watch: Callable[[Tensor, Tensor], None] | None = None

    def forward(self, h: Tensor) -> Tensor:
        """Return the layer's output [..., d] for h [..., d]."""
        if not self.on:
            return h
        x = h.to(self.down.weight.dtype)
        inner = torch.relu(self.down(x))
        if self.watch is not None:
            self.watch(x, inner)
        return h + self.up(inner).to(h.dtype)


def feed_forward_ends(model: Model) -> dict[str, nn.Module]:
    """Return {name: the narrowing map from m to d} of every feed-forward block, in the model's order.

    ValueError where their number is not the number of transformer layers.
    """
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    width, found = config.hidden_size, {}
    for parent, module in model.named_modules():
        maps = {name: shape for name, child in module.named_children() if (shape := _shape(child))}
        narrow = [n for n, (m, d) in maps.items() if d == width and m > width]
        if len(narrow) != 1:
            continue
        wide = maps[narrow[0]][0]
        rest = [shape for name, shape in maps.items() if name != narrow[0]]
        if rest == [(width, 2 * wide)] or (len(rest) in (1, 2) and all(s == (width, wide) for s in rest)):
            found[f"{parent}.{narrow[0]}"] = getattr(module, narrow[0])
    layers = _layer_count(model)
    if len(found) != layers:
        raise ValueError(
            f"model: {type(model).__name__} has {layers} transformer layers but {len(found)} feed-forward blocks "
            "of the known shape; unlearning layers need one in each. Choose a dense model, or another method."
        )
    return found


def _layer_count(model: Model) -> int:
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    if not getattr(model.config, "is_encoder_decoder", False):
        return config.num_hidden_layers
    encoder = getattr(config, "encoder_layers", None) or config.num_hidden_layers
    decoder = getattr(config, "num_decoder_layers", None) or getattr(config, "decoder_layers", None)
    return encoder + (decoder or config.num_hidden_layers)


def _shape(module: nn.Module) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear map, of either storage order; None for anything else."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    weight = getattr(module, "weight", None)
    # GPT-2's linear map keeps its weight as [inputs, outputs]; its class may have been refined.
    if not any(kind.__name__ == "Conv1D" for kind in type(module).__mro__) or not isinstance(weight, Tensor):
        return None
    inputs, outputs = weight.shape
    return inputs, outputs


def bottleneck_for(parameters: int, layers: int, width: int, share: float) -> int:
    """Return the largest bottleneck b with which the layers stay within the share of the model. b is at least
    1, and each layer has 2·d·b + b + d parameters.
    """
    room = share * parameters / layers - width
    return max(1, int(room // (2 * width + 1)))


def add_layers(model: Model, *, share: float = SHARE, seed: int = 0, bottleneck: int | None = None) -> Model:
    """Add a fresh unlearning layer to every transformer layer and return the same model. Everything else is
    frozen.

    share: of the parameters, unless bottleneck is given. Returns model. ValueError where it has layers already or
    no known feed-forward blocks.
    """
    if layers_of(model):
        raise ValueError("model: it has unlearning layers already; load the original again, or reuse them.")
    ends = feed_forward_ends(model)
    width = model.config.get_text_config().hidden_size
    size = bottleneck or bottleneck_for(model.num_parameters(), len(ends), width, share)
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for end in ends.values():
            weight = end.get_parameter("weight")
            dtype = torch.promote_types(weight.dtype, torch.float32)
            layer = UnlearningLayer(width, size).to(device=weight.device, dtype=dtype)
            end.add_module(NAME, layer)
            end.register_forward_hook(_apply)
    return model


def _apply(end: nn.Module, args: tuple[object, ...], output: Tensor) -> Tensor:
    return getattr(end, NAME)(output)


def layers_of(model: Model) -> dict[str, UnlearningLayer]:
    """Return {name of its feed-forward end: layer} in the model's order. It is empty for a model without
    layers.
    """
    suffix = f".{NAME}"
    return {n.removesuffix(suffix): m for n, m in model.named_modules() if isinstance(m, UnlearningLayer)}


@contextmanager
def switched_off(model: Model) -> Iterator[Model]:
    """Make the model exactly the original within the `with` block. Afterwards the layers are as they were."""
    layers = layers_of(model).values()
    before = [layer.on for layer in layers]
    try:
        for layer in layers:
            layer.on = False
        yield model
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.on = was


def layer_state(model: Model) -> dict[str, Tensor]:
    """Return {"<feed-forward end>.down.weight", …: a copy on the CPU}, which a run trained and a file holds."""
    return {
        f"{name}.{key}": value.detach().cpu().contiguous().clone()
        for name, layer in layers_of(model).items()
        for key, value in layer.state_dict().items()
    }


def set_layer_state(model: Model, state: dict[str, Tensor]) -> None:
    """Load such a state into the model's layers. ValueError where names or shapes are another model's."""
    mine = {f"{n}.{k}": p for n, layer in layers_of(model).items() for k, p in layer.named_parameters()}
    if set(mine) != set(state) or any(mine[k].shape != state[k].shape for k in mine):
        raise ValueError(
            "layers: they belong to another model or bottleneck; load the model they were made on."
        )
    with torch.no_grad():
        for key, parameter in mine.items():
            parameter.copy_(state[key])


def save_layers(model: Model, folder: Path) -> None:
    """Write the layers to folder/eul_config.json and folder/eul.safetensors."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    layers = layers_of(model)
    bottleneck = next(iter(layers.values())).down.out_features
    save_file(layer_state(model), folder / WEIGHTS)
    about = {"format": 1, "model": type(model).__name__, "bottleneck": bottleneck, "places": list(layers)}
    write_json(folder / CONFIG, about)


def read_state(folder: Path) -> dict[str, Tensor]:
    """Return the layer_state that save_layers() wrote."""
    from safetensors.torch import load_file

    return load_file(folder / WEIGHTS)


def load_layers(model: Model, folder: Path) -> Model:
    """Return the model with the layers of that folder, switched on. ValueError where they do not fit."""
    about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if list(feed_forward_ends(model)) != about["places"]:
        raise ValueError(
            f"layers: {folder} was made on a {about['model']} of another build; load that model first."
        )
    add_layers(model, bottleneck=int(about["bottleneck"]))
    set_layer_state(model, read_state(folder))
    return model.eval()
