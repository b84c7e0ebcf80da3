"""What a file may become while it is read: rows, columns, characters. A file of few bytes can unpack to gigabytes.

Every reader hands its rows to one Budget as they come, so that too much is noticed at the first row too many and not
when all of it lies in memory.
"""

from collections.abc import Iterable, Mapping

# Of a file.
MAX_BYTES = 10 * 2**20
MAX_ROWS = 20_000
MIN_ROWS = 2
MAX_COLUMNS = 100
# Of one cell.
MAX_CHARS = 1_000_000
# Characters of all cells.
MAX_TOTAL = 30_000_000
# Marks of a JSON file that begin or part values.
MAX_VALUES = 1_000_000
# Of a Parquet file, as its footer says.
MAX_UNPACKED = 10 * MAX_BYTES
# Lists in lists.
MAX_DEPTH = 20


class Budget:
    """Counts what has been read of one file; ValueError, with the file's name, at the first row too many."""

    def __init__(self, name: str) -> None:
        self.name, self.rows, self.chars = name, 0, 0

    def row(self, cells: Iterable[tuple[str, object]]) -> None:
        """One more row: its columns and values."""
        self.rows += 1
        if self.rows > MAX_ROWS:
            raise ValueError(
                f"{self.name}: must have at most {MAX_ROWS:,} rows, got at least {self.rows:,}. Take a part of it."
            )
        for column, value in cells:
            size = weight(value)
            self.chars += size
            if size > MAX_CHARS:
                raise ValueError(
                    f"{self.name}: a cell must have at most {MAX_CHARS:,} characters, got {size:,} in row {self.rows}, "
                    f"column {column!r}. Split that text into several rows."
                )
        if self.chars > MAX_TOTAL:
            raise ValueError(
                f"{self.name}: must have at most {MAX_TOTAL:,} characters in all, got more by row {self.rows:,}. "
                "Take a part of it."
            )


def weight(value: object, depth: int = 0) -> int:
    """Characters of a value; of a list or an object those of its parts. ValueError where lists lie too deep."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        if depth > MAX_DEPTH:
            raise ValueError(f"lists may lie at most {MAX_DEPTH} deep; flatten that row.")
        return sum(weight(part, depth + 1) for part in value) + len(value)
    return 8


def check_columns(columns: Iterable[str], name: str) -> None:
    """Before a table is made of them: a file of few bytes can name columns enough to fill the memory."""
    columns = list(columns)
    if len(columns) > MAX_COLUMNS:
        raise ValueError(
            f"{name}: must have at most {MAX_COLUMNS} columns, got {len(columns):,}. Remove some."
        )
    if len(set(columns)) < len(columns):
        twice = next(column for at, column in enumerate(columns) if column in columns[:at])
        raise ValueError(f"{name}: column names must differ, got {twice!r} twice. Rename one of them.")
