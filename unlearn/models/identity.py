"""This module records which model a run began with: weights' hash, hub revision and adapter.

Written into the run when it begins; a run is never gone on with on another model.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from unlearn.models import folders, hub
from unlearn.models.catalogue import exact_retrain, parts_of, source_of
from unlearn.models.load import hash_of, named_hash
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
    if began.get("retrained") and now.get("retrained") and began["retrained"] != now["retrained"]:
        raise ValueError(
            f"retrained: the retrained model is not the one that this run was compared with (hash {now['retrained']}, "
            f"it was {began['retrained']}); put that model back, or start a new run."
        )
    if began.get(key) and now.get(key) and began[key] != now[key]:
        what = "revision" if key == "revision" else "weights with hash"
        raise ValueError(
            f"model: {model} is not the model that this run began with ({what} {now[key]}, it began with "
            f"{began[key]}); put that model back, or start a new run."
        )


def retrain_identity(config: RunConfig) -> dict[str, str]:
    """Return {"retrained": hash of the exact retrain's weights, "retrained_by": "you" or "catalogue"}. It is empty
    where there is none, and without a hash where it is a model of the hub that is not here yet.
    """
    truth = exact_retrain(config)
    if truth is None:
        return {}
    known = retrain_hash(truth)
    return ({"retrained": known} if known else {}) | {
        "retrained_by": "you" if config.retrained else "catalogue"
    }


def retrain_hash(truth: str | Path) -> str:
    """Return the hash of a retrained model's weights, or "" for one of the hub that is not on this machine."""
    parts = parts_of(str(truth))
    if isinstance(parts.base, str) and hub.snapshot_here(parts.base) is None:
        return ""
    return hash_of(parts, None)


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
    return f"{parts.way}: {folders.adapter_base(parts.adapter)}"
