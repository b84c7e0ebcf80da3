"""The base class of methods that change decoding alone: the model that they build, and what they promise."""

from dataclasses import dataclass

from unlearn.compute.lazy import Model
from unlearn.methods.base import Method

# The end of each method's risk, in the same words.
KNOWN = "No weight changes: whoever has the weights has the knowledge, and the forgetting dial switches it on again."


@dataclass(frozen=True, kw_only=True)
class Decoder(Method):
    """A method whose model is the start with another distribution of the next token."""

    changes_weights = False
    tunings = ("full",)
    forget_terms = ()
    early = False
    leans = False
    explorable = False
    continues = False

    def build(self, model: Model) -> Model:
        """Return the model with its own decoding, from a copy of its weights."""
        from unlearn.models.joined.decoding import decoded

        return decoded(model, **self.decoding())

    def decoding(self) -> dict[str, float]:
        """Return what the decoding changes: uniform and contrast, as in unlearn.models.joined.decoding."""
        raise NotImplementedError
