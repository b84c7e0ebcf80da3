"""SatImp: Yang et al. 2025, "Exploring Criteria of Loss Reweighting to Enhance LLM Unlearning".

    L = -mean_t w_t l_t + α NLL(R),   w_t = p_t^β1 (1 - p_t)^β2 without gradient,   l_t = -log p_t

Ascent weighted by saturation (let go of what is already unlikely) and importance (spare what is certain anyway).
"""

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.reference import Reference


def satimp(nll: Tensor, beta1: float, beta2: float) -> Tensor:
    """Return the weighted ascent loss [T] of each token from its NLL."""
    p = (-nll).exp().detach()
    return -(p**beta1) * (1 - p) ** beta2 * nll


@dataclass(frozen=True, kw_only=True)
class SatImp(RetainMethod):
    """The method that raises the loss of each forget token by a weight for saturation and importance."""

    name = "satimp"

    beta1: float = knob(5.0, 0.0, 10.0, "β1, saturation: how quickly an unlikely token is let go.")
    beta2: float = knob(1.0, 0.0, 10.0, "β2, importance: how much a token that is certain is spared.")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        return self.with_retain(forget.token_mean(satimp(forget.nll, self.beta1, self.beta2)), retain)

    title = "SatImp"
    paper = "Yang et al. 2025, arXiv 2505.11953"
    sentence = "Gradient ascent that works on tokens neither certain nor already forgotten."
    formula = r"L = -\mathrm{mean}_t\,p_t^{\beta_1}(1 - p_t)^{\beta_2}\,l_t + \alpha\,\mathrm{NLL}(R)"
    when = "Where a text is known in part: the push goes to tokens between certain and forgotten."
    cost = "As ascent + descent."
    risk = "A token that the model is sure of (p near 1) is hardly pushed at all: it starts slowly."
    # large: forgetting weighs ten times what keeping does. The authors' own code recommends β2 0.1 in place of 1.
    origins = {
        "large": (
            "Yang et al. 2025 as told by OpenUnlearning (Llama-2-7B, TOFU); LoRA's rate by analogy; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 6, "batch_size": 8, "beta2": 0.1},
        ("tiny", "full"): {"lr": 0.0003},
        ("tiny", "lora"): {"lr": 0.003},
        "small": {
            "lr": 4e-4,
            "epochs": 10,
            "batch_size": 4,
            "beta1": 1.0,
            "beta2": 0.3,
            "retain_weight": 4.0,
        },
        ("smollm2-tofu", "lora"): {"lr": 3e-3},
        "large": {
            "lr": 1e-5,
            "epochs": 5,
            "batch_size": 16,
            "beta1": 5.0,
            "beta2": 1.0,
            "retain_weight": 0.1,
            "retain_per_forget": 1.0,
        },
        ("large", "lora"): {"lr": 1e-4},
    }
