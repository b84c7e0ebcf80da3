"""SimNPO: Fan et al. 2024, "Simplicity Prevails: Rethinking Negative Preference Optimization".

    L = -(2/β) mean_i log σ(β (S_i / n_i - δ)) + α NLL(R),   S_i = Σ_t -log p(y_t | y_<t),   n_i its length

NPO without a reference: a text counts as forgotten by how unlikely its average token is, not by how far it moved.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import F, Model, Tensor
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.reference import Reference


def simnpo(sums: Tensor, counts: Tensor, beta: float, delta: float) -> Tensor:
    """Return the loss [B] of each sequence from its summed NLL and its length."""
    return -2.0 / beta * F.logsigmoid(beta * (sums / counts - delta))


@dataclass(frozen=True, kw_only=True)
class SimNPO(RetainMethod):
    """The method that lowers the mean likelihood of forget texts without a reference."""

    name = "simnpo"

    beta: float = knob(2.5, 0.05, 10.0, "β, inverse temperature: how sharply the push fades beyond δ.")
    delta: float = knob(
        0.0, 0.0, 20.0, "δ: mean NLL a token, in nats, from which on a text counts as forgotten."
    )

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        per_row = simnpo(forget.row_sum(forget.nll), forget.row_count, self.beta, self.delta)
        return self.with_retain(forget.row_mean(per_row), retain)

    title = "SimNPO"
    paper = "Fan et al. 2024, arXiv 2410.07163"
    sentence = "NPO without a reference: pushes until each text's average token is unlikely enough."
    formula = (
        r"L = -\tfrac{2}{\beta}\,\mathrm{mean}_i \log\sigma\big(\beta\,(S_i / n_i - \delta)\big)"
        r" + \alpha\,\mathrm{NLL}(R)"
    )
    when = "As NPO, where answers differ much in length or no reference can be kept."
    cost = "As ascent + descent, with no reference at all."
    risk = "Texts that were never well known are pushed as long as the others; δ sets where it ends."
    # large: the authors weigh forgetting by 0.125 and keeping by 1; α is the ratio, 8. (forget05: β 2.5 and 0.1375.)
    origins = {
        "large": (
            "Fan et al. 2024, appendix I and code (Llama-2-7B, TOFU forget10); LoRA's rate by analogy; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 6, "batch_size": 8, "delta": 1.0, "retain_weight": 8.0},
        ("tiny", "full"): {"lr": 0.0003},
        ("tiny", "lora"): {"lr": 0.002},
        "small": {"lr": 6e-4, "epochs": 10, "batch_size": 8, "delta": 0.0, "retain_weight": 4.0},
        ("smollm2-tofu", "lora"): {"lr": 2e-3},
        "large": {
            "lr": 1e-5,
            "epochs": 10,
            "batch_size": 32,
            "beta": 4.5,
            "delta": 0.0,
            "retain_weight": 8.0,
            "retain_per_forget": 1.0,
        },
        ("large", "lora"): {"lr": 1e-4},
    }
