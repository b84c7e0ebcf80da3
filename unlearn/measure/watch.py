"""Reads a few fixed texts of a model while it trains, for the stop rule: likelihoods alone, nothing is generated.

How often is decided by counting tokens, and not by a clock, so that a run ends at the same step wherever it runs. A
text that is read costs one pass; a text that is trained on costs three, or two under an adapter, which needs no
gradient of the matrices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearn.compute.lazy import Tensor, lm, no_grad
from unlearn.compute.tokens import Tokens, collate
from unlearn.data.base import Row
from unlearn.measure.probes import spread
from unlearn.metrics.memory.perplexity import exp_mean
from unlearn.store.stop_rule import BUDGETS, ROWS, Reading, StopRule
from unlearn.training.budget import WATCHED
from unlearn.training.encoding import encode_rows
from unlearn.training.reference import Reference

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# The fewest texts of a role that are read where a run is too short for ROWS, and how often they should be at least.
FEWEST, READINGS = 8, 8
# Texts that are read together.
BATCH = 32


@dataclass(frozen=True)
class Plan:
    """How much is read and how often: so many texts a role, after every so many steps. share: of the training's
    cost.
    """

    rows: int
    every: int
    share: float


def plan(lengths: Sequence[Sequence[int]], step_cost: float, steps: int) -> Plan:
    """Return the plan of a run of so many steps. lengths: tokens of each text, of each role that is read. step_cost:
    what a step costs, in tokens of one pass.

    The readings stay within budget.WATCHED of the training. Fewer texts are read where there would be less than
    READINGS of them.
    """

    def cost(count: int) -> float:
        return sum(min(count, len(role)) * sum(role) / len(role) for role in lengths)

    def every(count: int) -> int:
        return max(1, math.ceil(cost(count) / max(WATCHED * step_cost, 1e-9)))

    rows = ROWS
    while rows > FEWEST and steps // every(rows) < READINGS:
        rows -= 4
    return Plan(rows, every(rows), cost(rows) / max(every(rows) * step_cost, 1e-9))


class Watched:
    """The fixed texts of a run's stop rule, with the values that they had at the start.

    rows: {role: rows to score}. Made before the first step: what a budget compares with is read of the model as it is.
    """

    def __init__(
        self, loaded: Loaded, rule: StopRule, rows: Mapping[str, Sequence[Row]], max_length: int, count: int
    ) -> None:
        self.loaded, self.rule, self.max_length = loaded, rule, max_length
        self.texts = {role: self.batches(rows, role, count) for role in rule.roles}
        self.reference: Reference | None = None
        if "kl" in rule.limits:
            # The head may move with the other weights, so a copy of it is kept.
            moves = any(p.requires_grad for p in loaded.model.get_output_embeddings().parameters())
            self.reference = Reference(loaded.model, head_moves=moves)
            self.reference.prepare(loaded.model, "states", self.texts["general"])
        self.start = {role: self._nlls(role)[0] for role in self.texts}

    def batches(self, rows: Mapping[str, Sequence[Row]], role: str, count: int) -> list[Tokens]:
        """Return the texts that are read of a role, shortest first."""
        chosen = [row for _, row in spread(rows[role], count)]
        examples = encode_rows(self.loaded.tokenizer, chosen, max_length=self.max_length)
        examples = sorted(examples, key=lambda e: len(e.input_ids))
        pad = self.loaded.pad_id
        parts = (examples[at : at + BATCH] for at in range(0, len(examples), BATCH))
        return [collate(part, pad).to(self.loaded.device) for part in parts]

    def read(self, step: int) -> Reading:
        """Read the model as it is after this step."""
        found = {role: self._nlls(role) for role in self.texts}
        spent = {name: self._spent(name, *found[BUDGETS[name].role]) for name in self.rule.limits}
        return Reading(step, probability(found["forget"][0]), spent)

    def other(self, rows: Sequence[Row]) -> float:
        """Return the mean probability of the answers of other rows, read now."""
        texts = self.batches({"other": rows}, "other", ROWS)
        return probability([nll for tokens in texts for nll in self._read(tokens)[0]])

    def _spent(self, name: str, nlls: Sequence[float], drift: float) -> float:
        """The value that a budget's limit is about: as it is, or compared with the start's."""
        if name == "kl":
            return drift
        was = self.start[BUDGETS[name].role]
        if name == "general-ppl":
            return exp_mean([now - then for now, then in zip(nlls, was, strict=True)])
        return probability(nlls) / max(probability(was), 1e-300)

    def _nlls(self, role: str) -> tuple[list[float], float]:
        """(S / n of each text of the role, the mean divergence from the start where a budget asks for it)."""
        nlls: list[float] = []
        total, count = 0.0, 0
        for tokens in self.texts[role]:
            mine, gap = self._read(tokens, drift=role == "general" and self.reference is not None)
            nlls, total, count = nlls + mine, total + gap, count + int((tokens.labels >= 0).sum())
        return nlls, total / max(count, 1)

    @no_grad
    def _read(self, tokens: Tokens, drift: bool = False) -> tuple[list[float], float]:
        """One pass: (S / n of each text, the sum of its divergences from the start over the answer tokens)."""
        (answers,) = lm.forward(self.loaded.model, tokens)
        nlls = (answers.row_sum(answers.nll) / answers.row_count).tolist()
        if not drift or (ref := self.reference) is None:
            return nlls, 0.0

        def before(_: Tensor, states: Tensor) -> Tensor:
            return ref.head(states)

        return nlls, float(answers.cross_entropy(before, ref.states(answers), divergence=True).sum())


def probability(nlls: Sequence[float]) -> float:
    """Return the mean over texts of exp(-S/n), the geometric mean of their answer tokens' probabilities."""
    return sum(math.exp(-nll) for nll in nlls) / len(nlls)
