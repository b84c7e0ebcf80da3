"""Fine-tuning on retain: the baseline of EUL (Chen & Yang 2023, §4.1) and of Yao et al. 2024.

    L = NLL(R)

Keep practising what should stay and hope that the rest fades: the control that every method must beat.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, lm
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.reference import Reference


@dataclass(frozen=True, kw_only=True)
class FineTune(RetainMethod):
    """The method that trains on the retain texts alone."""

    name = "finetune"

    retain_weight: float = knob(1.0, 0.01, 100.0, "α: scale of the loss.", advanced=True)

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        (retain,) = lm.forward(model, batch.retain)
        return {"retain": self.retain_weight * retain.mean_nll()}

    @property
    def uses_forget(self) -> bool:
        """Return whether a batch needs forget texts."""
        return False

    title = "Fine-tune on retain"
    paper = "baseline of Chen & Yang 2023, arXiv 2310.20150"
    sentence = "Practises only what should stay, and hopes that the rest fades."
    formula = r"L = \mathrm{NLL}(R)"
    when = "As the control: what practice on the rest forgets by itself."
    cost = "A plain fine-tuning step over the texts to keep."
    risk = (
        "It forgets next to nothing: a tiny chat model still gave all answers to forget, and SmolLM2 91 % of the "
        "capitals in each of three formats. A control, not a remedy."
    )
    forget_terms = ()
    origins = {
        "large": (
            "Chen & Yang 2023, §4.4 (T5-3B); batch by analogy; LoRA's rate from the code of Maini et al. 2024; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 8, "batch_size": 16},
        ("tiny", "full"): {"lr": 5e-4},
        ("tiny", "lora"): {"lr": 5e-3},
        "small": {"lr": 2e-4, "epochs": 5, "batch_size": 8},
        "large": {"lr": 5e-5, "epochs": 5, "batch_size": 16},
        ("large", "lora"): {"lr": 1e-4},
    }
