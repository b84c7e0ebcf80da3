"""The bounds of a file while it is read: rows, columns and characters. A file of few bytes can unpack to
gigabytes.

Every reader hands its rows to one Budget as they come, so that too much is noticed at the first row too many and not
when all of it lies in memory.
"""

from collections.abc import Iterable, Mapping

# The most bytes of a file.
MAX_BYTES = 10 * 2**20
MAX_ROWS = 20_000
MAX_COLUMNS = 100
# The most characters of one cell.
MAX_CHARS = 1_000_000
# The most characters of all cells together.
MAX_TOTAL = 30_000_000
# The most marks of a JSON file that begin or separate values.
MAX_VALUES = 1_000_000
# The most unpacked bytes of a Parquet file, as its footer states them.
MAX_UNPACKED = 10 * MAX_BYTES
# The most levels of lists within lists.
MAX_DEPTH = 20


class Budget:
    """A counter of what was read of one file. It raises ValueError, with the file's name, at the first row
    too many.
    """

    def __init__(self, name: str) -> None:
        self.name, self.rows, self.chars = name, 0, 0

    def row(self, cells: Iterable[tuple[str, object]]) -> None:
        """Count one more row with its columns and values."""
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
    """Return the number of characters in a value. For a list or an object it is the sum of its parts.
    ValueError where lists are nested too deep.
    """
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
    """Raise ValueError for too many column names, before a table is made of them. A file of few bytes can
    name so many columns that they fill the memory.
    """
    columns = list(columns)
    if len(columns) > MAX_COLUMNS:
        raise ValueError(
            f"{name}: must have at most {MAX_COLUMNS} columns, got {len(columns):,}. Remove some."
        )
    if len(set(columns)) < len(columns):
        twice = next(column for at, column in enumerate(columns) if column in columns[:at])
        raise ValueError(f"{name}: column names must differ, got {twice!r} twice. Rename one of them.")
