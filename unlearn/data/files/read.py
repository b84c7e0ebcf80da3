"""The function read_table() finds the reader for a file's ending and returns a Table.

Files come from strangers through a browser, so they are data only: nothing is unpickled or evaluated, what they become
is bounded while they are read, and an error says how to mend the file.
"""

import re
from collections.abc import Collection
from pathlib import Path

from unlearn.data.files import delimited, jsons, parquet
from unlearn.data.files.bounds import MAX_BYTES
from unlearn.data.files.encodings import decode
from unlearn.data.files.table import Table, table_of

FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt", ".parquet")
LINE_END = re.compile(r"\r\n|\r|\n")


def read_table(
    source: bytes | Path,
    name: str,
    *,
    encoding: str = "",
    split: str = "",
    named: Collection[str] = (),
) -> Table:
    """Return the table in a file. name is the file's name in errors, and its ending tells the format.

    encoding: how its bytes are text, found where not said. split: which of several in one JSON file. named: columns
    that a person named, so that they count as names in a first line. TXT has one text a line, in a column "text".
    ValueError, with a remedy, for anything that is not such a table within the bounds.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(
            f"{name}: the ending must be one of {', '.join(FORMATS)}, got {suffix or 'none'}. Save it as CSV or JSONL."
        )
    data = _bytes(source, name)
    if suffix == ".parquet":
        return parquet.read(data, name)
    text, notes = decode(data, name, encoding)
    if not text.strip("\ufeff \t\r\n"):
        raise ValueError(f"{name}: is empty. Give at least one row.")
    if suffix in (".csv", ".tsv"):
        return delimited.read(text, name, notes, tabs=suffix == ".tsv", named=named)
    if suffix == ".txt":
        lines = (line.strip() for line in LINE_END.split(text))
        return table_of(({"text": line} for line in lines if line), name, notes, columns=("text",))
    return jsons.read(text, name, notes, split=split)


def _bytes(source: bytes | Path, name: str) -> bytes:
    if isinstance(source, Path) and source.is_dir():
        raise ValueError(f"{name}: is a folder. Give it as --hub FOLDER where it is laid out like a dataset.")
    if isinstance(source, Path) and not source.is_file():
        raise ValueError(f"{name}: is not a file. Check the path.")
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size > MAX_BYTES:
        raise ValueError(
            f"{name}: must be at most {MAX_BYTES / 2**20:.0f} MB, got {size / 2**20:.1f} MB. Split it."
        )
    data = source.read_bytes() if isinstance(source, Path) else source
    if not data.strip():
        raise ValueError(f"{name}: is empty. Give at least one row.")
    return data
