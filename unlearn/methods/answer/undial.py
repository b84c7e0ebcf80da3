"""UnDIAL: Dong et al. 2025, "Self-Distillation with Adjusted Logits for Robust Unlearning", §3.

    z̃_t = z_ref,t - γ onehot(y_t),   q_t = softmax(z̃_t),   L = mean_t w_t CE(q_t, p_θ,t) + α NLL(R)

The model learns from itself with the memorised token's logit lowered by γ: a fixed target, so training ends
there. The optimum is p*(y) = p e^-γ / (1 - p + p e^-γ), every other token keeping its ratios. The paper has no
retain term (α = 0); the settings tuned here add one.

w_t = 1, or with focus (FUnDIAL, §3.3) on entities or noun phrases m_t: hard w_t = m_t, soft w_t = 1 + (w - 1) m_t,
divided by its mean over the forget set, so that a learning rate means the same with and without (renormalise).
"""

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, Tokenizer, torch
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training.batches import Batches
from unlearn.training.focus import KINDS, focus_mask
from unlearn.training.reference import Reference


def lowered(ref_logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Return the reference's logits [n, V] with γ subtracted from the label's logit."""
    return ref_logits.scatter_add(1, labels[:, None], ref_logits.new_full((len(labels), 1), -gamma))


@dataclass(frozen=True, kw_only=True)
class UnDIAL(RetainMethod):
    """The method that teaches the reference's prediction with the memorised token's logit lowered."""

    name = "undial"
    needs_ref = {"forget": "states"}

    gamma: float = knob(10.0, 0.0, 100.0, "γ: how far the memorised token's logit is lowered in the teacher.")
    retain_weight: float = knob(0.0, 0.0, 100.0, "α: weight of the texts to keep; the paper uses none (0).")
    teacher: str = knob(
        "original",
        help="In a chain of requests: the model before the first one, or the one this run starts from.",
        choices=("original", "start"),
        advanced=True,
    )
    focus: str = knob("none", help="Only on these tokens; random is the control.", choices=("none", *KINDS))
    focus_mode: str = knob(
        "hard", help="hard: on them alone; soft: on them more.", choices=("hard", "soft"), advanced=True
    )
    soft_weight: float = knob(10.0, 1.0, 1000.0, "w: weight of a token in soft focus.", advanced=True)
    renormalise: bool = knob(
        True, help="Divide the weights by their mean; the paper's code does not.", advanced=True
    )

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)

        def teacher(labels: Tensor, ref_states: Tensor) -> Tensor:
            return lowered(ref.head(ref_states), labels, self.gamma)

        per_token = forget.cross_entropy(teacher, ref.states(forget))
        if self.focus != "none":
            per_token = per_token * ref.per_token("weights", forget)
        return self.with_retain(forget.token_mean(per_token), retain)

    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Fill the reference before the first step with the values that loss() needs."""
        if self.teacher == "original" and ref.untouched is not None:
            with ref.untouched() as teacher:
                ref.adopt_head(teacher)
                super().prepare(teacher, ref, stream, tokenizer)
        else:
            super().prepare(model, ref, stream, tokenizer)
        if self.focus == "none":
            return
        masks = {e.key: focus_mask(tokenizer, e, self.focus, stream.seed) for e in stream.forget}
        inside, outside = (1.0, 0.0) if self.focus_mode == "hard" else (self.soft_weight, 1.0)
        weights = {
            key: torch.tensor([inside if m else outside for m in mask], device="cpu")
            for key, mask in masks.items()
        }
        mean = float(torch.cat(list(weights.values())).mean()) if self.renormalise else 1.0
        if mean == 0.0:
            raise ValueError(f"UnDIAL: focus {self.focus} finds nothing in the forget texts; choose another.")
        for key, row in weights.items():
            ref.keep_row("weights", key, (row / mean).to(next(model.parameters()).device))

    title = "UnDIAL"
    paper = "Dong et al. 2025, arXiv 2402.10052"
    sentence = (
        "The model teaches itself its own answers with the memorised token turned down, and stops there."
    )
    formula = (
        r"L = \mathrm{mean}_t\,w_t\,\mathrm{CE}\big("
        r"\mathrm{softmax}(z^{\mathrm{ref}}_t - \gamma\,e_{y_t}),\,p_{\theta,t}\big)"
        r" + \alpha\,\mathrm{NLL}(R)"
    )
    when = "Where training must end by itself, and for requests that arrive one after the other."
    cost = "As ascent + descent; the teacher's states are computed once, before training."
    risk = (
        "Suppresses more than it erases: asked in other words, more comes back. A small γ cannot move what the model "
        "is sure of: γ = 3 takes 0.99 only to 0.83."
    )
    also = {"FUnDIAL, hard focus on entities": {"focus": "entity"}}
    # tiny-snippets: tuned here, three seeds (LOG.md); a lower target moves fewer of the words that code has in common.
    origins = {
        "large": (
            "Dong et al. 2025 (Llama-2-7B, LoRA r 8); epochs, α and the rate without LoRA from OpenUnlearning "
            "(Llama-3.2-1B); not measured here"
        ),
    }
    tuned = {
        "tiny": {
            "epochs": 8,
            "batch_size": 16,
            "gamma": 11.0,
            "retain_weight": 4.0,
            "retain_per_forget": 2.0,
        },
        ("tiny", "full"): {"lr": 8e-4},
        ("tiny-snippets", "full"): {"lr": 4e-4, "gamma": 7.0},
        ("tiny", "lora"): {"lr": 5e-3, "epochs": 10, "batch_size": 8, "gamma": 12.0, "retain_weight": 2.0},
        "small": {"lr": 1e-3, "epochs": 10, "batch_size": 8, "gamma": 10.0, "retain_weight": 4.0},
        ("smollm2-tofu", "lora"): {"lr": 2e-3},
        "large": {
            "lr": 1e-4,
            "epochs": 10,
            "batch_size": 32,
            "gamma": 10.0,
            "retain_weight": 1.0,
            "retain_per_forget": 1.0,
        },
        ("large", "full"): {"lr": 1e-5},
    }
