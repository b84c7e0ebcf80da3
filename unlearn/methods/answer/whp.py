"""Who's Harry Potter: Eldan & Russinovich 2023, §2.

    1  v_r: logits of a copy over-fitted on F;  v_b: of the model as it was
    2  label_t = argmax_v (v_b - a relu(v_r - v_b))
    3  L = CE(label, p_θ) on F + α NLL(R), from the model as it was

What more practice makes more likely is what belongs to the text; the labels are what is left without it. The
paper also renames entities by a list made by hand, which is left out here; it has no retain term (α = 0).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, lm, no_grad, torch
from unlearn.compute.tokens import Batch
from unlearn.methods.base import RetainMethod, knob
from unlearn.training import processes
from unlearn.training.batches import Batches
from unlearn.training.loop import Phases, Step
from unlearn.training.reference import Reference


def generic(base: Tensor, reinforced: Tensor, a: float) -> Tensor:
    """Return the logits [n, V] of a generic prediction, without what over-fitting raised."""
    return base - a * (reinforced - base).relu()


@dataclass(frozen=True, kw_only=True)
class WhosHarryPotter(RetainMethod):
    """The method that teaches the labels of a generic prediction, which over-fitting did not raise."""

    name = "whp"
    needs_ref = {"forget": "states"}

    a: float = knob(5.0, 0.0, 100.0, "a: how far what over-fitting raised is pushed down.")
    reinforce_epochs: int = knob(3, 1, 100, "Epochs of over-fitting on the forget texts.")
    retain_weight: float = knob(0.0, 0.0, 100.0, "α: weight of the texts to keep; the paper uses none (0).")

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        forget, retain = self.both(model, batch)
        labels = ref.per_token("labels", forget)
        return self.with_retain(forget.token_mean(forget.nll_of(labels)), retain)

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Carry out the method and yield after each training step."""
        start = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        # An over-fitted copy is no result.
        fit.settled = False
        yield from fit(lambda batch: self.reinforce(model, batch), epochs=self.reinforce_epochs)
        with processes.jointly(model):
            self.relabel(model, ref, fit.batches)
        moving = dict(model.named_parameters())
        with torch.no_grad():
            for name, begin in start.items():
                moving[name].copy_(begin)
        # The moments of the over-fitting belong to it.
        fit.optimizer.state.clear()
        fit.settled = True
        yield from fit(lambda batch: self.loss(model, ref, batch))

    @no_grad
    def relabel(self, model: Model, ref: Reference, stream: Batches) -> None:
        """Keep the labels of the generic prediction in the reference. model is the over-fitted copy."""

        def label(reinforced: Tensor, _: Tensor, base_states: Tensor) -> Tensor:
            return generic(ref.head(base_states), reinforced, self.a).argmax(-1)

        for tokens in stream.every("forget"):
            (answers,) = lm.forward(model, tokens.to(next(model.parameters()).device))
            ref.keep("labels", answers, answers.per_token(label, ref.states(answers)))

    def reinforce(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Return the NLL of the forget texts, which is minimised to over-fit the copy."""
        (forget,) = lm.forward(model, batch.forget)
        return {"reinforce": forget.mean_nll()}

    title = "Who's Harry Potter"
    paper = "Eldan & Russinovich 2023, arXiv 2310.02238"
    sentence = "Over-fits a copy to see what is specific to the text, and learns what is left."
    formula = (
        r"L = \mathrm{mean}_t\,\mathrm{CE}\big(\arg\max_v\,(v_b - a\,\mathrm{relu}(v_r - v_b)),\,p_{\theta,t}\big)"
        r" + \alpha\,\mathrm{NLL}(R)"
    )
    when = "Where the model should answer like somebody who has never read the text."
    cost = "Two trainings on the forget texts, and a copy of the weights that move."
    risk = (
        "A text that is known by heart cannot be over-fitted much further, and then little is found. Longer training "
        "forgets more and keeps less: on SmolLM2 8 epochs in place of 5 left none of eleven capitals in three formats, "
        "and in a plain question four of seven others (six at 5)."
    )
    resumes = False
    # large: the paper over-fits at 3e-6 and learns the labels at 1e-6; there is one rate here.
    origins = {
        "small": (
            "one trial on SmolLM2-135M and capitals in the plain format; measured afterwards in three formats on one "
            "half of the countries, three seeds"
        ),
        "large": (
            "Eldan & Russinovich 2023 (Llama-2-7B, 4 M tokens: a small set needs more epochs); LoRA's rate by "
            "analogy; not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 6, "batch_size": 8, "a": 50.0, "reinforce_epochs": 8, "retain_weight": 2.0},
        ("tiny", "full"): {"lr": 0.0005},
        ("tiny", "lora"): {"lr": 0.005},
        "small": {
            "lr": 5e-4,
            "epochs": 5,
            "batch_size": 4,
            "a": 5.0,
            "reinforce_epochs": 5,
            "retain_weight": 4.0,
        },
        ("smollm2-tofu", "lora"): {"lr": 2e-3},
        "large": {
            "lr": 3e-6,
            "epochs": 2,
            "batch_size": 128,
            "a": 5.0,
            "reinforce_epochs": 3,
            "retain_weight": 0.0,
        },
        ("large", "lora"): {"lr": 3e-5},
    }
