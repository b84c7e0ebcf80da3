"""ME+GD, maximising entropy: Yuan et al. 2025, "A Closer Look at Machine Unlearning for LLMs", §4.1.

    L = w mean_{t∈F} KL(U ‖ p_t) + α NLL(R),   KL(U ‖ p) = -log|V| - (1/|V|) Σ_v log p(v)

Teaches the model to spread its guess over the whole vocabulary on the texts to forget. The aim has an end, 0, where
every token is as likely as any other, so nothing runs away as it does in ascent.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, torch
from unlearn.compute.tokens import Batch
from unlearn.methods.base import CHAT_MODELS, RetainMethod, knob
from unlearn.training.reference import Reference


@dataclass(frozen=True, kw_only=True)
class MaximumEntropy(RetainMethod):
    """The method that makes every next token equally likely on the texts to forget."""

    name = "me"

    forget_weight: float = knob(0.1, 0.0, 100.0, "w: how much forgetting counts.")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)

        def uniform(labels: Tensor) -> Tensor:
            return torch.zeros(len(labels), forget.vocabulary, device=labels.device)

        apart = forget.cross_entropy(uniform, divergence=True)
        return self.with_retain(self.forget_weight * forget.token_mean(apart), retain)

    title = "Maximum entropy (ME+GD)"
    paper = "Yuan et al. 2025, arXiv 2410.08109"
    sentence = "Teaches the model to be wholly undecided about the text to forget."
    formula = r"L = w\,\mathrm{mean}_{t\in F}\,\mathrm{KL}(U \,\|\, p_t) + \alpha\,\mathrm{NLL}(R)"
    when = "Where an untargeted method is wanted whose forgetting ends by itself."
    cost = "One forward and backward pass over forget and retain texts together; no reference."
    risk = "What it says afterwards about the forgotten is noise; that tells a reader that something was removed."
    origins = {
        "tiny": CHAT_MODELS,
        "small": "tuned here on SmolLM2-135M and the capitals of 22 countries outside Europe, six trials, one seed",
        "large": "Yuan et al. 2025, code (Llama-2-7B, TOFU: w 0.1, 5 epochs, batch 32); not measured here",
    }
    tuned = {
        "tiny": {"epochs": 8, "batch_size": 8, "forget_weight": 0.2},
        ("tiny", "full"): {"lr": 3e-4, "epochs": 12, "forget_weight": 0.4},
        ("bundled", "full"): {"epochs": 8, "forget_weight": 0.2},
        ("tiny", "lora"): {"lr": 3e-3},
        "small": {"lr": 2e-3, "epochs": 5, "batch_size": 4, "forget_weight": 0.2, "retain_weight": 4.0},
        ("smollm2-tofu", "lora"): {"lr": 2e-3, "retain_weight": 4.0},
        "large": {"lr": 1e-5, "epochs": 5, "batch_size": 32, "forget_weight": 0.1, "retain_weight": 1.0},
        ("large", "lora"): {"lr": 1e-4},
    }
