"""This module asks the hub for a model, and finds what of it is on this machine already.

Neither torch nor transformers is imported here.
"""

import contextlib
import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from unlearn.models import folders
from unlearn.models.entries import CATALOGUE, names

HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
HUB_SECONDS = 5.0
# What a tokenizer and its chat template are made of, some megabytes.
READING_FILES = [
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "*.jinja",
    "vocab.json",
    "merges.txt",
]
WHOLE_FILES = ["model*.safetensors", folders.INDEX, "generation_config.json", *READING_FILES]
ADAPTER_FILES = [folders.ADAPTER, folders.ADAPTER_WEIGHTS, *READING_FILES]
# Models of the catalogue by the name that the hub knows them under.
CATALOGUED = {entry.hub: entry for entry in CATALOGUE.values() if entry.hub}


def cached(name: str, file: str) -> Path | None:
    """Return the file of a hub's model in the hub's cache on this machine, or None."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file)
    return Path(found) if isinstance(found, str) else None


def snapshot_here(name: str) -> Path | None:
    """Return the folder of a hub's whole model in the hub's cache, or None where it was not brought whole."""
    config = cached(name, folders.CONFIG)
    if config is None:
        return None
    try:
        files = folders.weight_files(config.parent)
    except ValueError:
        return None
    return config.parent if files and all(file.is_file() for file in files) else None


def adapter_here(name: str) -> Path | None:
    """Return the folder of a hub's adapter in the hub's cache, or None for a whole model or one that is not here."""
    file = cached(name, folders.ADAPTER)
    return file.parent if file is not None and folders.is_adapter(file.parent) else None


def hub_answers(name: str) -> bool:
    """Return whether the hub can be asked for this model now. It is asked once with a short timeout.

    transformers itself tries for half a minute before it says that nobody is there. ValueError when the hub does
    answer and has no such model. huggingface_hub's get_hf_file_metadata is the same question, with a second one to the
    hub besides (who is asking); this is obsolete once it asks once.
    """
    code = _asked(name, folders.CONFIG)
    # A repository that holds an adapter alone has no config.json.
    if code == 404 and _asked(name, folders.ADAPTER) == 200:
        return True
    entry = CATALOGUED.get(name)
    gated = entry is not None and entry.gated
    # Another gateway on the way may answer 403 too, so it counts for a model that is known to be gated alone.
    if code in (401, 404) or (gated and code == 403):
        terms = f", after its terms were accepted at huggingface.co/{name}" if gated else ""
        raise ValueError(
            f"model: the hub has no model {name!r} that this machine may read; check its id, or log in with "
            f"HF_TOKEN{terms}."
        )
    return code > 0


def _asked(name: str, file: str) -> int:
    """The status with which the hub answers for a file, or 0 where it does not answer."""
    import urllib.error
    import urllib.request

    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        return 0
    request = urllib.request.Request(f"{constants.ENDPOINT}/{name}/resolve/main/{file}", method="HEAD")
    if token := get_token():
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=HUB_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return 0


def check_hub(name: str) -> bool:
    """Return hub_answers(name) for a model that may be here already. ValueError when it does not and the
    model was never brought here.
    """
    if snapshot_here(name) or adapter_here(name):
        # The model is here already, so the hub's answer does not matter.
        with contextlib.suppress(ValueError):
            return hub_answers(name)
        return False
    if not hub_answers(name):
        raise ValueError(
            f"model: {name!r} is neither a model of this machine ({names()}, or a folder) nor can the hub "
            "be reached to ask for it; check the name and the network."
        )
    return True


def bring_reading(name: str) -> None:
    """Bring what tells how a hub's model reads: its tokenizer and config, or the whole of an adapter. Some megabytes.

    So prompt format, lengths of rows and the base of an adapter are known before a run. Nothing happens where they are
    here, or where the hub does not answer; who loads the model says so.
    """
    if cached(name, "tokenizer.json") or snapshot_here(name) or adapter_here(name):
        return
    adapter = _asked(name, folders.ADAPTER) == 200 and not any(
        _asked(name, file) == 200 for file in (folders.WEIGHTS, folders.INDEX)
    )
    if not adapter and _asked(name, folders.CONFIG) != 200:
        return
    from huggingface_hub import snapshot_download

    # The library's errors have no narrower type in common.
    with contextlib.suppress(Exception):
        snapshot_download(name, allow_patterns=ADAPTER_FILES if adapter else READING_FILES)


def bring(name: str, progress: Callable[[str, float], None] = lambda phrase, fraction: None) -> Path:
    """Bring a hub's whole model to the hub's cache, file by file, and return its folder. Safetensors only.

    progress gets a phrase and the share of the bytes that are here. ValueError says what is missing, and how to bring
    it by another way, where the hub does not answer or has no such model.
    """
    if here := snapshot_here(name):
        return here
    if not hub_answers(name):
        raise ValueError(
            f"model: {name} is not on this machine, and the hub cannot be reached to bring it. On a machine that can "
            f"reach it, `hf download {name}` brings it to ~/.cache/huggingface/hub/models--{name.replace('/', '--')}; "
            "copy that folder to the same place here, or anywhere, and give its path as the model."
        )
    from huggingface_hub import HfApi, hf_hub_download

    try:
        listed = HfApi().model_info(name, files_metadata=True, timeout=30).siblings or []
        wanted = [file for file in listed if any(fnmatch(file.rfilename, one) for one in WHOLE_FILES)]
        total, done = sum(file.size or 0 for file in wanted) or 1, 0
        for file in wanted:
            progress(f"{name}: {file.rfilename}", done / total)
            hf_hub_download(name, file.rfilename)
            done += file.size or 0
    # The library's errors have no narrower type in common.
    except Exception as error:
        raise ValueError(f"model: {name} could not be brought from the hub ({error}).") from error
    progress(f"{name} is here", 1.0)
    if here := snapshot_here(name):
        return here
    raise ValueError(
        f"model: {name} has no whole weights in safetensors at the hub, and pickled ones can run code when loaded; "
        "choose another model, or one that its makers saved again."
    )
