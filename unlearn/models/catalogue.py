"""This module is where other rooms ask for a model by its name: an entry of the catalogue, a folder or the hub.

Here a model is brought to this machine, and a name that a browser or an import gives is checked. What a name stands for
is found in unlearn.models.named. Neither torch nor transformers is imported, so that a page can list the catalogue at
once.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from unlearn.models import folders, hub
from unlearn.models.entries import (
    ASSETS,
    CATALOGUE,
    LARGE,
    SMALL,
    ModelEntry,
    available,
    entry_of,
    names,
    size_of,
)
from unlearn.models.folders import tensor_shapes
from unlearn.models.hub import HUB_ID, check_hub, hub_answers
from unlearn.models.named.parts import Parts, as_folder, base_of, looks_like_path, parts_of, source_of
from unlearn.models.named.prompt import check_prompt, default_prompt
from unlearn.models.named.retrained import exact_retrain
from unlearn.store.allowed import allowed_path

__all__ = [
    "ASSETS",
    "CATALOGUE",
    "LARGE",
    "SMALL",
    "ModelEntry",
    "Parts",
    "allow_model",
    "as_folder",
    "available",
    "base_of",
    "bring",
    "bring_reading",
    "check_hub",
    "check_prompt",
    "default_prompt",
    "entry_of",
    "exact_retrain",
    "hub_answers",
    "looks_like_path",
    "parts_of",
    "size_of",
    "source_of",
    "tensor_shapes",
]


def bring(name: str, progress: Callable[[str, float], None] = lambda phrase, fraction: None) -> Path:
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


def bring_reading(name: str) -> None:
    """Bring tokenizer and config of a hub's model that is not here, and of the model that its adapter was made on.

    Nothing happens for a catalogue name or a folder, or where the hub does not answer.
    """
    if name in CATALOGUE or as_folder(name) or looks_like_path(name) or not HUB_ID.fullmatch(name):
        return
    hub.bring_reading(name)
    if here := hub.adapter_here(name):
        base = base_of(str(folders.adapter_facts(here)["base_model_name_or_path"]))
        if isinstance(base, str):
            hub.bring_reading(base)


def allow_model(name: str, roots: Sequence[Path] | None, place: str = "model") -> None:
    """Raise ValueError when name is a folder outside the roots, because an imported config or a browser may
    name any folder. The model that an adapter names as its base must lie in them too. place: the setting that names it.
    """
    if not name or name in CATALOGUE:
        return
    folder = as_folder(name)
    if looks_like_path(name) or folder:
        allowed_path(name, roots, place)
    folder = folder or (hub.adapter_here(name) if HUB_ID.fullmatch(name) else None)
    # One beside a whole model is used on that model alone.
    if folder is not None and folders.is_adapter(folder):
        base = base_of(str(folders.adapter_facts(folder)["base_model_name_or_path"]))
        if isinstance(base, Path) and base not in [entry.path() for entry in CATALOGUE.values()]:
            try:
                allowed_path(base, roots, place)
            except ValueError as error:
                raise ValueError(
                    f"{error} The adapter {folder.name} names it as the model it was made on, in {folders.ADAPTER}."
                ) from None
