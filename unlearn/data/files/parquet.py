"""This module reads Parquet files. It checks the footer first and then reads few rows at a time, because 7 kB
of one repeated word unpack to gigabytes.
"""

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from unlearn.data.files import bounds
from unlearn.data.files.table import Table, table_of

if TYPE_CHECKING:
    from pyarrow import parquet

# The number of rows that are unpacked together.
AT_ONCE = 16


class _TooMuch(ValueError):
    """A refusal of our own; pyarrow's errors are of other kinds."""


def read(data: bytes, name: str) -> Table:
    """Return the rows of a Parquet file as values of Python's own kinds: dates are dates, lists are lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        footer = file.metadata
        unpacked = sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
        too_much = (
            footer.num_rows > bounds.MAX_ROWS
            or footer.num_columns > bounds.MAX_COLUMNS
            or unpacked > bounds.MAX_UNPACKED
        )
        if too_much:
            raise _TooMuch(
                f"{name}: must have at most {bounds.MAX_ROWS:,} rows, {bounds.MAX_COLUMNS} columns and "
                f"{bounds.MAX_UNPACKED / 2**20:.0f} MB unpacked, got {footer.num_rows:,}, {footer.num_columns} and "
                f"{unpacked / 2**20:.0f} MB. Take a part."
            )
        names = [column for column in file.schema_arrow.names if not column.startswith("__index_level_")]
        return table_of(_records(file, names, name), name, columns=names)
    except (pa.ArrowException, OSError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{name}: is not a readable Parquet file ({reason}). Write it again, or give CSV."
        ) from None


def _records(file: "parquet.ParquetFile", names: list[str], name: str) -> Iterator[Mapping[str, object]]:
    for batch in file.iter_batches(AT_ONCE, columns=names, use_threads=False):
        if batch.nbytes > bounds.MAX_UNPACKED:
            raise _TooMuch(
                f"{name}: {AT_ONCE} of its rows unpack to {batch.nbytes / 2**20:.0f} MB; at most "
                f"{bounds.MAX_UNPACKED / 2**20:.0f} MB are read. Take a part."
            )
        yield from batch.to_pylist()
