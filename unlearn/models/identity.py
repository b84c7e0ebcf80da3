"""This module records which model a run began with: weights' hash, hub revision and adapter.

Written into the run when it begins; a run is never gone on with on another model.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from unlearn.models import folders
from unlearn.models.catalogue import parts_of, source_of
from unlearn.models.load import named_hash
from unlearn.store.config import RunConfig
from unlearn.store.runs import Run

COMMIT = re.compile(r"[0-9a-f]{40}")


def identity_of(model: str, weights: str, adapter: str = "auto") -> dict[str, str]:
    """Return what is known of the model of this name: {"model": hash of what was loaded, "revision"?,
    "adapter"?}. adapter: what a run does with one, as in its config.
    """
    said = {"model": weights, "revision": revision(model), "adapter": adapter_used(model, adapter)}
    return {name: value for name, value in said.items() if value}


def check_same(model: str, began: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Raise ValueError where the model of this name is not the one that a run began with.

    The hash of a hub's model in memory depends on the numbers it is held in, so there the revision decides.
    """
    key = "revision" if began.get("revision") and now.get("revision") else "model"
    if began.get(key) and now.get(key) and began[key] != now[key]:
        what = "revision" if key == "revision" else "weights with hash"
        raise ValueError(
            f"model: {model} is not the model that this run began with ({what} {now[key]}, it began with "
            f"{began[key]}); put that model back, or start a new run."
        )


def hash_before(config: RunConfig, start: Run | None, loaded: str) -> str:
    """Return the hash of the model that a run begins with. In a chain it joins that of the named model with
    that of the earlier run's weights.

    loaded: the hash of what was loaded, which counts for a model of the hub.
    """
    from unlearn.models.tuning import trained_hash

    if start is None:
        return loaded
    return trained_hash(start, named_hash(config.model, config.adapter) or loaded)


def revision(model: str) -> str:
    """Return the commit of the hub's snapshot that the model is loaded from, or "" for a model of another
    source.
    """
    source = source_of(model)
    if not isinstance(source, Path):
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(source, "config.json")
        if not isinstance(found, str):
            return ""
        source = Path(found).parent
    folder = source.absolute()
    return folder.name if folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name) else ""


def adapter_used(model: str, adapter: str = "auto") -> str:
    """Return what is done with the adapter that the model's name stands for and on what, such as "merge: owner/base",
    or "" where there is none.
    """
    parts = parts_of(model, adapter)
    if parts.adapter is None:
        return ""
    said = folders.adapter_facts(parts.adapter)["base_model_name_or_path"]
    return f"{parts.way}: {said}"
