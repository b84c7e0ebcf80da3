"""A Table is what every reader gives: names of columns and rows of plain values, with what a person must be told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from unlearn.data.files.bounds import MIN_ROWS, Budget, check_columns


@dataclass(frozen=True)
class Table:
    """records hold values as the file has them (text, numbers, dates, lists), empty cells None.

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
    """A table of these records, read one by one within bounds. ValueError, naming the file, for too many or too few."""
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
        raise ValueError(f"{name}: is empty. Give at least {MIN_ROWS} rows.")
    if len(kept) < MIN_ROWS:
        raise ValueError(
            f"{name}: must have at least {MIN_ROWS} rows, got {len(kept)}. Add rows below the names."
        )
    return Table(name, tuple(known), tuple(kept), tuple(notes), headless)
