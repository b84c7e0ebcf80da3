"""DP decoding: Majmudar et al. 2022, "Differentially Private Decoding in Large Language Models", §3.

    p'(y) = (1 - λ) p(y) + λ / V

Every next-token distribution is mixed with the uniform one, so that no single token is ever certain. It is a baseline
of UnDIAL (Dong et al. 2025). The likeliest token stays the likeliest: asked greedily, the model says what it said.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor
from unlearn.compute.tokens import Batch
from unlearn.data.base import Dataset
from unlearn.methods.base import Outlook, knob
from unlearn.methods.decode.decoder import KNOWN, Decoder
from unlearn.store.runs import RunConfig
from unlearn.training.loop import Phases, Step
from unlearn.training.reference import Reference


@dataclass(frozen=True, kw_only=True)
class DPDecoding(Decoder):
    """The method that mixes each next-token distribution with the uniform one."""

    name = "dp"

    uniform: float = knob(
        0.5, 0.0, 1.0, "λ: the share of the uniform distribution. 0 nothing, 1 pure chance."
    )

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return no term, since nothing is trained."""
        return {}

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Take no step."""
        yield from ()

    def decoding(self) -> dict[str, float]:
        """Return what the decoding changes."""
        return {"uniform": self.uniform}

    def outlook(self, config: RunConfig, data: Dataset) -> Outlook:
        """Return that nothing is trained."""
        return Outlook(0, 0, 0.0, ("Nothing is trained: only the choice of the next word changes.",))

    title = "DP decoding"
    paper = "Majmudar et al. 2022, arXiv 2205.13621"
    sentence = "Mixes every next-token distribution with the uniform one, and changes no weight."
    formula = r"p'(y) = (1-\lambda)\,p(y) + \lambda / V"
    when = "As the baseline that protects at the door alone: sampled answers, behind an interface."
    cost = "None: no training."
    risk = (
        f"Asked greedily the model says what it said before, and every text becomes harder to read. {KNOWN}"
    )
    origins = dict.fromkeys(("tiny", "small", "large"), "λ 0.5 by choice; nothing is trained")
