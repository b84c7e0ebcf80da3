"""Finds the copies of a hub's dataset that are on this machine already, in the caches of the libraries that fetch it.

    hub's cache       datasets--OWNER--NAME/snapshots/COMMIT/   the dataset's own files, as links into blobs beside them
    datasets' cache   OWNER___NAME/PART/VERSION/HASH/           each part as load_dataset() prepared it, in Arrow files

Either folder may also be given by a person, in the place of a copy of the dataset.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

SNAPSHOTS, BLOBS, INFO = "snapshots", "blobs", "dataset_info.json"
# What a snapshot may hold without any rows: the card is fetched also where the rows are kept as Arrow files.
NO_ROWS = ("README.md", "LICENSE", ".gitattributes")


def copy_of(dataset: str) -> Path | None:
    """Return the folder with what this machine keeps of a dataset of the hub (owner/name), or None."""
    import datasets
    from datasets.naming import camelcase_to_snakecase
    from huggingface_hub import constants

    owner, _, name = dataset.partition("/")
    kept = Path(constants.HF_HUB_CACHE) / f"datasets--{owner}--{name}"
    if _has_rows(snapshot := resolved(kept)):
        return snapshot
    made = Path(datasets.config.HF_DATASETS_CACHE) / f"{owner}___{camelcase_to_snakecase(name)}"
    return made if any(_parts(made)) else None


def resolved(folder: Path) -> Path:
    """Return the snapshot of a folder of the hub's cache: the one that refs/main names, or the only one. Any other
    folder is returned as it is.
    """
    inner = folder / SNAPSHOTS
    if not inner.is_dir() or not (folder / BLOBS).is_dir():
        return folder
    main = folder / "refs" / "main"
    # A folder may come from anybody: what it names is one of its own snapshots, and no place elsewhere.
    found = {path.name: path for path in inner.iterdir() if path.is_dir() and not path.is_symlink()}
    named = main.read_text(encoding="utf-8").strip() if main.is_file() else ""
    return found.get(named) or (next(iter(found.values())) if len(found) == 1 else folder)


def homes(folder: Path) -> tuple[Path, ...]:
    """Return the folders that the files of a dataset may lie in: its own, and for a snapshot the blobs beside it."""
    beside = folder.parent.parent / BLOBS
    linked = folder.parent.name == SNAPSHOTS and beside.is_dir()
    return (folder, beside) if linked else (folder,)


def prepared(folder: Path, part: str | None) -> dict[str, list[str]]:
    """Return {split: its Arrow files} of a part in a folder of the datasets library's cache. It is empty for any
    other folder.

    ValueError, in the words of that library, where the folder lacks the part, or has several and none is named.
    """
    # The newest of a part stands last, and so is the one that stays.
    places = sorted(_parts(folder), key=lambda path: path.stat().st_mtime)
    known = {place.parent.parent.name: place for place in places}
    if not known:
        return {}
    if part is None and len(known) > 1:
        raise ValueError("Config name is missing.")
    if part is not None and part not in known:
        raise ValueError(f"BuilderConfig {part!r} not found. Available: {sorted(known)}")
    place = known[part] if part is not None else next(iter(known.values()))
    return {split: found for split in _splits(place) if (found := _files(place, split))}


def parts(folder: Path) -> list[str]:
    """Return the names of the parts in a folder of the datasets library's cache. There are none in any other."""
    return sorted({place.parent.parent.name for place in _parts(folder)})


def _parts(folder: Path) -> Iterator[Path]:
    """The folder of each part that the datasets library prepared here whole, in any version."""
    for found in folder.glob(f"*/*/*/{INFO}"):
        if not found.parent.name.endswith(".incomplete"):
            yield found.parent


def _splits(place: Path) -> Sequence[str]:
    said = json.loads((place / INFO).read_text(encoding="utf-8")).get("splits")
    return list(said) if isinstance(said, dict) else []


def _files(place: Path, split: str) -> list[str]:
    whole = sorted(place.glob(f"*-{split}.arrow"))
    return [str(path) for path in whole or sorted(place.glob(f"*-{split}-*-of-*.arrow"))]


def _has_rows(snapshot: Path) -> bool:
    return any(path.is_file() and path.name not in NO_ROWS for path in snapshot.rglob("*"))
