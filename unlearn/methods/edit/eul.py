r"""EUL: Chen & Yang 2023, "Unlearn What You Want to Forget: Efficient Unlearning for LLMs", §3.

    L_KL = α mean_{t∈R} KL(F ‖ F') - mean_{t∈F} min(KL(F ‖ F'), c log|V|)
    L    = L_KL + λ NLL(R) - γ mean_{t∈F} min(l_t, c log|V|),      l_t = -log F'(y_t)

Small unlearning layers behind every feed-forward block learn to part from the original model on the forget texts
and to stay with it elsewhere; the model itself is frozen, so the teacher F is the student F' with the layers off,
and its states are computed once. Training alternates one epoch on R and one on F.

Here and not in the paper: means over answer tokens instead of sums; the two unbounded terms stop, token by token,
at c log|V| (the divergence from a certain teacher to a uniform student, c = 1). The paper's code was never released.
For an encoder-decoder that knows sentinels (T5), l_t is the paper's masked-language-model loss: of the entities in what
the encoder reads (unlearn.training.masking), a mean a text and then over texts; a text without an entity adds nothing.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, Tokenizer, lm, torch
from unlearn.compute.tokens import Batch, Tokens, collate
from unlearn.methods.base import CHAT_MODELS, RetainMethod, knob
from unlearn.training.alternating import Alternating
from unlearn.training.batches import Batches
from unlearn.training.masking import masked, sentinels_of
from unlearn.training.reference import Reference


def divergence(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Return KL(F ‖ F') [n], the divergence of the student F' from the teacher F. It is Σ_v F(v) (log F(v) -
    log F'(v)).
    """
    teacher = teacher_logits.log_softmax(-1)
    return (teacher.exp() * (teacher - logits.log_softmax(-1))).sum(-1)


@dataclass(frozen=True, kw_only=True)
class EUL(RetainMethod):
    """The method that trains small unlearning layers and leaves the model itself frozen."""

    name = "eul"
    needs_ref = {"forget": "states", "retain": "states"}

    retain_weight: float = knob(1.0, 0.0, 100.0, "λ: how much the right answers of the texts to keep count.")
    kl_retain_weight: float = knob(0.8, 0.0, 100.0, "α: how much staying with the teacher there counts.")
    lm_weight: float = knob(
        0.2, 0.0, 100.0, "γ: how much the right answers of the forget texts are pushed down."
    )
    use_kl: bool = knob(True, help="Teacher and student: stay on the texts to keep, part on those to forget.")
    use_task: bool = knob(True, help="Practise the answers of the texts to keep.")
    use_lm: bool = knob(True, help="Push the answers of the forget texts down.")
    layer_share: float = knob(
        0.005, 0.0005, 0.2, "Size of all unlearning layers, as a share of the model's parameters."
    )
    cap: float = knob(
        1.0, 0.05, 10.0, "c: where the two unbounded terms stop, in units of log|V|.", advanced=True
    )

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the loss terms of the sides that the batch has. In training it has one side, and with both
        it gives all of L.
        """
        sides = [side for side in (batch.retain, batch.forget) if side is not None]
        answers = dict(zip(map(id, sides), lm.forward(model, *sides), strict=True))
        terms: dict[str, Tensor] = {}
        if batch.retain is not None:
            terms |= self._keep(answers[id(batch.retain)], ref)
        if batch.forget is not None:
            terms |= self._part(answers[id(batch.forget)], ref)
            if self.use_lm and "masked" in ref.run:
                terms |= self._masked(model, batch.forget, ref)
        return terms

    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Keep the teacher F's states in the reference. The layers are off for it, also where a chained run
        begins with trained ones.
        """
        with ref.untouched() if ref.untouched else nullcontext(model) as teacher:
            super().prepare(teacher, ref, stream, tokenizer)
        if self.use_lm and any(e.source for e in stream.forget) and sentinels_of(tokenizer):
            found = {e.key: masked(tokenizer, e) for e in stream.forget}
            ref.run["masked"] = {key: one for key, one in found.items() if one}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.uses_forget and not self.retain_ratio:
            raise ValueError(
                "EUL: every term is off; switch on use_kl, use_task or use_lm, or raise a weight."
            )

    @property
    def retain_ratio(self) -> float:
        """Return the number of retain texts for each forget text."""
        keeps = (self.use_kl and self.kl_retain_weight > 0) or (self.use_task and self.retain_weight > 0)
        return self.retain_per_forget if keeps else 0.0

    @property
    def uses_forget(self) -> bool:
        """Return whether a batch needs forget texts."""
        return self.use_kl or (self.use_lm and self.lm_weight > 0)

    def trainable(self, name: str, depth: int) -> bool:
        """Return whether this parameter of a model of `depth` blocks may be trained."""
        return ".unlearning." in name

    def stream(self, batches: Batches) -> Alternating:
        """Return the run's batches in the order in which the method trains on them."""
        return Alternating(batches)

    def _masked(self, model: Model, forget: Tokens, ref: Reference) -> dict[str, Tensor]:
        """-γ (1 / texts) Σ_i mean_t min(l_t, c log|V|) over the masked entities of each text."""
        texts = [ref.run["masked"][key] for key in forget.keys if key in ref.run["masked"]]
        if not texts:
            return {"lm": forget.input_ids.new_zeros((), dtype=torch.float32)}
        (found,) = lm.forward(
            model, collate(texts, 0, total_rows=forget.total_rows).to(forget.input_ids.device)
        )
        capped = found.nll.clamp(max=self.cap * math.log(found.vocabulary))
        return {"lm": -self.lm_weight * found.row_mean(found.row_sum(capped) / found.row_count)}

    def _keep(self, retain: lm.Answers, ref: Reference) -> dict[str, Tensor]:
        terms = {}
        if self.use_kl:
            terms["kl_retain"] = self.kl_retain_weight * retain.token_mean(_kl(retain, ref))
        if self.use_task:
            terms["task"] = self.retain_weight * retain.mean_nll()
        return terms

    def _part(self, forget: lm.Answers, ref: Reference) -> dict[str, Tensor]:
        limit = self.cap * math.log(forget.vocabulary)
        terms = {}
        if self.use_kl:
            terms["kl_forget"] = -forget.token_mean(_kl(forget, ref).clamp(max=limit))
        if self.use_lm and "masked" not in ref.run:
            terms["lm"] = -self.lm_weight * forget.token_mean(forget.nll.clamp(max=limit))
        return terms

    title = "EUL (unlearning layers)"
    paper = "Chen & Yang 2023, arXiv 2310.20150"
    sentence = (
        "Small layers learn to part from the original on the forget texts; off, they give it back exactly."
    )
    formula = (
        r"L = \alpha\,\mathrm{KL}_R(F\,\|\,F') - \mathrm{KL}_F(F\,\|\,F') + \lambda\,\mathrm{NLL}(R)"
        r" - \gamma\,\mathrm{NLL}(F)"
    )
    when = "For many deletion requests: the layers are small, can be fused, and can be switched off."
    cost = "As ascent + descent, with few weights to train; the teacher is one pass before training."
    risk = (
        "Two terms have no end and are capped at c·log|V| a token; a higher cap or rate costs utility. Whoever holds "
        "the file can switch the forgetting off."
    )
    forget_terms = ("kl_forget", "lm")
    tunings = ("layers",)
    origins = {
        "tiny": CHAT_MODELS,
        "large": (
            "Chen & Yang 2023, §4.4 (T5-3B; batch 128 on labels, 2 on summaries); batch and cap by analogy; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {
            **{"lr": 2e-3, "epochs": 10, "batch_size": 4, "layer_share": 0.2, "cap": 0.3, "lm_weight": 2.0},
            **{"retain_weight": 5.0, "kl_retain_weight": 4.0},
            **{"retain_source": "both", "retain_per_forget": 4.0},
        },
        "bundled": {"lr": 4e-3, "epochs": 6},
        "small": {
            "lr": 6e-5,
            "epochs": 5,
            "batch_size": 4,
            "layer_share": 0.02,
            "cap": 0.3,
            "lm_weight": 2.0,
            "retain_weight": 5.0,
            "kl_retain_weight": 4.0,
        },
        "large": {
            "lr": 5e-5,
            "epochs": 5,
            "batch_size": 16,
            "retain_source": "in-distribution",
            "retain_per_forget": 2.0,
            "layer_share": 0.005,
            "cap": 0.4,
            "lm_weight": 0.2,
            "retain_weight": 1.0,
            "kl_retain_weight": 0.8,
        },
    }


def _kl(answers: lm.Answers, ref: Reference) -> Tensor:
    """[T] divergence of the teacher from the model at each answer token."""

    def at(logits: Tensor, _: Tensor, states: Tensor) -> Tensor:
        return divergence(logits, ref.head(states))

    return answers.per_token(at, ref.states(answers))
