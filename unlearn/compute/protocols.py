"""What a model and a tokenizer are to this library, for signatures: what every kind has, the rest by its name.

A model may be a causal LM or an encoder-decoder of transformers, the same under a PEFT adapter, several models as one
(unlearn.models.ensemble), or a stand-in that has logits alone (unlearn.measure.gradient). They share no class but
torch's Module, whose attributes mypy takes for tensors.
"""

from collections.abc import Iterator
from typing import Any, Protocol, Self

from torch.nn import Module, Parameter


class Model(Protocol):
    """A torch module with a config, called with named tensors; see the transformers library for its methods."""

    def __call__(self, *args: Any, **inputs: Any) -> Any: ...

    def __getattr__(self, name: str) -> Any: ...

    def parameters(self) -> Iterator[Parameter]: ...

    def modules(self) -> Iterator[Module]: ...

    def requires_grad_(self, requires_grad: bool = True) -> Self: ...

    def eval(self) -> Self: ...


class Tokenizer(Protocol):
    """A fast tokenizer of transformers, with ids of its special tokens by name."""

    def __call__(self, *texts: Any, **options: Any) -> Any: ...

    def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: Any) -> None: ...

    def __hash__(self) -> int: ...

    def __len__(self) -> int: ...
