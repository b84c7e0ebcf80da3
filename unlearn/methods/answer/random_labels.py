"""Random labels: Yao et al. 2024, §3.2 (2).

    L = CE(w̃, p_θ) on F + α NLL(R),   w̃_t ~ Uniform(V without special tokens), drawn once; a special token stays

Teaches a wrong token, the same one all through the run, at every place of the text; the context stays the true
text. The paper has no retain term (α = 0); the settings tuned here add one.
"""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, Tokenizer, torch
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.batches import Batches
from unlearn.training.reference import Reference


def random_labels(labels: Tensor, vocabulary: int, special: Tensor, generator: torch.Generator) -> Tensor:
    """Return one ordinary token [T] for each label, drawn uniformly. Special tokens keep their id."""
    ordinary = torch.ones(vocabulary, dtype=torch.bool, device="cpu").index_fill(0, special, False)
    known = ordinary.nonzero()[:, 0]
    drawn = known[torch.randint(len(known), labels.shape, generator=generator, device="cpu")]
    return torch.where(torch.isin(labels, special), labels, drawn)


@dataclass(frozen=True, kw_only=True)
class RandomLabels(RetainMethod):
    """The method that teaches a random token in place of each forget token."""

    name = "random"

    retain_weight: float = knob(0.0, 0.0, 100.0, "α: weight of the texts to keep; the paper uses none (0).")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        drawn = ref.per_token("labels", forget)
        return self.with_retain(forget.token_mean(forget.nll_of(drawn)), retain)

    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Fill the reference before the first step with the values that loss() needs."""
        device = next(model.parameters()).device
        special = torch.tensor(sorted(set(tokenizer.all_special_ids)), dtype=torch.long, device="cpu")
        for (
            example
            # A generator for each text, so that its labels do not depend on the others.
        ) in stream.forget:
            generator = torch.Generator().manual_seed(stream.seed * 1_000_003 + example.key)
            true = torch.tensor(example.answer_ids, device="cpu")
            drawn = random_labels(true, len(tokenizer), special, generator)
            ref.keep_row("labels", example.key, drawn.to(device))

    title = "Random labels"
    paper = "Yao et al. 2024, arXiv 2402.15159"
    sentence = "Teaches a random token in place of each token to forget, drawn once and for all."
    formula = (
        r"L = \mathrm{mean}_t\,\mathrm{CE}(\tilde w_t, p_{\theta,t}) + \alpha\,\mathrm{NLL}(R),"
        r"\quad \tilde w_t \sim \mathrm{Uniform}(V)"
    )
    when = "As a simple baseline that ends by itself, where a wrong but confident answer does no harm."
    cost = "As fine-tuning on the forget texts; the labels are drawn before training."
    risk = "It teaches noise with confidence; asked about the topic, the model answers in noise."
    also = {"Fine-tuning with random labels (Yao et al. 2024)": {"retain_weight": 0.0}}
    origins = {
        "large": (
            "Yao et al. 2024, §4 and code (Yi-6B): 1 epoch at 2e-5; batch and LoRA's rate by analogy; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 8, "batch_size": 8, "retain_weight": 2.0},
        ("tiny", "full"): {"lr": 0.0005},
        ("tiny", "lora"): {"lr": 0.003},
        "small": {"lr": 8e-4, "epochs": 5, "batch_size": 4, "retain_weight": 4.0},
        ("smollm2-tofu", "lora"): {"lr": 2e-3, "retain_weight": 10.0},
        "large": {"lr": 2e-5, "epochs": 1, "batch_size": 16, "retain_weight": 0.0},
        ("large", "lora"): {"lr": 1e-4},
    }
