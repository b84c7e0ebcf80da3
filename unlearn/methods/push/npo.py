"""Negative preference optimisation: Zhang et al. 2024, eq. (3); with a retain term, §3.

    L = -(2/β) mean_i log σ(β (S_i - S_i^ref)) + α NLL(R),   S_i = Σ_t -log p(y_t | y_<t)

Like gradient ascent at the start, but each sequence pushes less the further it has already been forgotten.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import F, Model, Tensor
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.reference import Reference


def npo(sums: Tensor, ref_sums: Tensor, beta: float) -> Tensor:
    """Return the loss [B] of each sequence from its summed NLL now and under the reference."""
    return -2.0 / beta * F.logsigmoid(beta * (sums - ref_sums))


@dataclass(frozen=True, kw_only=True)
class NPO(RetainMethod):
    """The method that lowers the likelihood of forget texts, and less so the lower it already is."""

    name = "npo"
    needs_ref = {"forget": "sums"}

    beta: float = knob(0.1, 0.01, 1.0, "β, inverse temperature. Smaller is closer to gradient ascent.")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        per_row = npo(forget.row_sum(forget.nll), ref.sums(forget), self.beta)
        return self.with_retain(forget.row_mean(per_row), retain)

    title = "NPO"
    paper = "Zhang et al. 2024, arXiv 2404.05868"
    sentence = "Treats each forget text as a bad answer and eases off as it is forgotten."
    formula = (
        r"L = -\tfrac{2}{\beta}\,\mathrm{mean}_i \log\sigma\big(\beta\,(S_i - S_i^{\mathrm{ref}})\big)"
        r" + \alpha\,\mathrm{NLL}(R)"
    )
    when = "Where whole answers must go and plain ascent breaks the model: the usual strong baseline."
    cost = "As ascent + descent; the reference is one pass over the forget texts, before training."
    risk = (
        "What is near suffers: neighbours of the forget texts lose more than the rest. A small β brings it closer to "
        "ascent."
    )
    # tiny-snippets: tuned here, three seeds (LOG.md); more weight on the rest spares what is near.
    origins = {
        "large": (
            "Zhang et al. 2024, appendix E.1 and code (Llama-2-7B, TOFU); LoRA's rate by analogy; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 5, "batch_size": 4, "beta": 1.0, "retain_weight": 1.0, "retain_per_forget": 2.0},
        ("tiny", "full"): {"lr": 1.5e-4},
        ("tiny", "lora"): {"lr": 2e-3},
        ("tiny-snippets", "full"): {"retain_weight": 3.0},
        "small": {"lr": 1e-3, "epochs": 5, "batch_size": 4, "beta": 0.5, "retain_weight": 4.0},
        ("smollm2-tofu", "lora"): {"lr": 2e-3, "epochs": 10},
        "large": {
            "lr": 1e-5,
            "epochs": 10,
            "batch_size": 32,
            "beta": 0.1,
            "retain_weight": 1.0,
            "retain_per_forget": 1.0,
        },
        ("large", "lora"): {"lr": 1e-4},
    }
    several = {("small", "lora"): {"lr": 5e-4}}
