"""The types Model and Tokenizer, for signatures, describe what every model and tokenizer offers.

A model may be a causal LM or an encoder-decoder of transformers, the same under a PEFT adapter, several models as one
(unlearn.models.ensemble), or a stand-in that has logits alone (unlearn.measure.gradient). They share no class but
torch's Module, whose attributes mypy takes for tensors.
"""

from collections.abc import Iterator
from typing import Any, Protocol, Self

from torch.nn import Module, Parameter


class Model(Protocol):
    """A torch module with a config that is called with named tensors. The transformers library documents its
    methods.
    """

    def __call__(self, *args: Any, **inputs: Any) -> Any: ...

    def __getattr__(self, name: str) -> Any: ...

    def parameters(self) -> Iterator[Parameter]:
        """Return an iterator over the model's parameters."""

    def modules(self) -> Iterator[Module]:
        """Return an iterator over the model and all modules within it."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the parameters collect gradients, and return the model."""

    def eval(self) -> Self:
        """Set the model to evaluation mode, in which dropout is off, and return it."""


class Tokenizer(Protocol):
    """A fast tokenizer of transformers with named ids for its special tokens."""

    def __call__(self, *texts: Any, **options: Any) -> Any: ...

    def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: Any) -> None: ...

    def __hash__(self) -> int: ...

    def __len__(self) -> int: ...
