"""This module reads tables from the Hugging Face hub, or from a folder with the same layout.

Rows are streamed, so that 200 rows of a large dataset cost 200 rows. Only data is read: datasets
that need a script are refused, and so are files that lie outside the dataset's own folder, which a
dataset card may point to.
"""

import math
import re
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.data.files import cached
from unlearn.data.files.bounds import MAX_ROWS, check_columns
from unlearn.data.files.names import KNOWN, spoken
from unlearn.data.files.table import Table, table_of
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    import datasets

# Seconds after which a hub that does not answer counts as unreachable.
HUB_TIMEOUT = 5.0
# So many seconds nobody asks again for a dataset that the hub did not give.
REMEMBERED = 60.0
_silent: dict[str, float] = {}
# The readers of the datasets library that only parse and run no script.
READERS = ("json", "csv", "parquet", "arrow", "text")
HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


def from_hub(
    spec: str | Path,
    named: Sequence[str] = (),
    split: str = "train",
    limit: int = MAX_ROWS,
    config: str | None = None,
) -> Table:
    """Return the first `limit` rows of a split, with the columns that a person named and those with a usual
    name.

    spec is a hub id ("locuslab/TOFU") or a Path to a local folder, also one of the hub's or of the datasets library's
    cache; config is the part of the dataset ("forget10"). Where the hub does not answer, what a cache keeps of the
    dataset is read, and a note says so. Raises ValueError naming spec and remedy when neither is there, or the dataset,
    its config, split or columns do not exist.
    """
    place: str | Path = spec
    notes: list[str] = []
    if not 1 <= limit <= MAX_ROWS:
        raise ValueError(f"{spec}: limit must lie in [1, {MAX_ROWS:,}], got {limit}.")
    if isinstance(spec, Path):
        if not spec.is_dir():
            raise ValueError(f"{spec}: is not a folder. Check the path.")
        spec = place = cached.resolved(spec.resolve())
    elif not re.fullmatch(HUB_ID, spec):
        raise ValueError(f"{spec}: a hub id must read owner/name, like locuslab/TOFU. Copy it from the page.")
    else:
        try:
            _reach(spec)
        except Silent:
            if (copy := cached.copy_of(spec)) is None:
                raise
            place, notes = copy, [without_hub(copy)]
    try:
        records, columns = _records(place, config, split, limit, named)
        return table_of(records, str(spec), notes, columns=columns)
    except _Refused as error:
        raise ValueError(f"{spec}: {error}") from None
    # The library raises many kinds of errors. Each becomes a ValueError, the kind that callers know.
    except Exception as error:
        if str(error).startswith(f"{spec}: "):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        remedy = (
            "The folder must hold CSV, JSON or Parquet files laid out as on the hub; check the path."
            if isinstance(spec, Path)
            else "Download a file of it and upload that."
        )
        raise ValueError(f"{spec}: cannot be read ({reason}). {remedy}") from error


class Silent(ValueError):
    """The hub cannot be reached."""


class _Refused(ValueError):
    """A reason of our own, in words that need no wrapping."""


def without_hub(copy: Path) -> str:
    """Return the note on a copy that was read in the hub's place."""
    return f"The hub does not answer, so the copy on this machine was read: {copy}."


def answers(spec: str) -> bool:
    """Return whether the hub knows this dataset and can be reached now. A silence is remembered for a minute."""
    if time.monotonic() - _silent.get(spec, -math.inf) < REMEMBERED:
        return False
    try:
        _reach(spec)
    except ValueError:
        _silent[spec] = time.monotonic()
        return False
    return True


def _reach(spec: str) -> None:
    """Raises ValueError unless the hub answers within HUB_TIMEOUT and knows the dataset.

    Asked first, because the datasets library retries an unreachable hub for half a minute.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        HfApi().dataset_info(spec, timeout=HUB_TIMEOUT)
    except RepositoryNotFoundError:
        raise ValueError(
            f"{spec}: the hub has no such dataset, or it is private. Check the spelling, "
            "or log in with `hf auth login`."
        ) from None
    # The remedy is the same for every failure of the connection.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Silent(
            f"{spec}: the hub cannot be reached ({reason}). Download a file of the dataset where there is "
            "internet and upload it as CSV, JSONL or Parquet."
        ) from error


def _records(
    spec: str | Path, config: str | None, split: str, limit: int, named: Sequence[str]
) -> tuple[Iterator[JsonObject], list[str]]:
    """(rows as they stream, their columns); the builder is looked at before any file is opened."""
    builder = _builder(spec, config)
    if builder.name not in READERS:
        raise _Refused(
            f"files must be one of {', '.join(READERS)}, got {builder.name}. Choose a dataset of text."
        )
    for files in (builder.config.data_files or {}).values():
        for file in map(str, files):
            if not _inside(file, spec):
                raise _Refused(f"its files must lie in the dataset's own folder, got {file}. Copy it there.")
    stream = builder.as_streaming_dataset(split)
    columns = stream.column_names or list(next(iter(stream), {}))
    if missing := [name for name in named if name not in columns]:
        raise _Refused(f"has no column {missing[0]!r}; it has {', '.join(columns)}. Choose one of these.")
    usual = [name for name in columns if name in named or spoken(name) in KNOWN]
    wanted = usual if len(columns) > 1 and usual else columns
    check_columns(wanted, str(spec))
    return islice(stream.select_columns(wanted), limit), wanted


def _builder(spec: str | Path, config: str | None) -> "datasets.DatasetBuilder":
    """What reads one part of the dataset. No file of it is opened yet."""
    import datasets

    try:
        if isinstance(spec, Path) and (files := cached.prepared(spec, config)):
            return datasets.load_dataset_builder("arrow", data_files=files)
        return datasets.load_dataset_builder(str(spec), config)
    except ValueError:
        # Of several parts the library takes no first one.
        parts = _parts(spec) if config is None else []
        if len(parts) < 2:
            raise
        named_ones = ", ".join(parts[:20])
        raise _Refused(
            f"has {len(parts)} parts ({named_ones}). Choose one, as with --hub-config {parts[0]}."
        ) from None


def _parts(spec: str | Path) -> list[str]:
    import datasets

    own = cached.parts(spec) if isinstance(spec, Path) else []
    return own or datasets.get_dataset_config_names(str(spec))


def _inside(file: str, spec: str | Path) -> bool:
    """Whether a data file belongs to the dataset itself, wherever its card says it lies."""
    if isinstance(spec, Path):
        real = Path(file).resolve()
        return "://" not in file and any(real.is_relative_to(home) for home in cached.homes(spec))
    return file.startswith(f"hf://datasets/{spec}@") and ".." not in file.split("/")
