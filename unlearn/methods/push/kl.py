"""Gradient ascent + KL divergence: Yao et al. 2024, §3.2 (6, 7).

    L = -γ NLL(F) + α mean_{t∈R} KL(p_ref,t ‖ p_θ,t)

Climb on the text to forget while the whole distribution over texts to keep stays as it was. The mean is over
answer tokens; the released code averages over padding too.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor
from unlearn.compute.tokens import Batch
from unlearn.methods.base import CHAT_MODELS, RetainMethod, knob
from unlearn.training.reference import Reference


@dataclass(frozen=True, kw_only=True)
class AscentKL(RetainMethod):
    """The method that raises the loss of the forget texts and keeps the distribution on retain texts."""

    name = "kl"
    needs_ref = {"retain": "states"}

    forget_weight: float = knob(1.0, 0.0, 100.0, "γ: how much forgetting counts.")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        terms = {"forget": -self.forget_weight * forget.mean_nll()}
        if retain is not None:

            def before(_: Tensor, ref_states: Tensor) -> Tensor:
                return ref.head(ref_states)

            per_token = retain.cross_entropy(before, ref.states(retain), divergence=True)
            terms["retain"] = self.retain_weight * retain.token_mean(per_token)
        return terms

    title = "Ascent + KL (GA+KL)"
    paper = "Yao et al. 2024, arXiv 2402.15159"
    sentence = "Unlearns the forget texts while its opinion on texts to keep stays what it was."
    formula = (
        r"L = -\gamma\,\mathrm{NLL}(F) + \alpha\,\mathrm{mean}_{t \in R}\,"
        r"\mathrm{KL}(p_{\mathrm{ref},t} \,\|\, p_{\theta,t})"
    )
    when = "Where the whole behaviour on texts to keep should stay, and not only their right answers."
    cost = "As ascent + descent; the reference is one pass over the texts to keep, before training."
    risk = (
        "The forget term has no end, and KL only resists once the damage has begun: neighbours suffer first."
    )
    also = {
        "GA + KL divergence, in-distribution (Yao et al. 2024)": {"retain_source": "in-distribution"},
        "GA + KL divergence, general (Yao et al. 2024)": {"retain_source": "general"},
    }
    origins = {
        "tiny": CHAT_MODELS,
        "large": (
            "Yao et al. 2024, §4 and code (Yi-6B): 1 epoch at 2e-5, retain 1 : 1; batch and LoRA's rate by "
            "analogy; not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 6, "batch_size": 8, "retain_weight": 4.0},
        ("tiny", "full"): {"lr": 0.0002, "epochs": 10},
        ("bundled", "full"): {"epochs": 6},
        ("tiny", "lora"): {"lr": 0.0015},
        "small": {"lr": 3e-4, "epochs": 5, "batch_size": 4, "retain_weight": 20.0},
        ("smollm2-tofu", "lora"): {"lr": 3e-3},
        "large": {"lr": 2e-5, "epochs": 1, "batch_size": 16, "retain_weight": 1.0, "retain_per_forget": 1.0},
        ("large", "lora"): {"lr": 1e-4},
    }
