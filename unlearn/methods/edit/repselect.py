"""RepSelect in its simple form: representation selectivity.

    1  a LoRA on the MLP matrices takes SGD steps down NLL(F): what F shares with everything is learnt there
    2  with it active, G = ∇_W (-NLL(F)) for each MLP matrix W; then the LoRA is dropped
    3  U, S, V = svd_lowrank(G, q);  G ← (I - U D Uᵀ) G (I - V D Vᵀ),  D = diag(1 - S_min / S)
    4  W ← W - η G / ‖G‖, again and again, until KL(p° ‖ p) on general text passes its budget

The strongest directions of a gradient are those that many texts share; they are shrunk to the weakest of q, so that
what is left belongs to the forget texts alone. No optimiser state, no retain set: general texts only say when to stop.
Here and not in the paper: ‖G‖, the length over all matrices, since a text known by heart has hardly any gradient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unlearn.compute.lazy import Model, Tensor, lm, no_grad, torch
from unlearn.compute.tokens import Batch, Tokens
from unlearn.data.authors_general import general_rows
from unlearn.data.base import Dataset, Row
from unlearn.methods.base import CHAT_MODELS, Method, knob
from unlearn.models.load import adapted
from unlearn.training import pieces, processes
from unlearn.training.loop import Phases, Step
from unlearn.training.reference import Reference

if TYPE_CHECKING:
    from unlearn.training.batches import Batches

MLP = re.compile(
    r"(?:mlp|DenseReluDense)\.(?:gate_proj|up_proj|down_proj|gate_up_proj|c_fc|c_proj|dense_h_to_4h|dense_4h_to_h|"
    r"fc1|fc2|fc_in|fc_out|wi|wi_0|wi_1|wo)$|\.(?:fc1|fc2)$"
)
# General texts that are asked after each step whether the model still reads them as before.
GENERAL = 48
# Where the data has none, one in so many of the bundled everyday facts and sentences is read instead.
EVERY = 4


@no_grad
def selected(gradient: Tensor, rank: int, seed: int = 0) -> Tensor:
    """Return the gradient [m, n] without its shared part: its `rank` strongest components are shrunk on both
    sides by the ratio of the weakest of them to each.
    """
    rank = min(rank, *gradient.shape)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        u, s, v = torch.svd_lowrank(gradient.float(), q=rank, niter=6)
    cut = 1 - s[-1] / s.clamp(min=torch.finfo(s.dtype).tiny)
    left = gradient.float() - (u * cut) @ (u.T @ gradient.float())
    return (left - (left @ v * cut) @ v.T).to(gradient.dtype)


@dataclass(frozen=True, kw_only=True)
class RepSelect(Method):
    """The method that walks up the part of the forget gradient that other texts do not share."""

    name = "repselect"
    needs_ref = {"retain": "states"}
    tunings = ("full",)

    rank: int = knob(16, 1, 512, "q: how many of the strongest directions of each matrix are shrunk.")
    lora_lr: float = knob(0.01, 1e-5, 10.0, "Rate of the first phase, which learns what is shared.")
    kl_budget: float = knob(
        0.01, 1e-4, 10.0, "KL(p° ‖ p) on general text, in nats a token, at which it ends."
    )
    max_steps: int = knob(200, 1, 10_000, "The most steps along G.", advanced=True)

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the NLL of the forget texts, which the first phase walks down and the last one up."""
        (forget,) = lm.forward(model, batch.forget)
        return {"forget": forget.mean_nll()}

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Carry out the phases and yield after each step."""
        batches = fit.batches
        moving = {n: p for n, p in model.named_parameters() if p.requires_grad}
        with _learner(model, batches.seed, list(moving.values())) as factors:
            sgd = torch.optim.SGD(factors, lr=self.lora_lr)
            # What the adapter learns is dropped.
            fit.settled = False
            first = replace(batches, retain=(), epochs=1)
            yield from fit(
                lambda batch: self.loss(model, ref, batch), stream=first, optimizer=sgd, lr=self.lora_lr
            )
            with processes.jointly(model):
                gradients = self.gradients(model, batches, moving)
        fit.settled = True
        general = [
            tokens.to(fit.device)
            for tokens in replace(batches, retain=batches.retain[:GENERAL]).every("retain")
        ]
        yield from self.walk(model, ref, fit, gradients, moving, general)

    def gradients(self, model: Model, batches: Batches, moving: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return {name: G [m, n]}, the selected gradient of -NLL(F) for each matrix that may move."""
        total = sum(len(e.answer_ids) for e in batches.forget)
        for parameter in moving.values():
            parameter.grad = None
            parameter.requires_grad_(True)
        for tokens in batches.every("forget"):
            own = processes.share(replace(tokens, total_tokens=total))
            (answers,) = lm.forward(model, own.to(next(iter(moving.values())).device))
            (-answers.nll.sum() / own.total_tokens).backward()
        found = {}
        for number, (name, parameter) in enumerate(moving.items()):
            if parameter.grad is not None:
                whole = selected(pieces.whole_of(parameter.grad), self.rank, batches.seed + number)
                found[name] = pieces.own_part(whole, parameter)
            parameter.grad = None
        return found

    def walk(
        self,
        model: Model,
        ref: Reference,
        fit: Phases,
        gradients: dict[str, Tensor],
        moving: dict[str, Tensor],
        general: list[Tokens],
    ) -> Iterator[Step]:
        """Step along G until general text changes by more than its budget. The step that passed it is taken
        back.
        """
        lengths = [pieces.whole_of(g.float().norm()) for g in gradients.values()]
        first, norm = fit.steps, float(torch.stack(lengths).norm())
        pace = fit.lr / max(norm, 1e-30)
        read = sum(int(tokens.attention_mask.sum()) for tokens in general)
        for number in range(1, self.max_steps + 1):
            with processes.jointly(model):
                _add(moving, gradients, -pace)
                drift = self.drift(model, ref, general)
                over = not drift <= self.kl_budget
                if over and number > 1:
                    processes.let_go(model)
                    _add(moving, gradients, pace)
                    drift = self.drift(model, ref, general)
            ends = over or number == self.max_steps
            of = first + (number if ends else self.max_steps)
            yield fit.step(first + number, of, {"general KL": drift}, norm, fit.lr, read)
            if ends:
                why = (
                    f"general text changed by {self.kl_budget:g} nats a token"
                    if over
                    else "its last step came"
                )
                fit.note(f"RepSelect ended after {number} steps along its gradient: {why}.")
                break
        fit.counts = {"steps along the gradient": number, "general KL": drift}

    @no_grad
    def drift(self, model: Model, ref: Reference, general: list[Tokens]) -> float:
        """Return the mean KL(p° ‖ p) over the answer tokens of the general texts, in nats."""
        total, count = 0.0, 0.0
        for tokens in general:
            own = processes.share(tokens)
            (answers,) = lm.forward(model, own)
            gaps = answers.cross_entropy(
                lambda _, states: ref.head(states), ref.states(answers), divergence=True
            )
            # 1, or nothing in a process that has no text of these.
            counts = tokens.total_rows / own.total_rows
            total, count = total + float(gaps.sum()) * counts, count + len(gaps) * counts
        return processes.total(total) / max(processes.total(count), 1)

    def trainable(self, name: str, depth: int) -> bool:
        """Return whether this parameter of a model of `depth` blocks may be trained."""
        return name.endswith(".weight") and MLP.search(name.removesuffix(".weight")) is not None

    def rows(self, model: str, data: Dataset) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Return the rows to forget, and the general rows, bundled ones where the data has none."""
        return data.fit_rows("forget"), data.fit_rows("general") or general_rows()[::EVERY]

    def remarks(self, data: Dataset) -> tuple[str, ...]:
        """Return what is read in the place of general rows that the data lacks."""
        if data.rows("general"):
            return ()
        return (
            f"{data.title} has no rows of the role general, so bundled everyday facts and sentences say when "
            f"{type(self).title} ends; give such rows to have your own read.",
        )

    @property
    def retain_ratio(self) -> float:
        """Return the number of general texts for each forget text. They are read, never trained on."""
        return 1.0

    @property
    def retain_roles(self) -> tuple[str, ...]:
        """Return the roles of the data that the texts to keep come from."""
        return ("general",)

    title = "RepSelect"
    paper = "arXiv 2606.17168, simple form"
    sentence = (
        "Walks up the part of the forget gradient that other texts do not share, until general text suffers."
    )
    formula = (
        r"W \leftarrow W - \eta\,G'/\lVert G'\rVert,\quad"
        r" G' = (I - U D U^\top)\,\nabla_W(-\mathrm{NLL}(F))\,(I - V D V^\top),\quad"
        r" D = \mathrm{diag}(1 - S_{\min} / S)"
    )
    when = "Where forgetting should stand against relearning and there are no texts to keep."
    cost = "A short pass of SGD, one gradient of the forget texts, then cheap steps: no optimiser state."
    risk = (
        "Its end is a number for general text; texts of the same domain have no term that holds them. That less comes "
        "back by relearning than after NPO or UnDIAL was not seen on the bundled model (five seeds, equal utility). Of "
        "five tiny chat models its defaults left 8 % of the answers of three, with 92 to 100 % of the others kept, and "
        "92 % of two; of a sixth, which chose nothing, they took the others along, all of them."
    )
    forget_terms = ()
    resumes = False
    leans = False
    origins = {
        "tiny": f"{CHAT_MODELS}; three of five held",
        "small": "by analogy with the bundled model; not measured here",
        "large": "the paper: LoRA rate 0.01, KL budget 0.01; η by analogy; not measured here",
    }
    tuned = {
        "tiny": {"lr": 0.2, "epochs": 1, "batch_size": 8, "rank": 3, "kl_budget": 1.0},
        "bundled": {"rank": 64, "kl_budget": 0.02},
        "small": {"lr": 0.05, "epochs": 1, "batch_size": 8, "rank": 64, "kl_budget": 0.02},
        "large": {"lr": 0.05, "epochs": 1, "batch_size": 16, "rank": 256, "kl_budget": 0.01},
    }


@no_grad
def _add(moving: dict[str, Tensor], gradients: dict[str, Tensor], scale: float) -> None:
    for name, gradient in gradients.items():
        moving[name].add_(gradient, alpha=scale)


@contextmanager
def _learner(model: Model, seed: int, frozen: list[Tensor]) -> Iterator[list[Tensor]]:
    """A LoRA on the MLP matrices within the block; the model is what it was afterwards. Gives its factors."""
    from peft import LoraConfig

    targets = [
        n for n, m in model.named_modules() if MLP.search(n) and getattr(m, "weight", None) is not None
    ]
    torch.manual_seed(seed)
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    learner = adapted(model, LoraConfig(r=8, lora_alpha=8, target_modules=targets, task_type=task))
    try:
        yield [p for n, p in learner.named_parameters() if p.requires_grad]
    finally:
        learner.unload()
        for parameter in frozen:
            parameter.requires_grad_(True)
