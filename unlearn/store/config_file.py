"""Read the settings of a run from a file that a person wrote, or from a run's own config.json. No torch."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from unlearn.store.config import RunConfig, data_of_today, known_fields
from unlearn.store.knobs import check
from unlearn.store.records import check_schema
from unlearn.store.shapes import JsonObject

MOST_BYTES = 2**20


def _yaml(text: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


READERS: dict[str, Callable[[str], object]] = {
    ".json": json.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".toml": tomllib.loads,
}


def read_settings(path: Path, more: tuple[str, ...] = ()) -> JsonObject:
    """Return the settings that the file states, each one checked. Settings that it does not state are left
    out.

    data may be the name of a bundled dataset alone. more: names that are allowed beside a run's own, returned as they
    are (a sweep's axes). ValueError names file, field, rule and value; OSError where there is no such file.
    """
    place, found = str(path), _parsed(path)
    if not isinstance(found, Mapping):
        raise ValueError(f"{place}: must be an object of names and values, got {type(found).__name__}.")
    check_schema(found, place)
    found = {name: value for name, value in found.items() if name != "schema"}
    extra = {name: found[name] for name in more if name in found}
    known = known_fields(place, {name: value for name, value in found.items() if name not in extra}, more)
    if isinstance(known.get("data"), str):
        known["data"] = {"name": known["data"]}
    checked = {k.name: check(place, k, known[k.name]) for k in RunConfig.settings() if k.name in known}
    if "data" in checked:
        checked["data"] = data_of_today(checked["data"])
    return checked | extra


def _parsed(path: Path) -> object:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path}: the ending must be one of {', '.join(READERS)}, got {path.suffix or 'none'}. Rename it."
        )
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path}: must be at most {MOST_BYTES:,} bytes. Is it a file of settings?")
    try:
        return reader(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        kind = path.suffix.lower().strip(".").upper()
        raise ValueError(f"{path}: is not {kind} ({error}). Correct it there.") from None
