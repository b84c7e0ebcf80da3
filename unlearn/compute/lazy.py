"""This module loads torch, the modules built on it, and pandas at their first use.

Most of what the product answers (a list of methods, a form, a refused run) needs the names and knobs of a method, not
its arithmetic; torch takes seconds to load, pandas half of one. A module that takes torch from here can be imported
without that wait and still reads `torch.…`. A module that defines a torch class (nn.Module, autograd.Function) imports
torch itself.

The standard library's importlib.util.LazyLoader would put the unloaded torch into sys.modules, where scipy and
scikit-learn look for it and so load it, and before Python 3.12.3 two threads may see such a module half loaded.
Python's own lazy imports (PEP 810) would make this file obsolete.
"""

import importlib
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Lazy(ModuleType):
    """A placeholder for the module of its name, which imports that module when an attribute is first used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from unlearn.compute import chunks, continuing, head, lean, lm, lora, products, together
    from unlearn.compute.protocols import Model, Tokenizer
else:
    pd, torch, F = Lazy("pandas"), Lazy("torch"), Lazy("torch.nn.functional")
    head, lm = Lazy("unlearn.compute.head"), Lazy("unlearn.compute.lm")
    lean, lora = Lazy("unlearn.compute.lean"), Lazy("unlearn.compute.lora")
    products, together = Lazy("unlearn.compute.products"), Lazy("unlearn.compute.together")
    chunks, continuing = Lazy("unlearn.compute.chunks"), Lazy("unlearn.compute.continuing")
    # Only annotations use these names. A test of a value's type must use torch.Tensor.
    Tensor = Model = Tokenizer = Any

__all__ = [
    "F",
    "Lazy",
    "Model",
    "Tensor",
    "Tokenizer",
    "chunks",
    "continuing",
    "head",
    "lean",
    "lm",
    "lora",
    "no_grad",
    "pd",
    "products",
    "together",
    "torch",
]


def no_grad(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function wrapped in torch.no_grad(). As a decorator it does not load torch before the first
    call.
    """

    @wraps(function)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.no_grad():
            return function(*args, **kwargs)

    return quiet
