"""One unwanted direction is taken out of the states: the one in which forget prompts differ from retain prompts.

    r = mean of h over forget prompts - mean of h over retain prompts, at block l, where the answer begins;  r̂ = r / |r|
    h ← h - (h · r̂) r̂ behind every block;   value = share of forget questions answered exactly then

A model that learned to refuse, or to steer away, does so along such a direction (Arditi et al. 2024, arXiv 2406.11717,
find refusal in one; RMU pushes forget states along one by design). Each model is read for its own direction. Prompts
alone are needed, no answer. On hooks that are taken off again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unlearn.attacks.base import Attack, Cell, Found, Side, Subject, beside, exact_each, percent
from unlearn.attacks.probe import states
from unlearn.attacks.swept.asking import some
from unlearn.compute.lazy import Model, Tensor, torch
from unlearn.compute.states import blocks, depth

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# The depth at which the direction is read, as a part of all blocks.
PLACES = (0.25, 0.5, 0.75, 1.0)
# So many prompts of each kind are read.
PROMPTS = 60
PAPER = "Arditi et al. 2024, arXiv 2406.11717"


def block_at(model: Model, place: float) -> int:
    """Return the number of the block, from 0, that ends at this part of the depth."""
    return max(1, round(place * depth(model))) - 1


def direction(subject: Subject, loaded: "Loaded", role: str, place: float) -> Tensor:
    """Return the unit vector [d] from the mean state of retain prompts to that of the role's. ValueError where there
    is nothing to compare.
    """
    retain = some([row for row in subject.data.fit_rows("retain") if row.prompt], PROMPTS)
    asked = some([row for row in subject.chosen[role] if row.prompt], PROMPTS)
    if not retain or not asked:
        raise ValueError("ablate: a direction needs forget and retain prompts")
    layer = block_at(loaded.model, place)
    here, there = (states(loaded, rows, subject.max_length, layer=layer).mean(0) for rows in (asked, retain))
    apart = torch.as_tensor(here - there, dtype=torch.float32, device=loaded.device)
    length = apart.norm()
    if not length > 0:
        raise ValueError(
            "ablate: forget and retain prompts have the same states, so no direction leads apart"
        )
    return apart / length


@contextmanager
def without(model: Model, r: Tensor) -> Iterator[None]:
    """Take the direction out of what every block hands on, within the `with` block."""

    def clean(h: Tensor) -> Tensor:
        unit = r.to(h)
        return h - (h @ unit)[..., None] * unit

    def hook(
        _: "torch.nn.Module", __: object, output: Tensor | tuple[Tensor, ...]
    ) -> Tensor | tuple[Tensor, ...]:
        return (clean(output[0]), *output[1:]) if isinstance(output, tuple) else clean(output)

    handles = [block.register_forward_hook(hook) for block in blocks(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _run(place: float) -> Callable[[Subject], Found | None]:
    def run(subject: Subject) -> Found | None:
        if subject.model("before").model.config.is_encoder_decoder:
            return None
        plain: list[float] = []

        def ask(loaded: "Loaded", side: Side) -> list[float]:
            if side.name == "after":
                plain.extend(exact_each(subject.read(loaded, side.role)))
            with without(loaded.model, direction(subject, loaded, side.role, place)):
                return exact_each(subject.read(loaded, side.role))

        values = subject.each("forget", ask)
        finding = (
            f"Without the direction in which forget prompts differ at {place:.0%} of the depth it answers "
            f"{percent(values['after'])} (with it: {percent(plain)}); {beside(subject, values)}."
        )
        return Found(values, finding, plain, {"place": place})

    return run


def _cell(place: float) -> Cell:
    setting = f"read at {place:.0%} of the depth"
    attack = Attack(
        f"ablate-{round(100 * place)}",
        f"A direction ablated: {setting}",
        "Share of exact answers without the direction in which the states of forget and retain prompts differ.",
        "suppressed",
        _run(place),
        PAPER,
        "a decoder-only model",
    )
    return Cell(attack, "A direction ablated", setting, cost=6)


CELLS = tuple(_cell(place) for place in PLACES)
