"""Weighted gradient ascent: Wang et al. 2025, "Rethinking LLM Unlearning Objectives".

    L = -mean_t w_t l_t + α NLL(R),   w_t = p_t^β without gradient,   l_t = -log p_t

Gradient ascent that lets go of a token once it has become unlikely.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.reference import Reference


def wga(nll: Tensor, beta: float) -> Tensor:
    """Return the weighted ascent loss [T] of each token from its NLL."""
    return -(-beta * nll).exp().detach() * nll


@dataclass(frozen=True, kw_only=True)
class WeightedAscent(RetainMethod):
    """The method that raises the loss of each forget token, and less so the less likely it is."""

    name = "wga"

    beta: float = knob(1.0, 0.0, 10.0, "β: how quickly a token is let go; 0 is gradient ascent.")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        return self.with_retain(forget.token_mean(wga(forget.nll, self.beta)), retain)

    title = "Weighted ascent (WGA)"
    paper = "Wang et al. 2025, arXiv 2502.19301"
    sentence = "Gradient ascent that pushes a token less the more unlikely it has become."
    formula = r"L = -\mathrm{mean}_t\,p_t^{\beta}\,l_t + \alpha\,\mathrm{NLL}(R)"
    when = "As ascent, where tokens that are gone already should be left alone."
    cost = "As ascent + descent."
    risk = "With β near 0 it is gradient ascent again, and has no end."
    origins = {
        "large": (
            "Wang et al. 2025, code (Llama-2-7B, TOFU); α and β as in OpenUnlearning; LoRA's rate by analogy; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 6, "batch_size": 8},
        ("tiny", "full"): {"lr": 0.0003},
        ("tiny", "lora"): {"lr": 0.002},
        "small": {"lr": 3.3e-4, "epochs": 10, "batch_size": 4, "retain_weight": 4.0},
        ("smollm2-tofu", "lora"): {"lr": 2e-3},
        "large": {
            "lr": 1e-5,
            "epochs": 5,
            "batch_size": 16,
            "beta": 1.0,
            "retain_weight": 1.0,
            "retain_per_forget": 1.0,
        },
        ("large", "lora"): {"lr": 1e-4},
    }
