"""Tables from the Hugging Face hub, or from a folder laid out like one of its datasets.

Rows are streamed, so that 200 rows of a large dataset cost 200 rows. Only data is read: datasets
that need a script are refused, and so are files that lie outside the dataset's own folder, which a
dataset card may point to.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

from unlearn.compute.lazy import pd
from unlearn.data.table_files import MAX_ROWS, MIN_ROWS, from_records
from unlearn.data.tables import Columns, guess_columns

HUB_TIMEOUT = 5.0  # seconds until a hub that says nothing counts as unreachable
READERS = ("json", "csv", "parquet", "arrow", "text")  # of the datasets library: those that only parse
HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


def from_hub(
    spec: str | Path,
    columns: Columns | None = None,
    split: str = "train",
    limit: int = MAX_ROWS,
    config: str | None = None,
) -> pd.DataFrame:
    """The first limit rows of a split, as a table of text cells with the wanted columns only.

    spec is a hub id ("locuslab/TOFU") or a Path to a local folder; config is the part of the dataset
    ("forget10"). Columns are guessed where not given. Raises ValueError naming spec and remedy when
    the hub does not answer, or the dataset, its config, split or columns do not exist.
    """
    if not MIN_ROWS <= limit <= MAX_ROWS:
        raise ValueError(f"{spec}: limit must lie in [{MIN_ROWS}, {MAX_ROWS:,}], got {limit}.")
    if isinstance(spec, Path):
        if not spec.is_dir():
            raise ValueError(f"{spec}: is not a folder. Check the path.")
        spec = spec.resolve()
    elif not re.fullmatch(HUB_ID, spec):
        raise ValueError(f"{spec}: a hub id must read owner/name, like locuslab/TOFU. Copy it from the page.")
    else:
        _reach(spec)
    try:
        records = _records(spec, config, split, limit, columns)
    except _Refused as error:
        raise ValueError(f"{spec}: {error}") from None
    except Exception as error:  # the library raises many kinds; each becomes the one kind that callers know
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(
            f"{spec}: cannot be read ({reason}). Download a file of it and upload that."
        ) from error
    return from_records(records, str(spec))


class _Refused(ValueError):
    """A reason of our own, in words that need no wrapping."""


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
    except Exception as error:  # whatever the connection failed with, the remedy is the same
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{spec}: the hub cannot be reached ({reason}). Download a file of the dataset where there is "
            "internet and upload it as CSV, JSONL or Parquet."
        ) from error


def _records(
    spec: str | Path, config: str | None, split: str, limit: int, columns: Columns | None
) -> list[dict[str, Any]]:
    """Streams the rows; the builder is looked at before any file is opened."""
    import datasets

    builder = datasets.load_dataset_builder(str(spec), config)
    if builder.name not in READERS:
        raise _Refused(
            f"files must be one of {', '.join(READERS)}, got {builder.name}. Choose a dataset of text."
        )
    for files in (builder.config.data_files or {}).values():
        for file in map(str, files):
            if not _inside(file, spec):
                raise _Refused(f"its files must lie in the dataset's own folder, got {file}. Copy it there.")
    stream = builder.as_streaming_dataset(split)
    names = stream.column_names or list(next(iter(stream), {}))
    wanted = (columns or guess_columns(pd.DataFrame(columns=names))).named()
    if missing := [name for name in wanted if name not in names]:
        raise _Refused(f"has no column {missing[0]!r}; it has {', '.join(names)}. Choose one of these.")
    return [
        {name: row.get(name) for name in wanted} for row in islice(stream.select_columns(list(wanted)), limit)
    ]


def _inside(file: str, spec: str | Path) -> bool:
    """Whether a data file belongs to the dataset itself, wherever its card says it lies."""
    if isinstance(spec, Path):
        return "://" not in file and Path(file).resolve().is_relative_to(spec)
    return file.startswith(f"hf://datasets/{spec}@") and ".." not in file.split("/")
