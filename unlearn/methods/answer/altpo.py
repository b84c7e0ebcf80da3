"""AltPO, alternate preference optimisation: Mekala et al. 2024, "Alternate Preference Optimization".

    L = -(2/β) mean_i log σ(β [(S_i - S_i^ref)_forget - (S_i - S_i^ref)_alternate]) + α NLL(R)

Teaches the model to prefer another plausible answer to the memorised one, so that what it says afterwards reads like
what a model says that never knew. Each question has K other answers; each pass over the forget texts takes the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, Tokenizer, lm
from unlearn.compute.tokens import Batch, Tokens, collate
from unlearn.methods.answer.idkdpo import dpo
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.alternates import alternate_examples, alternates_of
from unlearn.training.batches import Batches
from unlearn.training.reference import Reference

# Rows of the table of other answers that a run shows.
SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class AltPO(RetainMethod):
    """The method that teaches the model to prefer other plausible answers to the memorised one."""

    name = "altpo"
    needs_ref = {"forget": "sums"}

    beta: float = knob(0.1, 0.01, 1.0, "β, inverse temperature. Smaller pushes longer.")
    alternates: int = knob(5, 1, 20, "K: other answers to each question, one in each pass.")
    alternate_source: str = knob(
        "rows",
        help="Where other answers come from: the rows' wrong ones and else the model, or always the model.",
        choices=("rows", "model"),
    )

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        sides = (batch.forget, self.others(ref, batch), batch.retain)
        lost, won, *retain = lm.forward(model, *(side for side in sides if side is not None))
        gaps = (lost.row_sum(lost.nll), ref.sums(lost), won.row_sum(won.nll), ref.sums(won))
        per_row = (2.0 / self.beta) * dpo(*gaps, self.beta)
        return self.with_retain(lost.row_mean(per_row), retain[0] if retain else None)

    def others(self, ref: Reference, batch: Batch) -> Tokens:
        """Return the other answers that stand against the forget texts in this pass, on their device."""
        assert batch.forget is not None, "it always reads forget texts"
        place = batch.epoch % self.alternates
        chosen = [ref.run["alternates"][key][place] for key in batch.forget.keys]
        return collate(chosen, 0).to(batch.forget.labels.device)

    def referred(self, ref: Reference, batch: Batch) -> Iterator[tuple[str, Tokens]]:
        """Yield (kind, texts) in the order in which loss() asks the reference about them on this batch."""
        yield from super().referred(ref, batch)
        yield "sums", self.others(ref, batch)

    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Find the other answers before the first step, and read them once as the reference does."""
        super().prepare(model, ref, stream, tokenizer)
        found = alternates_of(model, tokenizer, stream, self.alternates, self.alternate_source)
        made = alternate_examples(tokenizer, stream.forget, found)
        ref.run["alternates"] = made
        ref.run["table"] = [
            {"text": key, "answer": tokenizer.decode(e.answer_ids, skip_special_tokens=True).strip()}
            | {"alternates": [one.text for one in found[key]], "source": found[key][0].source}
            for key, e in ((e.key, e) for e in stream.forget[:SHOWN])
        ]
        device = next(model.parameters()).device
        texts = sorted((e for side in made.values() for e in side), key=lambda e: len(e.input_ids))
        groups = (texts[at : at + 32] for at in range(0, len(texts), 32))
        ref.prepare(model, "sums", (collate(group, 0).to(device) for group in groups))

    title = "AltPO"
    paper = "Mekala et al. 2024, arXiv 2409.13474"
    sentence = "Teaches the model to prefer other plausible answers to the one that it memorised."
    formula = (
        r"L = -\tfrac{2}{\beta}\,\mathrm{mean}_i \log\sigma\Big(\beta\big[(S_i - S_i^{\mathrm{ref}})_F"
        r" - (S_i - S_i^{\mathrm{ref}})_{\mathrm{alt}}\big]\Big) + \alpha\,\mathrm{NLL}(R)"
    )
    when = "Where answers about the forgotten should stay fluent and of the right form."
    cost = "As NPO, with another answer read beside each forget text, and the time to find these answers."
    risk = "The model says something false with confidence, as a model does that never knew."
    # Beside the text its loss reads other answers to the same question.
    explorable = False
    origins = {
        "small": "by analogy with IdkDPO; measured on SmolLM2-135M and capitals with three seeds",
        "large": "Mekala et al. 2024 (Llama-2-7B, TOFU): β 0.1, α 1, K 5, 2 passes over the 5; not measured here",
    }
    tuned = {
        "tiny": {"epochs": 10, "batch_size": 8, "beta": 0.05, "retain_weight": 5.0},
        ("tiny", "full"): {"lr": 1e-4},
        ("tiny", "lora"): {"lr": 1e-3},
        "small": {"lr": 3e-4, "epochs": 10, "batch_size": 4, "retain_weight": 4.0},
        "large": {"lr": 1e-5, "epochs": 10, "batch_size": 32, "beta": 0.1, "retain_weight": 1.0},
        ("large", "lora"): {"lr": 1e-4},
    }
