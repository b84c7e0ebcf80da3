"""What a run's data field may say, and the Dataset that it means.

The one door between names and paths written in JSON and rows in memory; which paths, says unlearn.store.allowed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.data import authors, capitals, hub, snippets, tables
from unlearn.data.base import ROLES, Dataset
from unlearn.data.tables import Columns
from unlearn.data.write import check_kept
from unlearn.store.allowed import allowed_path
from unlearn.store.config import data_of_today

if TYPE_CHECKING:
    from pandas import DataFrame

    from unlearn.data.tables import Columns

OTHER_ROLES = tuple(role for role in ROLES if role != "forget")
COLUMN_KEYS = ("question_column", "answer_column", "text_column", "request_column")
HUB_KEYS = ("hub", "hub_config", "hub_split")
KEYS = {
    "name": ("name", "requests"),
    "forget": (*ROLES, *COLUMN_KEYS, "requests"),
    "hub": (
        *(*HUB_KEYS, "limit", *COLUMN_KEYS, "requests"),
        *(f"{role}_{what}" for role in OTHER_ROLES for what in HUB_KEYS),
    ),
}
# The first sentence of each key, for flags and docs/settings.md; sentence() makes those of the single roles from them.
SENTENCES = {
    "name": "A bundled dataset (default: the model's own).",
    "requests": "Only these deletion requests, such as 1,2 or 1..3.",
    "forget": "File of the rows to forget.",
    "hub": "Dataset by its hub id, such as locuslab/TOFU.",
    "hub_config": "Configuration of the hub's dataset.",
    "hub_split": "Split of the hub's dataset (default: train).",
    "limit": "At most so many rows from the hub.",
    "question_column": "Column of the questions.",
    "answer_column": "Column of the answers.",
    "text_column": "Column of the texts, where there are no questions.",
    "request_column": "Column that numbers the deletion requests.",
}


def sentence(key: str) -> str:
    """What a key of the data field means. A key of one role (retain_hub_config) is explained by what it ends with."""
    if key in SENTENCES:
        return SENTENCES[key]
    if key in ROLES:
        return f"File of the role {key} ({ROLES[key]})."
    role, _, what = key.partition("_")
    return f"For the role {role}: {SENTENCES[what][:1].lower()}{SENTENCES[what][1:]}"


def _authors() -> Dataset:
    return authors.dataset()


def _capitals() -> Dataset:
    return capitals.dataset()


def _snippets() -> Dataset:
    return snippets.dataset()


CATALOGUE: dict[str, Callable[[], Dataset]] = {
    "authors": _authors,
    "capitals": _capitals,
    "snippets": _snippets,
}


def load(name: str) -> Dataset:
    """A bundled dataset by name; raises ValueError for an unknown one."""
    if name not in CATALOGUE:
        raise ValueError(
            f"data: name must be one of {', '.join(CATALOGUE)}, got {name!r}. Choose one of these."
        )
    return CATALOGUE[name]()


def from_config(data: Mapping[str, object], roots: Sequence[Path] | None = None) -> Dataset:
    """The dataset that a run's data field means; one of three forms:

        {"name": "authors", "requests": [1, 2]}
        {"forget": "a.csv", "retain": "b.csv", "question_column": "q", "answer_column": "a"}
        {"hub": "locuslab/TOFU", "hub_config": "forget10", "hub_split": "train", "retain_hub_config": "retain90"}

    In the second any role may name a file; in the third a role is read when it has its own hub, config or
    split, and takes what it lacks from forget's. Columns not given are guessed. Raises ValueError for
    unknown keys and everything that the loaders refuse; roots as in allowed_path.
    """
    data = data_of_today(data)
    forms = [form for form in KEYS if form in data]
    if len(forms) != 1:
        raise ValueError(f"data: must have one of name, forget or hub, got {', '.join(forms) or 'none'}.")
    if unknown := sorted(set(data) - set(KEYS[forms[0]])):
        known = ", ".join(KEYS[forms[0]])
        raise ValueError(
            f"data: keys beside {forms[0]} must be among {known}, got {unknown[0]!r}. Remove it."
        )
    if forms == ["name"]:
        dataset = load(_text(data, "name"))
    else:
        dataset = (_from_files if forms == ["forget"] else _from_hub)(data, roots)
    return dataset.only_requests(_requests(data["requests"])) if data.get("requests") else dataset


def _from_files(data: Mapping[str, object], roots: Sequence[Path] | None) -> Dataset:
    paths = {role: allowed_path(_text(data, role), roots) for role in ROLES if data.get(role)}
    if "forget" not in paths:
        raise ValueError("data: forget must name a file, got nothing. Give its path.")
    for path in paths.values():
        check_kept(path)
    frames = {role: tables.read_table(path, f"{role} file {path.name}") for role, path in paths.items()}
    forget = frames.pop("forget")
    return tables.dataset_from_tables(
        paths["forget"].stem, forget, columns_forget=_columns(data), others=frames
    )


def _from_hub(data: Mapping[str, object], roots: Sequence[Path] | None) -> Dataset:
    columns = _columns(data)
    kept = replace(columns, request="") if columns else None
    asked = [role for role in OTHER_ROLES if any(data.get(f"{role}_{what}") for what in HUB_KEYS)]
    forget = _hub_table(data, "", columns, roots)
    others = {role: _hub_table(data, f"{role}_", kept, roots) for role in asked}
    name = " ".join(filter(None, (Path(_text(data, "hub")).name, _text(data, "hub_config"))))
    return tables.dataset_from_tables(name, forget, columns_forget=columns, others=others)


def _hub_table(
    data: Mapping[str, object], prefix: str, columns: "Columns | None", roots: Sequence[Path] | None
) -> "DataFrame":
    """One role's table; what its own keys (those with the prefix) lack comes from forget's."""
    where, config, split = (_text(data, prefix + key) or _text(data, key) for key in HUB_KEYS)
    folder = Path(where).expanduser()
    spec = allowed_path(folder, roots) if folder.is_absolute() or folder.is_dir() else where
    limit = data.get("limit", tables.MAX_ROWS)
    if not isinstance(limit, int):
        raise ValueError(f"data: limit must be a whole number, got {limit!r}.")
    return hub.from_hub(spec, columns, split or "train", limit, config or None)


def _columns(data: Mapping[str, object]) -> "Columns | None":
    """The columns that the config names; None where it names none."""
    named = {key.removesuffix("_column"): _text(data, key) for key in COLUMN_KEYS}
    return Columns(**named) if any(named.values()) else None


def _text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key) or ""
    if not isinstance(value, str):
        raise ValueError(f"data: {key} must be text, got {value!r}.")
    return value


def _requests(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(type(item) is int for item in value):
        raise ValueError(f"data: requests must be a list of whole numbers, got {value!r}.")
    return tuple(value)
