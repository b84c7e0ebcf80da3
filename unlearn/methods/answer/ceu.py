"""CE-U, cross-entropy unlearning: Yang 2025.

    L = mean_t CE(q_t, p_θ,t) + α NLL(R),   q_t = softmax(z_t without gradient, z_t[y_t] = -∞), first token skipped

Learns its own answer with the memorised token struck out: UnDIAL's target for γ → ∞, taken from the model as it
is now instead of as it was. The first answer token is left as it is, so that the model still begins to answer.
The paper has no retain term (α = 0).
"""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, lm, torch
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.reference import Reference


def ceu(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy [n] of logits [n, V] against their own softmax without the label."""
    target = logits.detach().scatter(1, labels[:, None], -torch.inf).softmax(-1)
    return -(target * logits.log_softmax(-1)).sum(-1)


def after_first(answers: lm.Answers) -> Tensor:
    """Return for each answer token [T] whether it comes after the first one of its sequence."""
    before = torch.cat([answers.rows[:1] - 1, answers.rows[:-1]])
    return answers.rows == before


@dataclass(frozen=True, kw_only=True)
class CEU(RetainMethod):
    """The method that teaches the model's own prediction without the memorised token."""

    name = "ceu"

    retain_weight: float = knob(0.0, 0.0, 100.0, "α: weight of the texts to keep; the paper uses none (0).")
    skip_first: bool = knob(True, help="Leave the first answer token of each text as it is.", advanced=True)

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        values, count = forget.per_token(ceu), forget.total_tokens
        if self.skip_first:
            values, count = values * after_first(forget), max(1, count - forget.total_rows)
        return self.with_retain(values.sum() / count, retain)

    title = "CE-U"
    paper = "Yang 2025, arXiv 2503.01224"
    sentence = "Learns, at every step, its own answer with the memorised token struck out."
    formula = (
        r"L = \mathrm{mean}_t\,\mathrm{CE}\big(\mathrm{softmax}(\bar z_t,\ \bar z_t[y_t] = -\infty),"
        r"\,p_{\theta,t}\big) + \alpha\,\mathrm{NLL}(R)"
    )
    when = "As UnDIAL without a reference, where the memorised token should vanish altogether."
    cost = "As fine-tuning on the forget texts: no reference."
    risk = (
        "The target moves with the model, so it drifts on where UnDIAL would rest; of short answers the first token, "
        "which the paper skips, keeps a part alive; so the settings tuned here do not skip it."
    )
    origins = {
        "large": (
            "OpenUnlearning, script for CE-U (Llama-3.2-1B, TOFU); LoRA's rate by analogy; not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 6, "batch_size": 8, "retain_weight": 4.0, "skip_first": False},
        ("tiny", "full"): {"lr": 0.0002},
        ("tiny", "lora"): {"lr": 0.003},
        "small": {"lr": 4.5e-4, "epochs": 10, "batch_size": 8, "retain_weight": 4.0, "skip_first": False},
        ("smollm2-tofu", "lora"): {"lr": 1e-3},
        "large": {
            "lr": 1e-5,
            "epochs": 10,
            "batch_size": 32,
            "retain_weight": 0.0,
            "skip_first": True,
        },
        ("large", "lora"): {"lr": 1e-4},
    }
