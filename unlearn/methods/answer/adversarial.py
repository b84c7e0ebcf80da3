"""Adversarial samples: Yao et al. 2024, §3.2 (3).

    L = CE(a, p_θ) on F + α NLL(R),   a_t = argmax_{a ≠ y_t} p_ref(a | y_<t), computed once

Teaches the model's own second choice in place of each token. The state before a token is what predicts it: the
released code looks one place too far and picks the rival of another token. The paper has no retain term.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, Tokenizer, lm, no_grad, torch
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.batches import Batches
from unlearn.training.reference import Reference


def rival(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the most likely token [n] that is not the label, from logits [n, V]."""
    return logits.scatter(1, labels[:, None], -torch.inf).argmax(-1)


@dataclass(frozen=True, kw_only=True)
class AdversarialLabels(RetainMethod):
    """The method that teaches the model's second choice in place of each forget token."""

    name = "adversarial"

    retain_weight: float = knob(0.0, 0.0, 100.0, "α: weight of the texts to keep; the paper uses none (0).")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        rivals = ref.per_token("labels", forget)
        return self.with_retain(forget.token_mean(forget.nll_of(rivals)), retain)

    @no_grad
    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Fill the reference before the first step with the values that loss() needs."""
        device = next(model.parameters()).device
        for tokens in stream.every("forget"):
            (answers,) = lm.forward(model, tokens.to(device))
            ref.keep("labels", answers, answers.per_token(rival))

    title = "Adversarial labels"
    paper = "Yao et al. 2024, arXiv 2402.15159"
    sentence = "Teaches the model's own second choice in place of each token to forget."
    formula = (
        r"L = \mathrm{mean}_t\,\mathrm{CE}(a_t, p_{\theta,t}) + \alpha\,\mathrm{NLL}(R),"
        r"\quad a_t = \arg\max_{a \neq y_t} p_{\mathrm{ref}}(a \mid y_{<t})"
    )
    when = "As random labels, where the answers should stay fluent."
    cost = "As fine-tuning on the forget texts, and one pass over them before training."
    risk = "The second choice can be close to the first: a fluent answer that still gives hints."
    also = {"Unlearning with adversarial samples (Yao et al. 2024)": {"retain_weight": 0.0}}
    origins = {
        "large": (
            "Yao et al. 2024, §4 and code (Yi-6B): 1 epoch at 2e-5; batch and LoRA's rate by analogy; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 6, "batch_size": 8, "retain_weight": 4.0},
        ("tiny", "full"): {"lr": 0.00015},
        ("tiny", "lora"): {"lr": 0.002},
        "small": {"lr": 4e-4, "epochs": 10, "batch_size": 8, "retain_weight": 4.0},
        ("smollm2-tofu", "lora"): {"lr": 1e-3},
        "large": {"lr": 2e-5, "epochs": 1, "batch_size": 16, "retain_weight": 0.0},
        ("large", "lora"): {"lr": 1e-4},
    }
