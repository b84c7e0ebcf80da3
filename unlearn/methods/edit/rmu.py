"""RMU, representation misdirection: Li et al. 2024, "The WMDP Benchmark", §4.

    L = mean_i mean_t mean_d (h_θ - c u)² on F + α mean_i mean_t mean_d (h_θ - h_ref)² on R
    h: the state after block ℓ at a place t that predicts an answer token (the place before it);
    u: a random direction, u ~ U[0,1)^d scaled to length 1, drawn once

Steers the inner state on texts to forget towards one meaningless direction and holds it elsewhere; only the
down-projections of blocks ℓ-2 … ℓ move, and the blocks above ℓ are not even run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, Tokenizer, lm, torch
from unlearn.compute.states import depth
from unlearn.compute.tokens import Batch, Tokens
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.batches import Batches
from unlearn.training.reference import Reference

DOWN = re.compile(r"\.(\d+)\.(?:mlp\.(?:down_proj|c_proj|dense_4h_to_h|fc2|fc_out)|fc2)\.")


def distance(answers: lm.Answers, target: Tensor) -> Tensor:
    """Return the mean squared distance of the states from target [T, d] or [d]: mean_i mean_t mean_d (h -
    target)².
    """
    squares = (answers.hidden.float() - target.float()).square().mean(-1)
    return answers.row_mean(answers.row_sum(squares) / answers.row_count)


@dataclass(frozen=True, kw_only=True)
class RMU(RetainMethod):
    """The method that moves the hidden states of forget texts to one random direction."""

    name = "rmu"

    retain_weight: float = knob(
        1.0,
        0.0,
        10_000.0,
        "α: how much keeping the other texts' state counts; the paper's Zephyr-7B took 1200.",
    )
    steering: float = knob(6.5, 0.1, 500.0, "c: length of the state that forget texts are steered to.")
    layer_at: float = knob(0.33, 0.0, 1.0, "Where block ℓ lies: 0 the first, 1 the last.", advanced=True)

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        sides = [side for side in (batch.forget, batch.retain) if side is not None]
        forget, *retain = lm.forward(model, *sides, layer=self.block(depth(model)))
        terms = {"forget": distance(forget, self.steering * ref.run["direction"])}
        if retain:
            terms["retain"] = self.retain_weight * distance(retain[0], ref.per_token("layer", retain[0]))
        return terms

    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Fill the reference before the first step with the values that loss() needs."""
        device = next(model.parameters()).device
        texts = (tokens.to(device) for tokens in stream.every("retain"))
        ref.prepare(model, "layer", texts, layer=self.block(depth(model)))
        drawn = torch.Generator().manual_seed(stream.seed)
        u = torch.rand(model.config.hidden_size, generator=drawn, device="cpu")
        ref.run["direction"] = (u / u.norm()).to(device)

    def referred(self, ref: Reference, batch: Batch) -> Iterator[tuple[str, Tokens]]:
        """Yield (kind, texts) in the order in which loss() asks the reference about them on this batch."""
        if batch.retain is not None:
            yield "layer", batch.retain

    def block(self, depth: int) -> int:
        """Return the number ℓ of the steered block, counted from 0, in a model of this many blocks."""
        return round(self.layer_at * (depth - 1))

    def trainable(self, name: str, depth: int) -> bool:
        """Return whether this parameter of a model of `depth` blocks may be trained."""
        found = DOWN.search(name)
        return found is not None and 0 <= self.block(depth) - int(found[1]) <= 2

    title = "RMU"
    paper = "Li et al. 2024, arXiv 2403.03218"
    sentence = "Scrambles the model's inner state on the forget texts and holds it on the others."
    formula = (
        r"L = \mathrm{mean}_{i,t,d}\,(h_\theta - c\,u)^2_F"
        r" + \alpha\,\mathrm{mean}_{i,t,d}\,(h_\theta - h_{\mathrm{ref}})^2_R"
    )
    when = "For whole fields of dangerous knowledge, where gibberish is an acceptable answer."
    cost = "Cheap: only the blocks up to ℓ are run, and a few matrices move."
    risk = "What is forgotten turns to gibberish, not to not knowing; texts like it suffer too."
    # large: block 7 of 32; the code's own defaults are 80 batches, c 20 and α 100
    origins = {
        "large": (
            "Li et al. 2024, notebook of their released Zephyr-7B (150 batches); epochs and LoRA's rate by "
            "analogy; not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 10, "batch_size": 8, "steering": 20.0, "layer_at": 0.67, "retain_weight": 2.0},
        ("tiny", "full"): {"lr": 0.002},
        ("tiny", "lora"): {"lr": 0.01},
        "small": {
            "lr": 3e-3,
            "epochs": 5,
            "batch_size": 4,
            "steering": 200.0,
            "layer_at": 0.33,
            "retain_weight": 7.0,
        },
        ("smollm2-tofu", "lora"): {"lr": 8e-3, "retain_weight": 20.0},
        "large": {
            "lr": 5e-5,
            "epochs": 5,
            "batch_size": 4,
            "steering": 6.5,
            "layer_at": 0.23,
            "retain_weight": 1200.0,
            "retain_per_forget": 1.0,
        },
        ("large", "lora"): {"lr": 5e-4},
    }
