"""Says what a visitor may ask for: models and rows that are here, and own tables; never a path or a hub id.

How much of it is said by the caps (unlearn.work.visitors.admission). Whoever owns the machine, on the command line or
in a browser of this machine, is no visitor. No torch.
"""

import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from unlearn.data.base import ROLES
from unlearn.data.catalogue import CATALOGUE as DATASETS
from unlearn.data.write import UPLOADS
from unlearn.models.entries import CATALOGUE, available
from unlearn.store.caps import is_visitor, mode
from unlearn.store.config import RunConfig
from unlearn.store.disk import cache_dir
from unlearn.store.home import HOME
from unlearn.store.runs import Record

OWN_TABLE = "choose a bundled forget set, or upload or paste a table of your own"


def word() -> str:
    """Return what a message calls this server: demo, or class."""
    return mode() or "demo"


def models() -> list[str]:
    """Return the models that a visitor may choose: the bundled ones, and in a class those brought to this machine."""
    bundled = [entry.name for entry in CATALOGUE.values() if not entry.hub and entry.bring is None]
    brought = [e.name for e in CATALOGUE.values() if mode() == "class" and e.loaded and available(e.name)]
    return list(dict.fromkeys((*bundled, *brought)))


def datasets() -> list[str]:
    """Return the forget sets that a visitor may choose by name: the bundled ones, and those of models()."""
    return list(dict.fromkeys((*DATASETS, *(CATALOGUE[name].data for name in models()))))


def allow(config: RunConfig, root: Path) -> None:
    """Raise ValueError where a visitor may not ask for this run. root: the store that holds the uploads."""
    allow_model(config.model)
    allow_data(config.data, root)
    if config.retrained:
        raise ValueError(f"{word()}: visitors cannot name a retrained model; leave retrained empty.")
    if config.report_to != "none":
        raise ValueError(f"{word()}: nothing is reported from here to a tracker; set report_to to none.")


def allow_model(name: str) -> None:
    """Raise ValueError for a model that a visitor may not choose. What was asked for is never looked up."""
    if name not in models():
        raise ValueError(
            f"{word()}: the model must be among {', '.join(models())}; folders and hub ids are not read here. Choose "
            "one of these."
        )


def allow_data(data: Mapping[str, object], root: Path) -> None:
    """Raise ValueError for rows that a visitor may not choose: from the hub, or from a file that is no upload."""
    if hub := [key for key in data if data[key] and (key in ("hub", "hub_folder") or key.endswith("_hub"))]:
        raise ValueError(f"{word()}: {hub[0]} is not read here; {OWN_TABLE}.")
    if "name" in data and data["name"] not in datasets():
        raise ValueError(f"{word()}: the forget set must be among {', '.join(datasets())}; {OWN_TABLE}.")
    for role in ROLES:
        if data.get(role) and not _is_upload(str(data[role]), root):
            raise ValueError(f"{word()}: {role} names a file that is no upload; {OWN_TABLE}.")


def _is_upload(path: str, root: Path) -> bool:
    try:
        return Path(path).resolve().is_relative_to((root / UPLOADS).resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def allow_kind(kind: type[Record], owner: str) -> None:
    """Raise ValueError for a visitor who would begin a study that only whoever owns the machine begins."""
    if is_visitor(owner) and not getattr(kind, "FOR_VISITORS", True):
        raise ValueError(
            f"{word()}: visitors begin no experiments of this kind, which take minutes to hours; `unlearn claims` "
            "carries them out on a machine of your own."
        )


def allow_record(record: Record, root: Path) -> None:
    """Raise ValueError for a visitor's run or study of which allow() refuses a run. Others' are allowed."""
    owner = str(record.meta.get("owner", ""))
    if not is_visitor(owner):
        return
    allow_kind(type(record), owner)
    config = getattr(record, "config", None)
    # A sweep and a search have several runs, a sequence has one, and a stress test has none.
    for one in (config, getattr(config, "run", None), *(getattr(config, "runs", None) or ())):
        if isinstance(one, RunConfig):
            allow(one, root)


def refuse_elsewhere(owner: str) -> None:
    """Raise ValueError for a visitor who asks for another machine than this one."""
    if is_visitor(owner):
        raise ValueError(f"{word()}: visitors' runs are carried out by this machine alone; choose thread.")


def refuse_import(owner: str) -> None:
    """Raise ValueError for a visitor who adds a run from a file: its weights would be a model of somebody else."""
    if is_visitor(owner):
        raise ValueError(
            f"{word()}: visitors cannot add runs from a file, because their weights are models of others; start a run "
            "on the page Unlearn."
        )


def without_paths(text: str, root: Path) -> str:
    """Return the text without the folders of this machine: what a visitor reads names files alone."""
    for folder in _folders(root):
        for written in dict.fromkeys((folder, json.dumps(folder)[1:-1])):
            text = text.replace(written + os.sep, "").replace(written, "this server")
    return text


def bytes_without_paths(content: bytes, root: Path) -> bytes:
    """Return the bytes of a text, or of a zip file with texts, without the folders of this machine.

    Other bytes, such as weights, are returned as they are.
    """
    if zipfile.is_zipfile(source := io.BytesIO(content)):
        made = io.BytesIO()
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
            for one in old.infolist():
                inside = old.read(one)
                is_text = not one.filename.endswith(".safetensors")
                new.writestr(one, bytes_without_paths(inside, root) if is_text else inside)
        return made.getvalue()
    try:
        return without_paths(content.decode(), root).encode()
    except UnicodeDecodeError:
        return content


def _folders(root: Path) -> list[str]:
    """The folders whose names are this machine's own, the innermost first."""
    near = (root, HOME, Path.cwd(), cache_dir(), Path.home(), Path(sys.prefix), Path(tempfile.gettempdir()))
    every = {str(path) for one in near for path in (one.absolute(), one.resolve())}
    return sorted((path for path in every if path.strip(os.sep)), key=len, reverse=True)
