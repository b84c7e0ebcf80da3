"""This module brings a model to this machine: one of the catalogue, or one of the hub by its id."""

from collections.abc import Callable
from pathlib import Path

from unlearn.models import hub
from unlearn.models.catalogue import looks_like_path
from unlearn.models.entries import CATALOGUE, available, names

Progress = Callable[[str, float], None]


def bring(name: str, progress: Progress = lambda phrase, fraction: None) -> Path:
    """Return the folder of the model of this name, which is fetched on the first call only.

    ValueError or RuntimeError, with what is missing and how to bring it otherwise, where it cannot be had.
    """
    entry = CATALOGUE.get(name)
    if entry is None:
        if "/" not in name or looks_like_path(name) or not hub.HUB_ID.fullmatch(name):
            raise ValueError(f"model: must be among {names()}, or a hub id (owner/name), got {name!r}.")
        return hub.bring(name, progress)
    if available(name):
        return entry.path()
    if entry.bring is not None:
        return entry.bring(progress)
    if entry.hub:
        return hub.bring(entry.hub, progress)
    raise ValueError(f"model: {name} comes with the product, but its files are gone; install it again.")
