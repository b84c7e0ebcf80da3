"""Tables out of files: CSV, JSON, JSONL, TXT or Parquet in, a frame of text cells out.

Files come from strangers through a browser, so they are data only: nothing is unpickled or
evaluated, sizes are bounded before anything is unpacked, and an error says how to mend the file.
Cells are read as text, because "007" and "NA" are answers, not a number and a hole.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from unlearn.compute.lazy import pd

MAX_BYTES = 10 * 2**20
MAX_ROWS = 20_000
MAX_CHARS = 20_000  # per cell
MIN_ROWS = 2
MAX_COLUMNS = 100
SEPARATORS = ",;\t"
FORMATS = (".csv", ".json", ".jsonl", ".txt", ".parquet")
MAX_UNPACKED = 10 * MAX_BYTES  # what a compressed file may unpack to


def read_table(source: bytes | Path, name: str) -> pd.DataFrame:
    """The table in a file, all cells text; name is what errors call it, its ending tells the format.

    TXT has one text a line, in a column "text". Raises ValueError, with a remedy, for anything that
    is not such a table of MIN_ROWS to MAX_ROWS rows within MAX_BYTES.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(
            f"{name}: the ending must be one of {', '.join(FORMATS)}, got {suffix or 'none'}. Convert it."
        )
    if isinstance(source, Path) and not source.is_file():
        raise ValueError(f"{name}: is not a file. Check the path.")
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size > MAX_BYTES:
        raise ValueError(
            f"{name}: must be at most {MAX_BYTES / 2**20:.0f} MB, got {size / 2**20:.1f} MB. Split it."
        )
    data = source.read_bytes() if isinstance(source, Path) else source
    if not data.removeprefix(b"\xef\xbb\xbf").strip():
        raise ValueError(f"{name}: is empty. Give at least {MIN_ROWS} rows.")
    if suffix == ".parquet":
        return from_records(_parquet(data, name), name)
    text = _decode(data, name)
    if suffix == ".csv":
        return check_table(_csv(text, name), name)
    if suffix == ".txt":
        return from_records(({"text": line.strip()} for line in text.splitlines() if line.strip()), name)
    return from_records(_json(text, name) if suffix == ".json" else _json_lines(text, name), name)


def from_records(records: Iterable[Mapping[str, object]], name: str) -> pd.DataFrame:
    """A checked table out of objects; cells become text, lists and objects become JSON, null becomes ""."""
    records = list(records)
    if not records:
        raise ValueError(f"{name}: is empty. Give at least {MIN_ROWS} rows.")
    columns = list(dict.fromkeys(str(key) for record in records for key in record))
    _check_columns(columns, name)
    cells = [[_cell(record.get(column)) for column in columns] for record in records]
    return check_table(pd.DataFrame(cells, columns=columns, dtype=str), name)


def check_table(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The same table, or a ValueError: duplicate or nameless columns, too few or many rows, long cells."""
    columns = list(frame.columns)
    _check_columns(columns, name)
    if len(frame) < MIN_ROWS:
        raise ValueError(
            f"{name}: must have at least {MIN_ROWS} rows, got {len(frame)}. Add rows below the names."
        )
    if len(frame) > MAX_ROWS:
        raise ValueError(
            f"{name}: must have at most {MAX_ROWS:,} rows, got at least {len(frame):,}. Take a part of it."
        )
    for column in columns:
        lengths = frame[column].str.len()
        if (longest := int(lengths.max())) > MAX_CHARS:
            at = int(lengths.to_numpy().argmax()) + 1
            raise ValueError(
                f"{name}: a cell must have at most {MAX_CHARS:,} characters, got {longest:,} in row {at}, "
                f"column {column!r}. Split that text into several rows."
            )
    return frame


def _check_columns(columns: list[str], name: str) -> None:
    """Before a frame is made of them: a file of few bytes can name columns enough to fill the memory."""
    if len(columns) > MAX_COLUMNS:
        raise ValueError(
            f"{name}: must have at most {MAX_COLUMNS} columns, got {len(columns):,}. Remove some."
        )
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise ValueError(f"{name}: column names must differ, got {twice[0]!r} twice. Rename one of them.")
    if not columns or not all(columns):
        raise ValueError(f"{name}: every column needs a name, got {columns}. Write names into the first row.")


def _decode(data: bytes, name: str) -> str:
    """UTF-8 text, with or without a byte order mark."""
    if data[:4] == b"PK\x03\x04":
        raise ValueError(f"{name}: must be text, got a zip or Excel file. Save the sheet as CSV (UTF-8).")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(
            f"{name}: must be UTF-8, got UTF-16. Save it again as UTF-8: {_iconv('utf-16', name)}."
        )
    if (at := data.find(b"\0")) >= 0:
        raise ValueError(
            f"{name}: must be text, got binary data (a zero byte at {at}). Give CSV, JSONL or TXT."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{name}: must be UTF-8, got byte 0x{data[error.start]:02x} at {error.start} (line {line}). "
            f"Save it again as UTF-8: {_iconv('latin1', name)}."
        ) from None


def _iconv(encoding: str, name: str) -> str:
    return f"iconv -f {encoding} -t utf-8 {name} > new{Path(name).suffix}"


def _csv(text: str, name: str) -> pd.DataFrame:
    """A CSV's table; the separator is whichever of SEPARATORS cuts the first row into most cells.

    The first row is read as data and made the header here: pandas would rename duplicate columns,
    and take surplus cells for an index, without a word.
    """
    first = re.split(r"[\r\n]+", text.lstrip(), maxsplit=1)[0][:MAX_CHARS]
    cuts = {mark: next(csv.reader([first], delimiter=mark)) for mark in SEPARATORS}
    separator = max(cuts, key=lambda mark: len(cuts[mark]))
    _check_columns([column.strip() for column in cuts[separator]], name)
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            nrows=MAX_ROWS + 2,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
            expected, line, saw = found.groups()
            raise ValueError(
                f"{name}: every row must have {expected} cells like the first, got {saw} in line {line}. "
                'Put "double quotes" around cells that hold the separator.'
            ) from None
        raise ValueError(f"{name}: cannot be read as CSV ({error}). Close every double quote.") from None
    table = table.fillna("")
    columns = [column.strip() for column in table.iloc[0]]
    return table.iloc[1:].set_axis(columns, axis=1).reset_index(drop=True)


def _json(text: str, name: str) -> list[Mapping[str, object]]:
    """A JSON array of objects."""
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"{name}: is not JSON ({error}). Give an array of objects, or name it .jsonl."
        ) from None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ValueError(
            f'{name}: must be an array of objects, got something else. Write [{{"text": …}}, …].'
        )
    return found


def _json_lines(text: str, name: str) -> list[Mapping[str, object]]:
    """One JSON object a line; empty lines are skipped."""
    found: list[Mapping[str, object]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f"{name}: line {number} is not JSON ({error}). Mend or remove that line."
            ) from None
        if not isinstance(item, dict):
            raise ValueError(
                f'{name}: line {number} must be an object, got {line[:40]!r}. Write {{"text": …}}.'
            )
        found.append(item)
    return found


def _parquet(data: bytes, name: str) -> list[Mapping[str, object]]:
    """Rows of a Parquet file, whose size is read from its footer before any of it is unpacked."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        footer = file.metadata
        unpacked = sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
        too_much = footer.num_rows > MAX_ROWS or footer.num_columns > MAX_COLUMNS or unpacked > MAX_UNPACKED
        records = [] if too_much else file.read().to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{name}: is not a readable Parquet file ({reason}). Write it again, or give CSV."
        ) from None
    if too_much:
        raise ValueError(
            f"{name}: must have at most {MAX_ROWS:,} rows, {MAX_COLUMNS} columns and {MAX_UNPACKED / 2**20:.0f} MB "
            f"unpacked, got {footer.num_rows:,}, {footer.num_columns} and {unpacked / 2**20:.0f} MB. Take a part."
        )
    return records


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
