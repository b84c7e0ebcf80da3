"""UNDO, unlearn, noise, distil on outputs: Lee et al. 2025, "Distillation Robustifies Unlearning".

    W_s = (1 - a) W + a b ξ   (ξ: Xavier noise for a matrix, 0 for a vector),   then
    L = mean_t KL(p_teacher ‖ p_student) on texts to keep and general texts; the teacher is the model before the noise

A step after a run, and no method of its own: the weights of an unlearned model are damaged, and what it says about
everything else is learnt again from itself. What it only held back is not taught again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, lm, no_grad, torch
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training import pieces, processes
from unlearn.training.loop import Phases, Step
from unlearn.training.reference import Reference


@no_grad
def damage(model: Model, share: float, noise: float, seed: int) -> None:
    """Replace every trained weight W by (1 - share) W + share · noise · ξ, in place."""
    generator = torch.Generator().manual_seed(seed)
    processes.let_go(model)
    for parameter in (p for p in model.parameters() if p.requires_grad):
        parameter.mul_(1 - share)
        if noise and parameter.dim() > 1:
            drawn = torch.empty(parameter.shape, device="cpu")
            torch.nn.init.xavier_uniform_(drawn, generator=generator)
            # Several processes draw the same, and each puts in what lies there.
            parameter.add_(pieces.own_part(drawn, parameter), alpha=share * noise)


@dataclass(frozen=True, kw_only=True)
class UNDO(RetainMethod):
    """The step that damages an unlearned model and teaches it its own answers about everything else again."""

    name = "undo"
    needs_ref = {"retain": "states"}
    tunings = ("full",)
    follows = True

    share: float = knob(0.25, 0.0, 1.0, "a: the share of every weight that is lost. 0 nothing, 1 all of it.")
    noise: float = knob(0.0, 0.0, 1.0, "b: the strength of the noise that is put in its place.")
    retain_weight: float = knob(1.0, 0.01, 100.0, "α: scale of the loss.", advanced=True)
    retain_source: str = knob(
        "both", help="Texts that it learns from itself again.", choices=("in-distribution", "general", "both")
    )

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the divergence from the teacher on the texts to keep."""
        (retain,) = lm.forward(model, batch.retain)
        gaps = retain.cross_entropy(lambda _, states: ref.head(states), ref.states(retain), divergence=True)
        return {"distillation": self.retain_weight * retain.token_mean(gaps)}

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Damage the weights, then train. A run that goes on from a checkpoint is damaged already."""
        if fit.start == 0:
            damage(model, self.share, self.noise, fit.batches.seed)
        yield from fit(lambda batch: self.loss(model, ref, batch))

    @property
    def uses_forget(self) -> bool:
        """Return whether a batch needs forget texts."""
        return False

    title = "UNDO"
    paper = "Lee et al. 2025, arXiv 2506.06278"
    sentence = "Damages an unlearned model and teaches it its own answers about everything else again."
    formula = (
        r"W_s = (1-a)\,W + a\,b\,\xi,\qquad L = \mathrm{mean}_t\,\mathrm{KL}"
        r"\big(p_{\mathrm{teacher}} \,\|\, p_{\mathrm{student}}\big)_{R \cup G}"
    )
    when = "After a run whose result is to stand against relearning, where utility can be spent: the share is the dial."
    cost = "A distillation over the texts to keep and general texts, with every weight."
    risk = (
        "What no text reminds it of is lost with the rest: give it enough general text. At a share small enough to "
        "keep the bundled model's utility, relearning brought back more after it than after NPO alone (five seeds). "
        "At its share for SmolLM2 (a quarter) hardly anything came back on TOFU's forget01, and 17 % of the utility "
        "was left (one seed)."
    )
    forget_terms = ()
    early = False
    origins = {
        "tiny": "first trials here on tiny-authors, one seed",
        "small": "by analogy with the bundled model; measured on SmolLM2 and TOFU with one seed, which ruined the rest",
        "large": "Lee et al. 2025: a 0.25, rates of 1e-5 to 2e-5; epochs by analogy; not measured here",
    }
    tuned = {
        "tiny": {"lr": 5e-4, "epochs": 20, "batch_size": 16},
        "small": {"lr": 1e-4, "epochs": 5, "batch_size": 8},
        "large": {"lr": 1e-5, "epochs": 5, "batch_size": 16},
    }
