"""A Table is the result of every reader. It holds column names, rows of plain values, and notes for the
person.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from unlearn.data.files.bounds import Budget, check_columns


@dataclass(frozen=True)
class Table:
    """A table as its file has it. records hold plain values (text, numbers, dates, lists), and an empty cell
    is None.

    name is what errors call it. headless: what stands in line 1 where that seems to be a row and no names.
    """

    name: str
    columns: tuple[str, ...]
    records: tuple[Mapping[str, object], ...]
    notes: tuple[str, ...] = field(default=())
    headless: str = ""

    def __len__(self) -> int:
        return len(self.records)


def table_of(
    records: Iterable[Mapping[str, object]],
    name: str,
    notes: Iterable[str] = (),
    *,
    columns: Iterable[str] | None = None,
    headless: str = "",
) -> Table:
    """Return a table of these records, which are read one by one within the bounds. ValueError, naming the
    file, for too many or too few.
    """
    budget, kept = Budget(name), []
    known: dict[str, None] = dict.fromkeys(columns or ())
    for record in records:
        try:
            budget.row(record.items())
        except (ValueError, RecursionError) as error:
            if str(error).startswith(name):
                raise
            raise ValueError(f"{name}: row {budget.rows}: {error}") from None
        if new := [key for key in record if key not in known]:
            known.update(dict.fromkeys(new))
            check_columns(known, name)
        kept.append(record)
    if not kept and columns is None:
        raise ValueError(f"{name}: is empty. Give at least one row.")
    if not kept:
        raise ValueError(f"{name}: must have at least one row, got none. Add rows.")
    return Table(name, tuple(known), tuple(kept), tuple(notes), headless)
