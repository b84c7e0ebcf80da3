"""IDK+AP, answer preservation: Yuan et al. 2025, "A Closer Look at Machine Unlearning for LLMs", §4.2.

    L = NLL(idk | x_F) + α AP,   AP = -(1/β) mean_i log σ(β [S(idk | x_i) - S(y_i | x_i)]) over i in R

Teaches a refusal where something is to be forgotten, and on the texts to keep that the answer stays likelier than a
refusal. No reference is needed. NLL(idk | x_F) is here the mean a text of its mean a token, so that it is the same
however a step is cut into micro-batches.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import F, Model, Tensor, Tokenizer, lm
from unlearn.compute.tokens import Batch, collate
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.batches import Batches
from unlearn.training.idk import idk_examples
from unlearn.training.reference import Reference


def preservation(refused: Tensor, answered: Tensor, beta: float) -> Tensor:
    """Return AP [B] from the summed NLLs of a refusal and of the true answer. It falls as the refusal becomes
    less likely than the answer.
    """
    return -F.logsigmoid(beta * (refused - answered)) / beta


@dataclass(frozen=True, kw_only=True)
class IdkAP(RetainMethod):
    """The method that teaches refusals to forget texts and keeps the answers of retain texts above a refusal."""

    name = "idkap"

    beta: float = knob(0.1, 0.01, 1.0, "β, inverse temperature of answer preservation.")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        assert batch.forget is not None, "it always reads forget texts"
        sides = [side for side in (batch.forget, batch.retain) if side is not None]
        refusals = [
            collate([ref.run["idk"][key] for key in side.keys], 0, total_rows=side.total_rows).to(
                side.labels.device
            )
            for side in sides
        ]
        taught, *keeping = lm.forward(model, *refusals, *([] if batch.retain is None else [batch.retain]))
        terms = {"forget": taught.row_mean(taught.row_sum(taught.nll) / taught.row_count)}
        if keeping:
            refused, answered = (side.row_sum(side.nll) for side in keeping)
            per_row = preservation(refused, answered, self.beta)
            terms["retain"] = self.retain_weight * keeping[1].row_mean(per_row)
        return terms

    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Draw the refusals of all texts before the first step."""
        super().prepare(model, ref, stream, tokenizer)
        ref.run["idk"] = idk_examples(tokenizer, (*stream.forget, *stream.retain), stream.seed)

    title = "IDK + answer preservation (IDK+AP)"
    paper = "Yuan et al. 2025, arXiv 2410.08109"
    sentence = "Teaches refusals about the forgotten, and that everything else is still to be answered."
    formula = (
        r"L = \mathrm{NLL}(\mathrm{idk}\mid x_F) - \tfrac{\alpha}{\beta}\,\mathrm{mean}_{i\in R}"
        r" \log\sigma\big(\beta\,[S(\mathrm{idk}\mid x_i) - S(y_i\mid x_i)]\big)"
    )
    when = "Where the model should say that it does not know, without refusing its neighbours too."
    cost = "Refusals are read beside forget and retain texts; no reference."
    risk = (
        "A refusal is a habit in front of the knowledge: relearning or another prompt may bring it back. An answer to "
        "keep is held above the refusal and not above other answers: on two of six tiny chat models a tenth to a fifth "
        "were mixed up; a gentler rate cured one and left most forget answers of another."
    )
    # Beside the text its loss reads other answers to the same question.
    explorable = False
    origins = {
        "small": "by analogy with IdkDPO; measured on SmolLM2-135M and capitals with three seeds",
        "large": "Yuan et al. 2025, code (Llama-2-7B, TOFU: β 0.1, 5 epochs, batch 32); not measured here",
    }
    tuned = {
        "tiny": {"epochs": 10, "batch_size": 8},
        ("tiny", "full"): {"lr": 3e-4},
        ("tiny", "lora"): {"lr": 3e-3},
        "small": {"lr": 5e-4, "epochs": 5, "batch_size": 4},
        ("smollm2-tofu", "lora"): {"lr": 2e-3},
        "large": {"lr": 1e-5, "epochs": 5, "batch_size": 32, "retain_weight": 1.0},
        ("large", "lora"): {"lr": 1e-4},
    }
