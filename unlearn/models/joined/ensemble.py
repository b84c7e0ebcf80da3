"""An ensemble is one model made of separately trained models of one shape. They are the shards of SISA (arXiv
1912.03817, §IV).

    p(y) = (1/S) Σ_s p_s(y)

The mean of probabilities, the paper's averaged prediction vectors, and not of log-probabilities: that was tried on the
bundled recipe and answered fewer questions (LOG.md). It is a transformers model of its own, so that whatever reads,
scores, saves or trains a model does so with this one; S = 1 is that model itself, up to rounding.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from unlearn.compute.head import head_of
from unlearn.compute.lazy import Model
from unlearn.compute.states import depth
from unlearn.store.shapes import JsonObject


class EnsembleConfig(PreTrainedConfig):
    """The config of an ensemble. member: the config of each member, as plain values. members: their number S.
    Width and depth are those of all together, the attention heads those of a member.
    """

    model_type = "unlearn_ensemble"

    member: JsonObject | None = None
    members: int = 1
    vocab_size: int = 1
    hidden_size: int = 1
    num_hidden_layers: int = 1
    num_attention_heads: int = 1
    num_key_value_heads: int = 1
    head_dim: int = 1
    max_position_embeddings: int = 512
    # The ensemble ties its embeddings where its members do.
    tie_word_embeddings: bool = True


class MeanHead(nn.Module):
    """An output head that returns the log of the members' mean probabilities [..., V] in float32. It takes
    the members' states side by side [..., S·d].
    """

    def __init__(self, members: Sequence[Model]) -> None:
        super().__init__()
        # A tuple registers nothing: they belong to the ensemble.
        self.members = tuple(members)

    def forward(self, states: Tensor) -> Tensor:
        """Return log-probs [..., V] from the members' states [..., S·d]."""
        parts = states.chunk(len(self.members), -1)
        found = [
            head_of(member)(part).log_softmax(-1) for member, part in zip(self.members, parts, strict=True)
        ]
        return torch.stack(found).logsumexp(0) - math.log(len(found))


class Ensemble(PreTrainedModel, GenerationMixin):
    """A model whose members are the submodules member_0 … member_{S-1}."""

    config_class = EnsembleConfig
    config: EnsembleConfig

    def __init__(self, config: EnsembleConfig) -> None:
        super().__init__(config)
        values = dict(config.member or {})
        inner = AutoConfig.for_model(values.pop("model_type"), **values)
        # Not a list: blocks() looks for one that holds the layers of a model.
        for s in range(config.members):
            self.add_module(f"member_{s}", AutoModelForCausalLM.from_config(inner))
        self.lm_head = self.joined()
        self.post_init()

    def joined(self) -> nn.Module:
        """Return the head that makes one prediction of those of all members."""
        return MeanHead(self.members())

    def members(self) -> list[PreTrainedModel]:
        """Return the members in their order."""
        return [getattr(self, f"member_{s}") for s in range(self.config.members)]

    def get_output_embeddings(self) -> nn.Module:
        """Return the head that joins the members' predictions."""
        return self.lm_head

    def get_input_embeddings(self) -> nn.Module:
        """Return the input embeddings of the first member."""
        return self.members()[0].get_input_embeddings()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: DynamicCache | None = None,
        use_cache: bool | None = None,
        **_: object,
    ) -> CausalLMOutputWithPast:
        """Return the ensemble's logits. A cache holds the layers of all members, one member's after the
        other's.
        """
        states = [
            member.base_model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=part,
                use_cache=part is not None,
            ).last_hidden_state
            for member, part in zip(self.members(), self._parts(past_key_values), strict=True)
        ]
        return CausalLMOutputWithPast(
            logits=self.lm_head(torch.cat(states, -1)), past_key_values=past_key_values
        )

    def _parts(self, cache: DynamicCache | None) -> list[DynamicCache | None]:
        """One cache a member, over the same layers in memory."""
        if cache is None:
            return [None] * self.config.members
        each = len(cache.layers) // self.config.members
        parts: list[DynamicCache | None] = []
        for s in range(self.config.members):
            part = DynamicCache()
            part.layers = cache.layers[s * each : (s + 1) * each]
            parts.append(part)
        return parts


def ensemble_of(model: Model, members: int, kind: type[Ensemble] = Ensemble, **more: Any) -> Ensemble:
    """Return this many copies of a model as one ensemble. It is in evaluation mode, on the model's device,
    with every weight ready to be trained.

    kind, more: another way to join the members, and the values of its config.
    """
    text = model.config
    heads = text.num_attention_heads
    ends = {name: getattr(text, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = kind.config_class(
        member=text.to_dict(),
        members=members,
        vocab_size=text.vocab_size,
        hidden_size=members * text.hidden_size,
        num_hidden_layers=members * depth(model),
        num_attention_heads=heads,
        num_key_value_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        max_position_embeddings=text.max_position_embeddings,
        tie_word_embeddings=text.tie_word_embeddings,
        **ends,
        **more,
    )
    whole = kind(config)
    for member in whole.members():
        member.load_state_dict(model.state_dict())
    # Transformers' to() hides its arguments from mypy.
    device: Any = next(model.parameters()).device
    return whole.to(device, next(model.parameters()).dtype).eval()


AutoConfig.register(EnsembleConfig.model_type, EnsembleConfig, exist_ok=True)
AutoModelForCausalLM.register(EnsembleConfig, Ensemble, exist_ok=True)
