"""Makes a language model forget, and shows what it still knows.

    import unlearn

    run = unlearn.run("tiny-authors", method="npo")     # a run: a folder, as the command line makes it
    model = unlearn.load("tiny-authors")                # in memory, without a folder
    for step in unlearn.forget(model, forget=unlearn.rows("authors"), method=unlearn.methods.NPO(beta=0.1)):
        print(step.step, step.terms)

Importing this loads nothing heavy: torch comes with the first name that needs it. Each name's docstring has an example.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from unlearn import attacks, methods, metrics
    from unlearn.commands.calls import (
        attack,
        compare,
        evaluate,
        judge,
        load,
        open_run,
        rows,
        run,
        runs,
        save_report,
    )
    from unlearn.data.base import Row
    from unlearn.work.session import forget

# The module of each public name. A room is itself a public name.
_CALLS = ("attack", "compare", "evaluate", "judge", "load", "open_run", "rows", "run", "runs", "save_report")
_PLACES = dict.fromkeys(_CALLS, "unlearn.commands.calls")
_PLACES |= {"Row": "unlearn.data.base", "forget": "unlearn.work.session"}
_ROOMS = ("attacks", "methods", "metrics")

__all__ = [
    "Row",
    "attack",
    "attacks",
    "compare",
    "evaluate",
    "forget",
    "judge",
    "load",
    "methods",
    "metrics",
    "open_run",
    "rows",
    "run",
    "runs",
    "save_report",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"unlearn.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'unlearn' has no attribute {name!r}; it has {', '.join(__all__)}.")
    found = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
