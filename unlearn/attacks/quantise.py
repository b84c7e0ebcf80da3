"""This attack rounds the weights to 8 or 4 bits, because rounding can undo small changes.

Unlearning is a small change.

    q = clamp(round(w / s), -Q, Q),   s = max|w| / Q over each group,   Q = 2^(bits-1) - 1,   ŵ = s q

Symmetric round-to-nearest over groups of 32 consecutive inputs of one output, so |ŵ - w| ≤ s/2. Rounded is every
linear map but the output head: embeddings, norms and biases stay. A LoRA adapter is merged first,
as it would be for deployment. Zhang et al. 2024, arXiv 2410.16454. On a copy; the run's weights are not touched.
"""

import copy
from collections.abc import Callable, Iterator
from typing import cast

from unlearn.attacks.base import Attack, Found, Subject, beside, exact_each, mean_or_zero, percent
from unlearn.compute.lazy import Model, Tensor, no_grad, torch
from unlearn.models.precision import every_weight

BITS = (8, 4)
GROUP = 32


def rounded(weight: Tensor, bits: int, group: int = GROUP) -> Tensor:
    """Return weight [out, in] after rounding. The last group of a row may be shorter. Same dtype."""
    top = 2 ** (bits - 1) - 1
    parts = []
    for piece in weight.float().split(group, dim=1):
        scale = piece.abs().amax(dim=1, keepdim=True) / top
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        parts.append((piece / safe).round().clamp(-top, top) * safe)
    return torch.cat(parts, dim=1).to(weight.dtype)


def merged_copy(model: Model) -> Model:
    """Return a copy of the model whose weights may be changed, with a LoRA adapter merged. ValueError for a model
    whose weights are rounded already.
    """
    every_weight(model, "rounding")
    model = copy.deepcopy(model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    return model.eval()


def linear_maps(model: Model) -> "Iterator[tuple[str, torch.nn.Linear, bool]]":
    """Return (name, module, whether its weight lies as [in, out]) of each linear map but the output head."""
    for name, module in model.named_modules():
        # GPT-2 keeps its weights as [in, out], so they are turned for rounding. Its class may have been refined.
        turned = any(kind.__name__ == "Conv1D" for kind in type(module).__mro__)
        if (isinstance(module, torch.nn.Linear) or turned) and module is not model.get_output_embeddings():
            yield name, cast("torch.nn.Linear", module), turned


@no_grad
def with_weights(model: Model, new: Callable[[str, Tensor], Tensor]) -> list[str]:
    """Put new(name, weight [out, in]) in the place of the weight of each linear map, and return the maps' names."""
    names = []
    for name, module, turned in linear_maps(model):
        made = new(name, module.weight.T if turned else module.weight)
        module.weight.copy_(made.T if turned else made)
        names.append(name)
    if not names:
        raise ValueError("rounding: the model has no linear map that could be rounded")
    return names


def quantised(model: Model, bits: int) -> tuple[Model, list[str]]:
    """Return (a copy with rounded weights, the names of the maps that were rounded)."""
    model = merged_copy(model)
    return model, with_weights(model, lambda _, weight: rounded(weight, bits))


def run(subject: Subject) -> Found | None:
    """Ask the rounded models of the three sides and return what the attack found at the worse number of bits."""
    by_bits: dict[int, dict[str, list[float]]] = {bits: {} for bits in BITS}
    plain: list[float] = []
    layers: list[str] = []
    for done, side in enumerate(subject.sides()):
        loaded = subject.model(side.when)
        if side.name == "after":
            plain = exact_each(subject.read(loaded, "forget"))
        for i, bits in enumerate(BITS):
            subject.progress(f"{side.when} at {bits} bits", (done + i / len(BITS)) / 3)
            held = copy.copy(loaded)
            held.model, layers = quantised(loaded.model, bits)
            by_bits[bits][side.name] = exact_each(subject.read(held, side.role))
    worst = max(
        BITS, key=lambda b: mean_or_zero(by_bits[b]["after"]) - mean_or_zero(by_bits[b].get("control", []))
    )
    values = by_bits[worst]
    other = BITS[0] if worst == BITS[1] else BITS[1]
    finding = (
        f"With {worst}-bit weights it answers {percent(values['after'])} "
        f"({other}-bit: {percent(by_bits[other]['after'])}, unrounded: {percent(plain)}); "
        f"{beside(subject, values)}."
    )
    means = {str(b): {side: mean_or_zero(v) for side, v in by_bits[b].items()} for b in BITS}
    details = {"bits": worst, "group": GROUP, "by_bits": means, "layers": layers}
    return Found(values, finding, plain, details)


ATTACK = Attack(
    name="quantise",
    title="8- and 4-bit weights",
    help="Share of exact answers with all linear maps but the head rounded to 8 and 4 bits (groups of 32); the worse.",
    tells="suppressed",
    run=run,
    paper="Zhang et al. 2024, arXiv 2410.16454",
)
