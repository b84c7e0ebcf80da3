"""This module loads a retrained model in the number format of the run that it stands beside.

A run reads its model before and after in one format. A retrained model in another one would differ by its rounding
alone, and its answers are kept under a name that says the run's format.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.models.catalogue import parts_of
from unlearn.models.load import load
from unlearn.models.precision import saved_as
from unlearn.store.config import ROUNDED, RunConfig

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


def load_beside(config: RunConfig, truth: str | Path) -> "Loaded":
    """Return models.Loaded of a retrained model as the run reads its own. truth: as exact_retrain gives it.

    ValueError as in load() and format_beside().
    """
    precision = format_beside(config, truth)
    # Nothing can be added into rounded weights; the run's own adapter lies beside them too.
    beside = precision in ROUNDED and parts_of(str(truth)).way == "merge"
    return load(str(truth), tuning=config.tuning, precision=precision, adapter="keep" if beside else "auto")


def format_beside(config: RunConfig, truth: str | Path) -> str:
    """Return the precision in which a retrained model is loaded to stand beside the config's own.

    ValueError where one of the two was rounded when it was saved and the other cannot be read like it.
    """
    ours, theirs = (
        saved_as(parts.base) for parts in (parts_of(config.model, config.adapter), parts_of(str(truth)))
    )
    wanted = ours or (config.precision if config.precision in ROUNDED else "")
    if theirs == wanted or (not theirs and wanted in ROUNDED):
        return "auto" if theirs else wanted or config.precision
    raise ValueError(
        f"retrained: the weights of {truth} are {theirs or 'not rounded'} and this run reads {config.model} "
        f"{f'in {wanted}' if wanted else 'unrounded'}, so their numbers cannot stand beside each other; give one in "
        "the same form, or both before they were rounded."
    )
