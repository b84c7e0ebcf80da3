"""The types Model and Tokenizer, for signatures, describe what every model and tokenizer offers.

A model may be a causal LM or an encoder-decoder of transformers, the same under a PEFT adapter, several models as one
(unlearn.models.joined), or a stand-in that has logits alone (unlearn.measure.gradient). They share no class but
torch's Module, whose attributes mypy takes for tensors.
"""

from collections.abc import Iterator
from typing import Any, Protocol, Self

from torch import Tensor
from torch.nn import Module, Parameter


class Model(Protocol):
    """A torch module with a config that is called with named tensors. The transformers library documents its
    methods.
    """

    def __call__(self, *args: object, **inputs: object) -> Any: ...

    def __getattr__(self, name: str) -> Any: ...

    def parameters(self) -> Iterator[Parameter]:
        """Return an iterator over the model's parameters."""

    def modules(self) -> Iterator[Module]:
        """Return an iterator over the model and all modules within it."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the parameters collect gradients, and return the model."""

    def eval(self) -> Self:
        """Set the model to evaluation mode, in which dropout is off, and return it."""


class Context(Protocol):
    """What an autograd function keeps from its forward pass for the backward pass."""

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that the forward pass saved."""

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """Whether each argument of the forward pass needs a gradient."""

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep these tensors for the backward pass."""

    def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: object) -> None: ...


class Tokenizer(Protocol):
    """A fast tokenizer of transformers with named ids for its special tokens."""

    def __call__(self, *texts: object, **options: object) -> Any: ...

    def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: object) -> None: ...

    def __hash__(self) -> int: ...

    def __len__(self) -> int: ...
