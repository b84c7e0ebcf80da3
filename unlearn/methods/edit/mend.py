r"""MEND: Mitchell et al. 2022, "Fast Model Editing at Scale", §3; here it edits answers away.

    u_t, δ_t: what a matrix W reads at token t, and ∂S/∂(W u_t), so that ∇_W S = Σ_t δ_t u_tᵀ, of low rank
    z_t = (u_t / ū, δ_t / δ̄),    ū² and δ̄²: mean squared lengths over the tokens of the batch that is edited
    (ũ_t, δ̃_t) = z_t + U relu(V z_t + b),    U = 0 at the start: then the edit is the gradient itself
    W' = W + a mean_t δ̃_t ũ_tᵀ

An editor (V, b, U, a) a matrix is trained on half of the rows to keep, as if they were to be forgotten, and with the
other half to stay:  -e mean_t min(l'_t, c log|V|) + mean_t KL(p_W ‖ p_W').  Then it edits the forget texts away, batch
by batch, each with the gradient of the weights as they are.

How far it is the paper's: MEND is made to *change* an answer to a given one, and trained on pairs of old and new
answers with rephrasings; EUL takes it as a baseline for forgetting and says little more. Here the
editor learns to take an answer away. One hidden layer a matrix instead of two that equal shapes share, the batch's own
lengths instead of running ones, and a mean over tokens instead of a sum.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from unlearn.compute.lazy import F, Model, Tensor, lm, no_grad, torch
from unlearn.compute.matrices import edited, pairs_of
from unlearn.compute.tokens import Batch
from unlearn.data.base import Dataset, Row
from unlearn.methods.base import Method, knob
from unlearn.methods.edit.repselect import MLP
from unlearn.training import pieces, processes
from unlearn.training.batches import Batches
from unlearn.training.loop import MAX_GRAD_NORM, Phases, Step
from unlearn.training.reference import Reference

BLOCK = re.compile(r"\.(\d+)\.")
# Texts to stay for each text that the editor practises on; and the least rows to keep, which are halved.
BESIDE, LEAST = 2.0, 4


@dataclass
class Editor:
    """The editor of one matrix. down, bias, up: V [h, n + m], b [h], U [n + m, h]. scale: log a."""

    down: Tensor
    bias: Tensor
    up: Tensor
    scale: Tensor

    def weights(self) -> list[Tensor]:
        """Return what is trained."""
        return [self.down, self.bias, self.up, self.scale]

    def edit(self, reads: Tensor, pushes: Tensor) -> Tensor:
        """Return a mean_t δ̃_t ũ_tᵀ [m, n]. A token without a gradient (padding) has no part in any mean."""
        width, there = reads.shape[-1], (pushes != 0).any(-1, keepdim=True)
        count = there.sum().clamp(min=1)
        z = torch.cat([_unit(reads * there, count), _unit(pushes, count)], -1)
        made = (z + F.relu(z @ self.down.T + self.bias) @ self.up.T) * there
        return self.scale.exp() * made[:, width:].T @ made[:, :width] / count


@dataclass(frozen=True, kw_only=True)
class MEND(Method):
    """The method whose small editor network turns the gradient of a text into an edit that takes its answer away."""

    name = "mend"
    needs_ref = {"retain": "states"}
    tunings = ("full",)

    hidden: int = knob(32, 1, 4096, "Width of each editor's hidden layer.")
    scale: float = knob(0.1, 1e-6, 100.0, "a at the start: the length of an edit, which is trained further.")
    edit_weight: float = knob(
        1.0, 1e-3, 1000.0, "e: how much forgetting counts in the editor's training, against staying."
    )
    cap: float = knob(0.5, 0.05, 10.0, "c: where forgetting ends, in units of log|V|.")
    passes: int = knob(1, 1, 50, "How often the forget texts are edited.")
    blocks: int = knob(3, 1, 1000, "So many of the last blocks have edited matrices.", advanced=True)

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the NLL of the forget texts, whose gradient is what the editor reads."""
        (forget,) = lm.forward(model, batch.forget)
        return {"forget": forget.mean_nll()}

    def rows(self, model: str, data: Dataset) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Return the (forget, retain) rows. ValueError where there are too few of the latter to train an editor on."""
        forget, retain = super().rows(model, data)
        if len(retain) < LEAST:
            raise ValueError(
                f"MEND: its editor is trained on rows to keep, and {data.title} has {len(retain)} of at least {LEAST}; "
                "give more, or choose another method."
            )
        return forget, retain

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Train the editors, then edit the forget texts away, and yield after each step of both."""
        batches = fit.batches
        matrices = self.matrices(model)
        # One half is practised on, the other is to stay.
        practice = replace(
            batches, forget=batches.retain[::2], retain=batches.retain[1::2], retain_ratio=BESIDE,
            clock=len(batches.retain[::2]),
        )  # fmt: skip
        edits = replace(batches, retain=(), epochs=self.passes)
        editors = self.editors(matrices, batches.seed)
        of = practice.steps + edits.steps
        # The weights have not moved yet.
        fit.settled = False
        yield from self.learn(model, ref, fit, matrices, editors, practice, of)
        fit.settled = True
        yield from self.apply(model, fit, matrices, editors, edits, of)

    def matrices(self, model: Model) -> dict[str, Model]:
        """Return {name: linear map} of those that may move. ValueError where there is none of a known name."""
        moving = {n.removesuffix(".weight") for n, p in model.named_parameters() if p.requires_grad}
        found = {
            n: m for n, m in model.named_modules() if n in moving and getattr(m, "weight", None) is not None
        }
        if not found:
            raise ValueError(
                f"MEND: a {type(model).__name__} has no feed-forward matrix of a name that is known here; choose "
                "another method."
            )
        return found

    def editors(self, matrices: Mapping[str, Model], seed: int) -> dict[str, Editor]:
        """Return a fresh editor a matrix, whose edits are the gradient itself, scaled."""
        drawn = torch.Generator(device="cpu").manual_seed(seed)
        return {name: self._fresh(matrix.weight, drawn) for name, matrix in matrices.items()}

    def _fresh(self, weight: Tensor, drawn: torch.Generator) -> Editor:
        width, device = sum(weight.shape), weight.device
        down = torch.randn(self.hidden, width, generator=drawn, device="cpu") / math.sqrt(self.hidden)
        return Editor(
            down=down.to(device).requires_grad_(),
            bias=torch.zeros(self.hidden, device=device, requires_grad=True),
            up=torch.zeros(width, self.hidden, device=device, requires_grad=True),
            scale=torch.tensor(math.log(self.scale), device=device, requires_grad=True),
        )

    def learn(
        self, model: Model, ref: Reference, fit: Phases, matrices: Mapping[str, Model],
        editors: Mapping[str, Editor], practice: Batches, of: int,
    ) -> Iterator[Step]:  # fmt: skip
        """Train the editors on rows to keep. The model's weights stay as they are."""
        moving = [w for editor in editors.values() for w in editor.weights()]
        optimizer = torch.optim.Adam(moving, lr=fit.lr)
        for number in range(1, practice.steps + 1):
            processes.take_turn(model)
            optimizer.zero_grad(set_to_none=True)
            sums, tokens = {"edit": 0.0, "locality": 0.0}, 0
            for batch in practice.step(number):
                tokens += batch.tokens
                terms = self.practised(model, ref, matrices, editors, batch.to(fit.device))
                found = torch.autograd.grad(torch.stack(list(terms.values())).sum(), moving)
                for weight, gradient in zip(moving, found, strict=True):
                    weight.grad = gradient if weight.grad is None else weight.grad + gradient
                sums = {name: sums[name] + value for name, value in processes.summed(terms).items()}
            processes.add_up(moving)
            norm = float(torch.nn.utils.clip_grad_norm_(moving, MAX_GRAD_NORM))
            # Before a step that is not finite.
            done = fit.step(number, of, sums, norm, fit.lr, tokens)
            optimizer.step()
            yield done

    def practised(
        self,
        model: Model,
        ref: Reference,
        matrices: Mapping[str, Model],
        editors: Mapping[str, Editor],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """Return the terms of the editors' loss on a batch: its forget side edited away, its retain side unmoved.

        Each of several processes makes the whole edit, and reads its share of the texts under it.
        """
        assert batch.forget is not None, "the editor practises on texts"
        pairs, _ = pairs_of(model, matrices, batch.forget)
        own = processes.own_share(batch)
        with edited(matrices, {name: editors[name].edit(*pair) for name, pair in pairs.items()}):
            gone, stays = lm.forward(model, own.forget, own.retain)
        capped = gone.nll.clamp(max=self.cap * math.log(gone.vocabulary))
        gaps = stays.cross_entropy(lambda _, states: ref.head(states), ref.states(stays), divergence=True)
        return {"edit": -self.edit_weight * gone.token_mean(capped), "locality": stays.token_mean(gaps)}

    def apply(
        self, model: Model, fit: Phases, matrices: Mapping[str, Model], editors: Mapping[str, Editor],
        edits: Batches, of: int,
    ) -> Iterator[Step]:  # fmt: skip
        """Edit the forget texts away, one batch after the other."""
        first = fit.steps
        for number in range(1, edits.steps + 1):
            processes.take_turn(model)
            norms, tokens, value = [], 0, 0.0
            for batch in edits.step(number):
                tokens += batch.tokens
                forget = batch.to(fit.device).forget
                assert forget is not None, "an epoch goes through the forget texts"
                pairs, nll = pairs_of(model, matrices, forget)
                processes.let_go(model)
                norms.append(
                    _add(matrices, {name: editors[name].edit(*pair) for name, pair in pairs.items()})
                )
                value += float(nll.sum()) / forget.total_tokens
            yield fit.step(
                first + number, of, {"forget NLL before its edit": value}, max(norms), fit.lr, tokens
            )

    def trainable(self, name: str, depth: int) -> bool:
        """Return whether this parameter of a model of `depth` blocks may be trained."""
        block = BLOCK.search(name)
        last = block is not None and int(block[1]) >= depth - self.blocks
        return last and name.endswith(".weight") and MLP.search(name.removesuffix(".weight")) is not None

    @property
    def retain_ratio(self) -> float:
        """Return the number of texts to keep for each forget text. The editors are trained on them."""
        return 1.0

    title = "MEND (editor network)"
    paper = "Mitchell et al. 2022, arXiv 2110.11309; as a baseline of EUL, Chen & Yang 2023, arXiv 2310.20150"
    sentence = (
        "A small network learns on other texts to turn a gradient into an edit that takes an answer away."
    )
    formula = (
        r"W' = W + a\,\mathrm{mean}_t\,\tilde\delta_t\tilde u_t^\top,\quad"
        r" (\tilde u_t, \tilde\delta_t) = z_t + U\,\mathrm{relu}(V z_t + b),\quad"
        r" z_t = (u_t / \bar u,\ \delta_t / \bar\delta)"
    )
    when = "As the editing baseline of EUL's tables: once trained, an editor forgets a text in one pass."
    cost = "Its editors take a training of their own on rows to keep; the edits are a gradient a batch."
    risk = (
        "Each edit moves the same few matrices, and many edits add up; texts of another kind than those that the "
        "editor practised on have no term that holds them. How far it is the paper's: MEND is made to change an answer "
        "to a given one and is trained on such pairs; here its editor learns to take answers away, with one hidden "
        "layer a matrix."
    )
    collapses = (
        "On the bundled T5 models (13 trials, one seed) its edits left every answer or took all text along, general "
        "text included; on tiny chat models none of 22 settings took the answers and kept the others. It is a "
        "baseline to compare with, and no method to choose."
    )
    forget_terms = ()
    resumes = False
    leans = False
    origins = {
        "tiny": "by 13 trials on the bundled T5 models, one seed, none of which forgot and kept",
        "small": "by analogy with the bundled models; not measured here",
        "large": "Mitchell et al. 2022 (last three blocks, Adam); rate and lengths by analogy; not measured here",
    }
    tuned = {
        # Of 13 trials on the bundled T5 models none forgot and kept; these take the answers away.
        "tiny": {"lr": 1e-3, "epochs": 10, "batch_size": 8},
        "small": {"lr": 3e-4, "epochs": 5, "batch_size": 8, "hidden": 64},
        "large": {"lr": 1e-4, "epochs": 5, "batch_size": 8, "hidden": 256},
    }


def _unit(values: Tensor, count: Tensor) -> Tensor:
    """The vectors [T, d], divided by the root of the mean of their squared lengths over so many of them."""
    return values / (values.square().sum() / count).sqrt().clamp(min=1e-30)


@no_grad
def _add(matrices: Mapping[str, Model], edits: Mapping[str, Tensor]) -> float:
    """Add the edits to the weights, and return their length over all matrices."""
    for name, edit in edits.items():
        weight = matrices[name].weight
        # GPT-2 keeps its matrices the other way round.
        turned = edit if isinstance(matrices[name], torch.nn.Linear) else edit.T
        weight.add_(pieces.own_part(turned, weight))
    return float(torch.stack([edit.norm() for edit in edits.values()]).norm())
