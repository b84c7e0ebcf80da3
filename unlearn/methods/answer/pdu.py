"""PDU, primal-dual unlearning: Entesari et al. 2025, "Constrained Entropic Unlearning".

    L = mean_t (max_v z_t - mean_v z_t)² on F + λ (NLL(R) - ε),   λ ← max(0, λ + s (NLL(R) - ε)) after each step
    ε = (1 + tolerance) NLL_ref(R)

Flattens the logits on the text to forget, while a price λ on the texts to keep rises for as long as they are worse
than allowed. λ and ε belong to the run; they live in its reference.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from unlearn.compute.lazy import Model, Tensor, Tokenizer, lm, no_grad
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training import processes
from unlearn.training.batches import Batches
from unlearn.training.loop import Phases, Step
from unlearn.training.reference import Reference


def flatness(logits: Tensor, _: Tensor) -> Tensor:
    """Return (max_v z - mean_v z)² [n] of logits [n, V]. It is 0 where all tokens are equally likely."""
    return (logits.amax(-1) - logits.mean(-1)).square()


@dataclass(frozen=True, kw_only=True)
class PDU(RetainMethod):
    """The method that flattens the logits on forget texts and prices the loss on retain texts."""

    name = "pdu"

    retain_weight: float = knob(1.0, 0.01, 100.0, "λ at the start: the price of a loss on texts to keep.")
    dual_step: float = knob(1.0, 0.0, 100.0, "s: how quickly the price follows.")
    tolerance: float = knob(
        0.1, 0.0, 10.0, "How much worse texts to keep may become: ε = (1 + this) NLL before."
    )

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        terms = {"forget": forget.token_mean(forget.per_token(flatness))}
        if retain is None:
            return terms
        # A micro-batch's part of NLL(R) - ε.
        excess = retain.token_mean(retain.nll - ref.run["budget"])
        ref.run["excess"] += float(excess.detach())
        return terms | {"retain": ref.run["price"] * excess}

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Carry out the method and yield after each training step."""
        for done in fit(lambda batch: self.loss(model, ref, batch)):
            price = ref.run["price"]
            ref.run["price"] = max(0.0, price + self.dual_step * processes.total(ref.run["excess"]))
            ref.run["excess"] = 0.0
            yield replace(done, terms=dict(done.terms) | {"price": price})

    @no_grad
    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Fill the reference before the first step with the values that loss() needs."""
        device, total, count = next(model.parameters()).device, 0.0, 0
        for tokens in stream.every("retain"):
            (retain,) = lm.forward(model, tokens.to(device))
            total, count = total + float(retain.nll.sum()), count + len(retain.labels)
        ref.run |= {
            "price": self.retain_weight,
            "budget": (1 + self.tolerance) * total / count,
            "excess": 0.0,
        }

    title = "PDU (primal-dual)"
    paper = "Entesari et al. 2025, arXiv 2506.05314"
    sentence = "Flattens what it says on forget texts, and pays for every loss on the others."
    formula = (
        r"L = \mathrm{mean}_t\,(\max_v z_t - \mathrm{mean}_v z_t)^2 + \lambda\,(\mathrm{NLL}(R) - \varepsilon),"
        r"\quad \lambda \leftarrow \max(0, \lambda + s\,(\mathrm{NLL}(R) - \varepsilon))"
    )
    when = "Where a limit is set on what the rest may lose, and forgetting should go as far as it allows."
    cost = "As ascent + descent, and one pass over the texts to keep before training."
    risk = "A price that rises too slowly lets the model break first; a tight ε keeps it from forgetting."
    resumes = False
    # unlearn() only moves the price.
    explorable = True
    # large: the authors' λ moves by 5 at each of a step's 4 micro-batches, so by 20 a step; it rests for their first 5
    # epochs. Their ε is 0.3 nats, whatever the loss was before; ours is relative.
    origins = {
        "large": (
            "Entesari et al. 2025, code (Llama-3.2-1B and 3B, TOFU; 30 epochs for 8B); ε and LoRA's rate by "
            "analogy; not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 6, "batch_size": 8},
        ("tiny", "full"): {"lr": 0.0003},
        ("tiny", "lora"): {"lr": 0.002},
        "small": {"lr": 7e-5, "epochs": 10, "batch_size": 8, "dual_step": 100.0},
        ("smollm2-tofu", "lora"): {"lr": 3e-4},
        "large": {
            "lr": 1e-5,
            "epochs": 10,
            "batch_size": 128,
            "retain_weight": 100.0,
            "retain_per_forget": 1.0,
            "dual_step": 20.0,
        },
        ("large", "lora"): {"lr": 1e-4},
    }
