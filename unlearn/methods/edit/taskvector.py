"""Task vector: Ilharco et al. 2023, "Editing Models with Task Arithmetic", §3.

    θ' = θ - a (θ_ft - θ),   θ_ft: θ fine-tuned on F with NLL(F)

Learns the text to forget still better, and then walks the same way backwards. Under LoRA θ_ft - θ is the product
BA with B = 0 at the start; so B alone is negated, since negating both factors would give the same product again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, lm, no_grad
from unlearn.compute.tokens import Batch
from unlearn.methods.base import Method, knob
from unlearn.training.loop import Phases, Step
from unlearn.training.reference import Reference


@no_grad
def negate(model: Model, start: Mapping[str, Tensor], scale: float) -> None:
    """Set the weights to θ' in place, given the weights by name from before the fine-tuning."""
    moving = dict(model.named_parameters())
    for name, begin in start.items():
        if ".lora_A." not in name:
            moving[name].copy_(begin - scale * (moving[name] - begin))


@dataclass(frozen=True, kw_only=True)
class TaskVector(Method):
    """The method that learns the forget texts and then subtracts what it learned from the weights."""

    name = "taskvector"

    scale: float = knob(1.0, 0.0, 20.0, "a: how far to walk back, in steps of the way that was learnt.")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        (forget,) = lm.forward(model, batch.forget)
        return {"forget": forget.mean_nll()}

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Carry out the method and yield after each training step."""
        start = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        for done in fit(lambda batch: self.loss(model, ref, batch)):
            # Before the last step is reported: what is seen after it is θ'.
            if done.step == done.of:
                negate(model, start, self.scale)
            yield done

    title = "Task vector"
    paper = "Ilharco et al. 2023, arXiv 2212.04089"
    sentence = "Learns the forget texts even better, then takes the opposite of that step."
    formula = r"\theta' = \theta - a\,(\theta_{\mathrm{ft}(F)} - \theta)"
    when = "For a quick edit without a forgetting loss: the amount is one number."
    cost = "A short fine-tuning on the forget texts, and a copy of the weights that it moves."
    risk = (
        "What forget texts share with others is subtracted too: by the time the bundled "
        "model has forgotten most, half of its neighbours are gone. A run stopped early has learnt the texts better. "
        "No term holds the rest: on tiny chat models none of 39 settings took the answers and kept the others (at best "
        "28 % left and 84 % kept), nor did adding the retain texts' own way."
    )
    forget_terms = ()
    early = False
    resumes = False
    origins = {
        "large": (
            "Shi et al. 2024 (MUSE), code (Llama-2-7B; the scale is chosen there, 1 to 16); LoRA's rate by "
            "analogy; not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 3, "batch_size": 8, "scale": 1.5},
        ("tiny", "full"): {"lr": 0.0005},
        ("tiny", "lora"): {"lr": 0.003, "scale": 4.0},
        "small": {"lr": 5e-4, "epochs": 3, "batch_size": 4, "scale": 0.3},
        "large": {"lr": 1e-5, "epochs": 10, "batch_size": 32, "scale": 5.0},
        ("large", "lora"): {"lr": 1e-4},
    }
