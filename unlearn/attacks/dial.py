"""The forgetting dial applies a part of the change: none (0), all of it (1), or too much (1.2).

    LoRA               W + s · (α/r) B A
    unlearning layers  h + s · (W_up relu(W_down h + b_down) + b_up)
    decoding           (1 - s λ) p + s λ / V  and  z - s a relu(z_m - z)
    every weight       θ0 + s (θ - θ0)

An adapter is a file that whoever holds it can leave out, so what comes back at 0 was never erased. Under full
fine-tuning 0 needs the original weights, which brings everything back for the retrained model too: it tells nothing.
One model in memory; fully tuned, the weights that moved lie beside it twice, as plain tensors.
Scaling a change: Ilharco et al. 2023, arXiv 2212.04089.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from unlearn.attacks.base import Attack, Found, Subject, exact_each, mean_or_zero, percent
from unlearn.compute.lazy import Model, no_grad, torch

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# The kind of a model whose decoding alone was changed (unlearn.models.joined.decoding, which loads torch).
DECODING = "unlearn_decoding"
SCALES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
KEPT = "retain"


def lora_dial(model: Model) -> Callable[[float], None]:
    """Return a function that sets the scale of every LoRA pair. At 1 it is what was trained."""
    found = (getattr(module, "scaling", None) for module in model.modules())
    scalings: list[dict[str, float]] = [scaling for scaling in found if isinstance(scaling, dict)]
    trained = [dict(scaling) for scaling in scalings]

    def turn(scale: float) -> None:
        for scaling, was in zip(scalings, trained, strict=True):
            scaling.update({name: scale * value for name, value in was.items()})

    return turn


@no_grad
def layers_dial(model: Model) -> Callable[[float], None]:
    """Return a function that sets the scale of what every unlearning layer adds.

    At 0 the layers are off, so the original is there to the bit.
    """
    from unlearn.models.layers import layers_of

    layers = list(layers_of(model).values())
    trained = [(layer.up.weight.clone(), layer.up.bias.clone()) for layer in layers]

    @no_grad
    def turn(scale: float) -> None:
        for layer, (weight, bias) in zip(layers, trained, strict=True):
            layer.on = scale != 0
            layer.up.weight.copy_(weight * scale)
            layer.up.bias.copy_(bias * scale)

    return turn


def decoding_dial(model: Model) -> Callable[[float], None]:
    """Return a function that sets the strength of what a decoding method does to the next-token distribution.

    At 0 the model answers as its start does.
    """
    head = model.get_output_embeddings()
    chosen = head.uniform, head.contrast

    def turn(scale: float) -> None:
        # More than all of a distribution cannot be the uniform one.
        head.uniform, head.contrast = min(1.0, scale * chosen[0]), scale * chosen[1]

    return turn


@no_grad
def full_dial(model: Model, original: Model) -> Callable[[float], None]:
    """Return a function that sets the weights between the original's and the trained ones.

    Both ends are exact to the bit.
    """
    begin = dict(original.named_parameters())
    if begin.keys() != {name for name, _ in model.named_parameters()}:
        raise ValueError("it is built otherwise than the original, so no line leads from one to the other")
    ends = {n: p.clone() for n, p in model.named_parameters() if not torch.equal(p, begin[n].to(p.dtype))}
    begin = {name: begin[name].detach() for name in ends}
    moving = {name: p for name, p in model.named_parameters() if name in ends}

    @no_grad
    def turn(scale: float) -> None:
        for name, parameter in moving.items():
            if scale in (0, 1):
                parameter.copy_(ends[name] if scale else begin[name])
            else:
                parameter.copy_(begin[name] + scale * (ends[name] - begin[name]))

    return turn


def dial_of(subject: Subject) -> "tuple[Loaded, Callable[[float], None], bool]":
    """Return (models.Loaded of the unlearned model, its dial, whether it is an adapter that can be left out)."""
    from unlearn.models.layers import layers_of

    loaded = subject.load("after")
    if hasattr(loaded.model, "disable_adapter"):
        return loaded, lora_dial(loaded.model), True
    if loaded.model.config.model_type == DECODING:
        return loaded, decoding_dial(loaded.model), True
    if layers_of(loaded.model):
        return loaded, layers_dial(loaded.model), True
    return loaded, full_dial(loaded.model, subject.load("before").model), False


def run(subject: Subject) -> Found | None:
    """Read the answers at every scale of the change and return what the attack found."""
    sides = {side.name: side for side in subject.sides()}
    values: dict[str, list[float]] = {
        name: exact_each(subject.read(subject.model(side.when), side.role))
        for name, side in sides.items()
        if name != "after"
    }
    loaded, turn, adapter = dial_of(subject)
    curve: dict[float, dict[str, list[float]]] = {}
    for done, scale in enumerate(SCALES):
        subject.progress(f"scale {scale:g}", done / len(SCALES))
        turn(scale)
        curve[scale] = {
            role: exact_each(subject.read(loaded, role))
            for role in ("forget", KEPT)
            if role in subject.chosen
        }
    values["after"] = curve[0.0 if adapter else 1.0]["forget"]
    means = {
        f"{scale:g}": {role: mean_or_zero(v) for role, v in found.items()} for scale, found in curve.items()
    }
    details = {"adapter": adapter, "curve": means}
    return Found(values, sentence(curve, adapter), curve[1.0]["forget"], details, counts=adapter)


def sentence(curve: dict[float, dict[str, list[float]]], adapter: bool) -> str:
    """Return the finding in words, from the answers at each scale."""
    off, on = (percent(curve[scale]["forget"]) for scale in (0.0, 1.0))
    if adapter:
        return f"With the adapter left out it answers {off} again (with it: {on})."
    half = mean_or_zero(curve[0.0]["forget"]) / 2
    back = [scale for scale in SCALES if 0 < scale <= 1 and mean_or_zero(curve[scale]["forget"]) >= half]
    where = f"half of it is there up to {max(back):g} of the change" if back else "it is gone from 0.2 on"
    return f"From the original's weights ({off}) to its own ({on}): {where}. Every weight moved, so this tells nothing."


ATTACK = Attack(
    name="dial",
    title="Forgetting dial",
    help="Share of exact answers when the change is scaled from 0 to 1.2; for an adapter the value is that at 0.",
    tells="suppressed",
    run=run,
    paper="Ilharco et al. 2023, arXiv 2212.04089",
)
