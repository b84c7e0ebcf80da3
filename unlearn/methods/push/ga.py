"""Gradient ascent: Yao et al. 2024, §3.2 (1).

    L = -NLL(F)

Walk uphill on the loss of the text to forget, with nothing to hold on to: the loss has no end.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, lm
from unlearn.compute.tokens import Batch
from unlearn.methods.base import Method
from unlearn.training.reference import Reference


@dataclass(frozen=True, kw_only=True)
class GradientAscent(Method):
    """The method that raises the loss of the forget texts without any bound."""

    name = "ga"

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        (forget,) = lm.forward(model, batch.forget)
        return {"forget": -forget.mean_nll()}

    title = "Gradient ascent (GA)"
    paper = "Yao et al. 2024, arXiv 2402.15159"
    sentence = "Makes the text to forget less likely with every step, and never stops."
    formula = r"L = -\mathrm{NLL}(F)"
    when = "As the baseline that shows how forgetting goes wrong; not for a model that must stay useful."
    cost = "The cheapest step: forget texts only."
    risk = (
        "A narrow window: from 2e-4 to 4e-4 the bundled model goes from keeping four answers in five to keeping "
        "hardly any, and the same setting ends differently with another seed. On tiny chat models one rate took all "
        "answers of one and left all of another's; held to nine tenths of what must stay (--budget retain=0.9), 68 to "
        "92 % of the forget answers were left; with all texts in one batch (1e-3, 9 epochs) it left 20, 0 and 0 % of "
        "three and kept 100, 96 and 0 % of the others."
    )
    collapses = (
        "Gradient ascent is known to collapse: its loss has no lower bound. At these defaults it forgets, and takes "
        "along most of what should stay."
    )
    also = {"Gradient ascent (Yao et al. 2024)": {}}
    # tiny-snippets: tuned here, three seeds (LOG.md); no rate forgets and keeps the rest word for word.
    origins = {
        "large": (
            "Yao et al. 2024, §4 and code (Yi-6B): 1 epoch at 2e-5; batch and LoRA's rate by analogy; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 5, "batch_size": 16},
        ("tiny", "full"): {"lr": 4e-4},
        ("tiny", "lora"): {"lr": 3e-3},
        ("tiny-snippets", "full"): {"lr": 2e-4, "epochs": 7, "batch_size": 40},
        "small": {"lr": 6e-4, "epochs": 4, "batch_size": 8},
        ("smollm2-tofu", "lora"): {"lr": 2e-3},
        "large": {"lr": 2e-5, "epochs": 1, "batch_size": 16},
        ("large", "lora"): {"lr": 1e-4},
    }
