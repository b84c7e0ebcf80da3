"""Finds the parts that a model's name stands for: a folder or a hub id, and an adapter that belongs to it.

Neither torch nor transformers is imported here, so that a page can list the catalogue at once. Weights come from
safetensors only, and a repository's own code is never run.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from unlearn.models import folders, hub
from unlearn.models.entries import CATALOGUE, available, names
from unlearn.models.hub import HUB_ID


@dataclass(frozen=True)
class Parts:
    """The parts that a model's name stands for.

    base: what transformers loads, a folder or a hub id. adapter: the folder of a PEFT adapter that belongs to it.
    way: what is done with the adapter, one of unlearn.store.config.ADAPTERS but "auto"; "" where there is none.
    """

    base: str | Path
    adapter: Path | None = None
    way: str = ""

    @property
    def used(self) -> Path | None:
        """Return the folder of the adapter that is put on the base, or None."""
        return self.adapter if self.way in ("merge", "keep") else None

    @property
    def adapter_folder(self) -> Path:
        """Return the folder of the adapter, where there is one."""
        assert self.adapter is not None, "the way says that there is one"
        return self.adapter

    @property
    def tokenizer(self) -> str | Path:
        """Return the folder or hub id that the tokenizer is read from: the adapter's own where it has one."""
        own = self.used
        return own if own is not None and (own / "tokenizer.json").is_file() else self.base

    def sentence(self) -> str:
        """Return what is done with the adapter, for a person, or "" where there is none."""
        if self.adapter is None:
            return ""
        base = folders.adapter_base(self.adapter)
        if self.way == "ignore":
            return (
                f"An adapter lies beside the whole model in {self.adapter.name} (it names {base} as its base): the "
                "model is taken without it. --adapter merge or keep takes it too."
            )
        done = {
            "merge": "is added into the weights of its base first, and these are what is unlearned from",
            "keep": "stays an adapter on its base and is itself trained further",
        }[self.way]
        return f"The adapter {self.adapter.name} {done} ({self.base})."


def source_of(name: str) -> str | Path:
    """Return what transformers loads for a catalogue name, a local folder or a hub id. Of an adapter it is the model
    that the adapter was made on.

    ValueError names the rule and remedy: unknown model, not brought yet, no config, pickle-only weights.
    """
    return parts_of(name).base


def parts_of(name: str, adapter: str = "auto") -> Parts:
    """Return the parts of the model of this name. adapter: what to do with an adapter, as in a run's config.

    A folder that holds nothing but an adapter is merged unless something else is asked for. One that lies beside a
    whole model is left aside: transformers would load it without a word, whichever model it was made for.
    ValueError as in source_of(), and for an adapter that is asked for and cannot be had.
    """
    folder = _folder_of(name)
    if folder is None:
        if adapter in ("merge", "keep"):
            raise ValueError(
                f"model: {name} has no adapter on this machine, so --adapter {adapter} has nothing to take; leave it "
                "out, or give the adapter's own folder or hub id."
            )
        return Parts(name)
    if folders.is_adapter(folder):
        return _of_adapter(folder, "merge" if adapter == "auto" else adapter)
    folders.check_whole(folder)
    if not folders.has_adapter(folder):
        if adapter in ("merge", "keep"):
            raise ValueError(
                f"model: {folder} holds no adapter, so --adapter {adapter} has nothing to take; leave it out."
            )
        return Parts(folder)
    if adapter in ("auto", "ignore"):
        return Parts(folder, folder, "ignore")
    said = folders.adapter_facts(folder)["base_model_name_or_path"]
    if (as_folder(said) or Path(said)).resolve() != folder.resolve():
        raise ValueError(
            f"model: the adapter beside the model in {folder} was made on {said} and not on this model; put the "
            f"adapter's files ({folders.ADAPTER}, {folders.ADAPTER_WEIGHTS}) into a folder of their own and give that."
        )
    return Parts(folder, folder, _checked_way(folder, adapter))


def _folder_of(name: str) -> Path | None:
    """The folder that holds the model of this name on this machine, or None for one that only the hub has."""
    if name in CATALOGUE:
        entry = CATALOGUE[name]
        if not available(name):
            raise ValueError(
                f"model: {name} is not on this machine yet; `python -m unlearn get {name}` brings it{entry.weight()}."
            )
        return entry.path()
    if folder := as_folder(name):
        return folder
    if looks_like_path(name):
        if (root := Path(name).expanduser()).is_dir():
            # It says which snapshot is to be named.
            folders.snapshot(root)
        raise ValueError(
            f"model: there is no folder {name}; give a folder with config.json and *.safetensors."
        )
    if not HUB_ID.fullmatch(name):
        raise ValueError(
            f"model: {name[:100]!r} is neither a known model ({names()}), a folder nor a hub id (owner/name)."
        )
    return hub.adapter_here(name)


def _of_adapter(folder: Path, way: str) -> Parts:
    """The parts of a folder that holds an adapter alone."""
    if way == "ignore":
        raise ValueError(
            f"model: {folder} holds an adapter alone, so it cannot be left aside; give the name of the whole model."
        )
    said = str(folders.adapter_facts(folder)["base_model_name_or_path"])
    base = base_of(said)
    if isinstance(base, Path):
        if not base.is_dir():
            raise ValueError(
                f"model: the adapter in {folder} was made on {said}, which is not on this machine; bring that model "
                f"there, or write where it is as base_model_name_or_path into {folders.ADAPTER}."
            )
        if folders.is_adapter(base):
            raise ValueError(
                f"model: the adapter in {folder} was made on {said}, which is an adapter itself; merge that one with "
                "its own base first (merge_and_unload, save_pretrained), and name the folder."
            )
        folders.check_whole(base)
    return Parts(base, folder, _checked_way(folder, way))


def base_of(said: str) -> str | Path:
    """Return the folder or hub id of the model that an adapter's config names."""
    if folder := as_folder(said):
        return folder
    known = next((entry for entry in CATALOGUE.values() if entry.hub == said), None)
    if known is not None and available(known.name):
        return known.path()
    return Path(said).expanduser() if looks_like_path(said) or not HUB_ID.fullmatch(said) else said


def _checked_way(folder: Path, way: str) -> str:
    kind = folders.adapter_facts(folder)["peft_type"]
    if way == "keep" and kind != folders.TRAINED:
        raise ValueError(
            f"model: the adapter in {folder} is of the kind {kind}, and only {folders.TRAINED} can be trained further; "
            "take --adapter merge."
        )
    return way


def as_folder(name: str) -> Path | None:
    """Return the folder that the name means, if it exists and no catalogue model has that name. Of a folder of the
    hub's cache it is the snapshot in it.
    """
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        folder = Path(name).expanduser()
        if name not in CATALOGUE and folder.is_dir():
            return folders.snapshot(folder)
    return None


def looks_like_path(name: str) -> bool:
    """Return whether the name can only mean a folder, because no catalogue name or hub id looks like it."""
    return name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1
