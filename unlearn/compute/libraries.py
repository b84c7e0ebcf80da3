"""Imports torch and transformers at once, while Python's cycle collector rests.

They leave some 600,000 objects, and the collector walks through those that are there again and again while more come:
a quarter of the time that importing takes. None of them is ever garbage, so the collector rests meanwhile, and leaves
them out ever after. Obsolete once the collector no longer walks through old objects so often.

Transformers takes one function of scipy for losses that find objects in pictures, and some 300 modules come with it. It
gets that function here without them; they are imported when it is called.
"""

import gc
import importlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import RLock
from types import ModuleType

# Held while torch is imported, and by whoever imports what looks whether torch is there: it would take half of it.
_one_at_a_time = RLock()

# What loading a causal language model imports, however small it is.
MODULES = ("torch", "transformers.modeling_utils", "transformers.models.auto.modeling_auto")


@contextmanager
def collector_resting() -> Iterator[None]:
    """Keep the cycle collector from running within the `with` block. What is left then is not looked at again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


@cache
def ready() -> None:
    """Import torch and transformers. Later calls do nothing."""
    # In a thread of its own: errors that a library raises and swallows while it is imported hold the frames below them,
    # and the frozen ones hold them for ever. Below must not be a run with its model.
    with collector_resting(), ThreadPoolExecutor(1) as thread:
        thread.submit(_import_all).result()


def settled(name: str) -> ModuleType:
    """Import a module while no other thread imports torch, and return it. Scipy looks for torch as it is imported."""
    with _one_at_a_time:
        return importlib.import_module(name)


def _import_all() -> None:
    with _one_at_a_time, called_for("scipy.optimize", "linear_sum_assignment"):
        for name in MODULES:
            importlib.import_module(name)


@contextmanager
def called_for(module: str, function: str) -> Iterator[None]:
    """Give imports within the `with` block this function without its module, which is imported at the first call."""

    def call(*args: object, **options: object) -> object:
        return getattr(importlib.import_module(module), function)(*args, **options)

    if module in sys.modules:
        yield
        return
    stand_in = ModuleType(module)

    def other(name: str) -> object:
        # Other versions of the libraries take more of it at once: they get the module itself.
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(module) is stand_in:
            del sys.modules[module]
        return getattr(importlib.import_module(module), name)

    setattr(stand_in, function, call)
    # As a module's own function (PEP 562).
    stand_in.__dict__["__getattr__"] = other
    sys.modules[module] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(module) is stand_in:
            del sys.modules[module]
