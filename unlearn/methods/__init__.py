"""The methods, in teaching order. Adding one takes its file, its entry here and its golden test."""

from unlearn.methods.base import Knob, Method, RetainMethod, check, knob
from unlearn.methods.eul import EUL
from unlearn.methods.finetune import FineTune
from unlearn.methods.ga import GradientAscent
from unlearn.methods.gd import GradientDifference
from unlearn.methods.npo import NPO
from unlearn.methods.undial import UnDIAL

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (GradientAscent, GradientDifference, NPO, UnDIAL, EUL, FineTune)
}


def method_named(name: str) -> type[Method]:
    """ValueError for an unknown name, with the known ones."""
    if name not in METHODS:
        raise ValueError(f"method: must be among {', '.join(METHODS)}, got {name!r}.")
    return METHODS[name]


__all__ = ["METHODS", "Knob", "Method", "RetainMethod", "check", "knob", "method_named"]
