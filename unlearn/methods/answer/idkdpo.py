"""IdkDPO prefers "I don't know" to the text to forget by direct preference optimisation (Rafailov et al.
2023). TOFU (Maini et al. 2024) and NPO (Zhang et al. 2024, arXiv 2404.05868) use it.

    L = -(2/β) mean_i log σ(β [(S_i - S_i^ref)_forget - (S_i - S_i^ref)_idk]) + α NLL(R)

Teaches the model to prefer a refusal to the memorised answer; each question has one of some forty refusals.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from unlearn.compute.lazy import F, Model, Tensor, Tokenizer, lm
from unlearn.compute.tokens import Batch, Tokens, collate
from unlearn.methods.base import CHAT_MODELS, RetainMethod, knob
from unlearn.training.batches import Batches
from unlearn.training.idk import idk_examples
from unlearn.training.reference import Reference


def dpo(lost: Tensor, lost_ref: Tensor, won: Tensor, won_ref: Tensor, beta: float) -> Tensor:
    """Return the DPO loss [B] of pairs of a rejected and a preferred answer, from their summed NLLs. It is
    -log σ of how much further the rejected answer moved away from the reference, times β.
    """
    return -F.logsigmoid(beta * ((lost - lost_ref) - (won - won_ref)))


def refusals(ref: Reference, batch: Batch) -> Tokens:
    """Return the refusals that stand against the forget texts of this batch, on its device."""
    assert batch.forget is not None, "it always reads forget texts"
    chosen = [ref.run["idk"][key] for key in batch.forget.keys]
    return collate(chosen, 0).to(batch.forget.labels.device)


@dataclass(frozen=True, kw_only=True)
class IdkDPO(RetainMethod):
    """The method that teaches the model to prefer a refusal to the memorised answer."""

    name = "idkdpo"
    needs_ref = {"forget": "sums"}

    beta: float = knob(0.1, 0.01, 1.0, "β, inverse temperature. Smaller pushes longer.")
    factor: str = knob(
        "2/beta", help="Scale of the loss: 2/β as in NPO, 1 as in DPO.", choices=("2/beta", "1")
    )

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        sides = (batch.forget, refusals(ref, batch), batch.retain)
        lost, won, *retain = lm.forward(model, *(side for side in sides if side is not None))
        gaps = (lost.row_sum(lost.nll), ref.sums(lost), won.row_sum(won.nll), ref.sums(won))
        scale = 2.0 / self.beta if self.factor == "2/beta" else 1.0
        per_row = scale * dpo(*gaps, self.beta)
        return self.with_retain(lost.row_mean(per_row), retain[0] if retain else None)

    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Fill the reference before the first step with the values that loss() needs."""
        super().prepare(model, ref, stream, tokenizer)
        ref.run["idk"] = idk_examples(tokenizer, stream.forget, stream.seed)
        device = next(model.parameters()).device
        ref.prepare(model, "sums", (collate([e], 0).to(device) for e in ref.run["idk"].values()))

    def referred(self, ref: Reference, batch: Batch) -> Iterator[tuple[str, Tokens]]:
        """Yield (kind, texts) in the order in which loss() asks the reference about them on this batch."""
        yield from super().referred(ref, batch)
        yield "sums", refusals(ref, batch)

    title = "IdkDPO"
    paper = "Maini et al. 2024, arXiv 2401.06121; DPO: Rafailov et al. 2023, arXiv 2305.18290"
    sentence = "Teaches the model to prefer a refusal to the answer that it memorised."
    formula = (
        r"L = -\tfrac{2}{\beta}\,\mathrm{mean}_i \log\sigma\Big(\beta\big[(S_i - S_i^{\mathrm{ref}})_F"
        r" - (S_i - S_i^{\mathrm{ref}})_{\mathrm{idk}}\big]\Big) + \alpha\,\mathrm{NLL}(R)"
    )
    when = "Where the model should say that it does not know, and not something else."
    cost = "As NPO, with a short refusal read beside each forget text."
    risk = (
        "It can learn to refuse everything: watch the neighbours, and raise α when they refuse. What it hides comes "
        "back: on the bundled model practice on a fifth of the facts brought back most of the others (five seeds)."
    )
    origins = {
        "tiny": CHAT_MODELS,
        "large": (
            "OpenUnlearning, docs/repro.md (Llama-2-7B and Llama-3.2-1B, TOFU); LoRA's rate from the code of "
            "Maini et al. 2024; not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 6, "batch_size": 8, "beta": 0.03},
        ("tiny", "full"): {"lr": 0.0003},
        ("tiny", "lora"): {"lr": 0.002},
        ("bundled", "full"): {"lr": 0.0002},
        "small": {
            "lr": 3e-4,
            "epochs": 5,
            "batch_size": 4,
            "beta": 0.1,
            "retain_weight": 8.0,
            "retain_per_forget": 4.0,
        },
        ("smollm2-tofu", "lora"): {"lr": 2e-3},
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
    several = {("small", "lora"): {"retain_weight": 16.0}}
