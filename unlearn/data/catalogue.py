"""This module turns the data field of a run into the Dataset that it means.

The one door between names and paths written in JSON and rows in memory; which paths, says unlearn.store.allowed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from unlearn.data import authors, benchmarks, capitals, hub, snippets, tables
from unlearn.data.base import ROLES, Dataset
from unlearn.data.eul import dialogues, reviews
from unlearn.data.files.bounds import MAX_ROWS
from unlearn.data.files.read import read_table
from unlearn.data.files.table import Table
from unlearn.data.lengths import LONG
from unlearn.data.turns import TURNS
from unlearn.data.write import check_kept
from unlearn.store.allowed import allowed_path
from unlearn.store.config import data_of_today

OTHER_ROLES = tuple(role for role in ROLES if role != "forget")
COLUMN_KEYS = (
    *("question_column", "answer_column", "text_column", "system_column", "messages_column"),
    "request_column",
)
RETAIN_COLUMN_KEYS = tuple(f"retain_{key}" for key in COLUMN_KEYS[:-1])
ROW_KEYS = ("turns", "long")
HUB_KEYS = ("hub", "hub_config", "hub_split")
KEYS = {
    "name": ("name", "hub_folder", "long", "requests"),
    "forget": (
        *(*ROLES, *COLUMN_KEYS, *RETAIN_COLUMN_KEYS, *ROW_KEYS),
        *("encoding", "retain_encoding", "hub_split", "retain_hub_split", "requests"),
    ),
    "hub": (
        *(*HUB_KEYS, "limit", *COLUMN_KEYS, *RETAIN_COLUMN_KEYS, *ROW_KEYS, "requests"),
        *(f"{role}_{what}" for role in OTHER_ROLES for what in HUB_KEYS),
    ),
}
# The help sentence of each key, for flags, pages and docs/settings.md. sentence() makes those of the single
# roles from them.
FLAGS = {"name": "--data", "forget": "--forget", "hub": "--hub"}
SENTENCES = {
    "name": "A bundled dataset (default: the model's own), or a benchmark such as tofu-forget10.",
    "hub_folder": "Folder laid out like the benchmark's dataset on the hub, which is read in its place.",
    "requests": "Only these deletion requests, such as 1,2 or 1..3.",
    "forget": "File of the rows to forget: CSV, TSV, JSON, JSONL, TXT or Parquet.",
    "hub": "Dataset by its hub id, such as locuslab/TOFU, or a folder laid out like one.",
    "hub_config": "Configuration of the hub's dataset.",
    "hub_split": "Split of the hub's dataset (default: train), or of a JSON file that holds several.",
    "limit": "At most so many rows from the hub.",
    "question_column": "Column of the questions.",
    "answer_column": "Column of the answers.",
    "text_column": "Column of the texts, where there are no questions.",
    "system_column": "Column of the system prompts, which stand above a conversation.",
    "messages_column": "Column of conversations: lists of messages with a role and a content.",
    "request_column": "Column that numbers the deletion requests.",
    "turns": "Of a conversation: last (its last answer is the row, default) or all (a row for each answer).",
    "encoding": "How the file's bytes are text, such as cp1252 or shift_jis (default: found in the file).",
    "long": (
        "Rows longer than the model reads: windows (texts are cut into pieces, the default; questions are refused), "
        "skip (left out) or refuse."
    ),
}


def sentence(key: str) -> str:
    """Return the help sentence of a key of the data field. A key of one role (retain_hub_config) has the
    sentence of its ending.
    """
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


def _dialogues() -> Dataset:
    return dialogues.dataset()


def _reviews() -> Dataset:
    return reviews.dataset()


CATALOGUE: dict[str, Callable[[], Dataset]] = {
    "authors": _authors,
    "capitals": _capitals,
    "snippets": _snippets,
    "dialogues": _dialogues,
    "reviews": _reviews,
}


def load(name: str) -> Dataset:
    """Return a bundled dataset by its name."""
    if name not in CATALOGUE:
        known = ", ".join((*CATALOGUE, *benchmarks.names()))
        raise ValueError(f"data: name must be one of {known}, got {name!r}. Choose one of these.")
    return CATALOGUE[name]()


def from_config(data: Mapping[str, object], roots: Sequence[Path] | None = None) -> Dataset:
    """Return the dataset that a run's data field means. The field has one of three forms:

        {"name": "authors", "requests": [1, 2]}
        {"forget": "a.csv", "retain": "b.csv", "question_column": "q", "answer_column": "a"}
        {"hub": "locuslab/TOFU", "hub_config": "forget10", "hub_split": "train", "retain_hub_config": "retain90"}

    In the second any role may name a file; in the third a role is read when it has its own hub, config or
    split, and takes what it lacks from forget's. Columns not given are guessed. SENTENCES says what each key means.
    Rows longer than a model reads are the matter of unlearn.data.lengths.fitted, which knows the model. Raises
    ValueError for unknown keys and everything that the loaders refuse; roots as in allowed_path.
    """
    data = data_of_today(data)
    forms = [form for form in KEYS if form in data]
    if len(forms) != 1:
        raise ValueError(
            f"data: must have one of name (--data), forget (--forget) or hub (--hub), got {', '.join(forms) or 'none'}."
        )
    if unknown := sorted(set(data) - set(KEYS[forms[0]])):
        known, elsewhere = ", ".join(KEYS[forms[0]]), [form for form in KEYS if unknown[0] in KEYS[form]]
        if elsewhere:
            flag, with_ = unknown[0].replace("_", "-"), " or ".join(FLAGS[form] for form in elsewhere)
            raise ValueError(
                f"data: {unknown[0]} (--{flag}) goes with {with_}, and not with {forms[0]} ({FLAGS[forms[0]]}). "
                "Remove it."
            )
        raise ValueError(
            f"data: keys beside {forms[0]} must be among {known}, got {unknown[0]!r}. Remove it."
        )
    for key, allowed in (("turns", TURNS), ("long", LONG)):
        if data.get(key) and data[key] not in allowed:
            raise ValueError(f"data: {key} must be one of {', '.join(allowed)}, got {data[key]!r}.")
    if forms == ["name"]:
        dataset = _by_name(data, roots)
    else:
        dataset = (_from_files if forms == ["forget"] else _from_hub)(data, roots)
    return dataset.only_requests(_requests(data["requests"])) if data.get("requests") else dataset


def _by_name(data: Mapping[str, object], roots: Sequence[Path] | None) -> Dataset:
    name, folder = _text(data, "name"), _text(data, "hub_folder")
    if not benchmarks.is_benchmark(name):
        if folder:
            raise ValueError(
                f"data: hub_folder belongs to a benchmark, and {name} is none; the benchmarks are "
                f"{', '.join(benchmarks.names())}."
            )
        return load(name)
    return benchmarks.load(name, allowed_path(folder, roots) if folder else None)


def _from_files(data: Mapping[str, object], roots: Sequence[Path] | None) -> Dataset:
    paths = {role: allowed_path(_text(data, role), roots) for role in ROLES if data.get(role)}
    if "forget" not in paths:
        raise ValueError("data: forget must name a file, got nothing. Give its path.")
    for path in paths.values():
        check_kept(path)
    said = _columns(data)
    found = {role: _file_table(data, role, path, said) for role, path in paths.items()}
    return tables.dataset_from_tables(paths["forget"].stem, found, said, _text(data, "turns") or "last")


def _file_table(
    data: Mapping[str, object], role: str, path: Path, said: Mapping[str, Mapping[str, str]]
) -> Table:
    """One role's table. An encoding that was said for the forget file is another's where that is not UTF-8."""
    encoding = _text(data, "encoding") if role == "forget" else _text(data, f"{role}_encoding")
    if role != "forget" and not encoding and path.is_file():
        try:
            path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            encoding = _text(data, "encoding")
    split = _text(data, "hub_split") if role == "forget" else _text(data, f"{role}_hub_split")
    named = {name for columns in said.values() for name in columns.values()}
    return read_table(path, f"{role} file {path.name}", encoding=encoding, split=split, named=named)


def _from_hub(data: Mapping[str, object], roots: Sequence[Path] | None) -> Dataset:
    said = _columns(data)
    asked = [role for role in OTHER_ROLES if any(data.get(f"{role}_{what}") for what in HUB_KEYS)]
    found = {"forget": _hub_table(data, "", said, roots)}
    found |= {role: _hub_table(data, f"{role}_", said, roots) for role in asked}
    name = " ".join(filter(None, (Path(_text(data, "hub")).name, _text(data, "hub_config"))))
    return tables.dataset_from_tables(name, found, said, _text(data, "turns") or "last")


def _hub_table(
    data: Mapping[str, object],
    prefix: str,
    said: Mapping[str, Mapping[str, str]],
    roots: Sequence[Path] | None,
) -> Table:
    """One role's table; what its own keys (those with the prefix) lack comes from forget's."""
    where, config, split = (_text(data, prefix + key) or _text(data, key) for key in HUB_KEYS)
    folder = Path(where).expanduser()
    spec = allowed_path(folder, roots) if folder.is_absolute() or folder.is_dir() else where
    limit = data.get("limit", MAX_ROWS)
    if not isinstance(limit, int):
        raise ValueError(f"data: limit must be a whole number, got {limit!r}.")
    named = [name for columns in said.values() for name in columns.values()]
    return hub.from_hub(spec, named, split or "train", limit, config or None)


def _columns(data: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """{role: {what: column}} of the columns that the config names."""
    said = {}
    for role, prefix in (("forget", ""), ("retain", "retain_")):
        named = {
            key.removesuffix("_column"): name for key in COLUMN_KEYS if (name := _text(data, prefix + key))
        }
        if named:
            said[role] = named
    return said


def _text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key) or ""
    if not isinstance(value, str):
        raise ValueError(f"data: {key} must be text, got {value!r}.")
    return value


def _requests(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(type(item) is int for item in value):
        raise ValueError(f"data: requests must be a list of whole numbers, got {value!r}.")
    return tuple(value)
