"""A model that differs from its start in how the next token is chosen, and in no weight.

    DP decoding            p'(y) = (1 - λ) p(y) + λ / V
    contrastive decoding   z' = z - a relu(z_m - z),   z_m: a copy that learnt the texts to forget still better

It is a transformers model of its own, as an ensemble is, so that scores, generation and attacks read the changed
distribution. The start lies inside, bit by bit: whoever has the weights has the knowledge.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from unlearn.compute.head import head_of
from unlearn.compute.lazy import Model
from unlearn.models.joined.ensemble import Ensemble, EnsembleConfig, ensemble_of


class DecodingConfig(EnsembleConfig):
    """The config of such a model. uniform: λ. contrast: a. Two members where there is a memorising copy."""

    model_type = "unlearn_decoding"

    uniform: float = 0.0
    contrast: float = 0.0


def contrasted(base: Tensor, memorising: Tensor, a: float) -> Tensor:
    """Return logits [..., V] without what a memorising model adds to them: z - a relu(z_m - z)."""
    return base - a * (memorising - base).relu()


def with_uniform(logits: Tensor, share: float) -> Tensor:
    """Return the log-probs [..., V] of the mixture of a distribution with the uniform one: (1 - λ) p + λ / V."""
    log_probs = logits.log_softmax(-1)
    if share <= 0:
        return log_probs
    even = torch.full_like(log_probs, math.log(share / logits.shape[-1]))
    return even if share >= 1 else torch.logaddexp(log_probs + math.log1p(-share), even)


class DecodingHead(nn.Module):
    """An output head that changes the prediction of the first member. It takes the members' states side by side."""

    def __init__(self, members: Sequence[Model], uniform: float, contrast: float) -> None:
        super().__init__()
        # A tuple registers nothing: they belong to the model.
        self.members = tuple(members)
        self.uniform, self.contrast = uniform, contrast

    def forward(self, states: Tensor) -> Tensor:
        """Return log-probs [..., V] in float32 from the members' states [..., S·d]."""
        parts = states.chunk(len(self.members), -1)
        logits = [head_of(member)(part) for member, part in zip(self.members, parts, strict=True)]
        found = logits[0] if len(logits) == 1 else contrasted(logits[0], logits[1], self.contrast)
        return with_uniform(found, self.uniform)


class Decoding(Ensemble):
    """The model as it came, as member_0, and where it is contrasted with one, a memorising copy as member_1."""

    config_class = DecodingConfig
    config: DecodingConfig

    def joined(self) -> nn.Module:
        """Return the head that changes the distribution of the next token."""
        return DecodingHead(self.members(), self.config.uniform, self.config.contrast)


def decoded(model: Model, *, uniform: float = 0.0, contrast: float = 0.0) -> Decoding:
    """Return the model with another decoding, from a copy of its weights. ValueError for an encoder-decoder.

    With contrast there is a second copy, which is to learn by heart what shall be forgotten.
    """
    if model.config.is_encoder_decoder:
        raise ValueError(
            "decoding: this needs a decoder-only model; choose another method, or another model."
        )
    more: dict[str, Any] = {"uniform": uniform, "contrast": contrast}
    return cast(Decoding, ensemble_of(model, 2 if contrast else 1, Decoding, **more))


AutoConfig.register(DecodingConfig.model_type, DecodingConfig, exist_ok=True)
AutoModelForCausalLM.register(DecodingConfig, Decoding, exist_ok=True)
