"""Reads of every block of a model its mean states on texts, and how much its weights matter for them (Fisher)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from unlearn.compute.lazy import lm, torch
from unlearn.compute.states import blocks
from unlearn.compute.tokens import Example, collate
from unlearn.measure.patching import block_states

if TYPE_CHECKING:
    import numpy as np

    from unlearn.models.load import Loaded

# The texts that the Fisher information is a mean of: each takes a backward pass.
FEW = 16
# The most parameters of a model whose gradients are taken, since they lie in memory beside the weights.
MOST = 5e8


def mean_states(
    loaded: "Loaded", examples: Sequence[Example], count: Callable[[int], None] = lambda tokens: None
) -> "np.ndarray":
    """Return [blocks, texts, d]: each block's states, averaged over the places that predict the answer."""
    found = []
    for example in examples:
        at = torch.tensor([i - 1 for i in example.answer_at])
        found.append(torch.stack([x.double().mean(0) for x in block_states(loaded, example, at)]))
        count(len(example.input_ids))
    return torch.stack(found, 1).cpu().numpy()


def fisher(loaded: "Loaded", examples: Sequence[Example]) -> list[float]:
    """Return of each block the mean of the diagonal of the empirical Fisher information of its weights.

    It is E[(d log p(answer) / d w)²], the mean over the first FEW texts and over the weights that are numbers with a
    gradient; an adapter's own are not among them. It is empty for a model that is too large, or whose weights are
    rounded.
    """
    own = [
        [p for name, p in block.named_parameters() if "lora_" not in name and p.is_floating_point()]
        for block in blocks(loaded.model)
    ]
    if loaded.parameters > MOST or not all(own):
        return []
    flat = [p for some in own for p in some]
    before = [p.requires_grad for p in flat]
    totals = [0.0] * len(own)
    try:
        for p in flat:
            p.requires_grad_(True)
        with torch.enable_grad():
            for example in examples[:FEW]:
                (answers,) = lm.forward(loaded.model, collate([example], loaded.pad_id).to(loaded.device))
                found = iter(torch.autograd.grad(answers.nll.sum(), flat, allow_unused=True))
                for i, some in enumerate(own):
                    parts = [next(found) for _ in some]
                    totals[i] += sum(float(g.double().square().sum()) for g in parts if g is not None)
    finally:
        for p, was in zip(flat, before, strict=True):
            p.requires_grad_(was)
    texts = min(FEW, len(examples))
    return [total / texts / sum(p.numel() for p in some) for total, some in zip(totals, own, strict=True)]
