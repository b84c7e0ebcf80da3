"""Keeps the records that wait for an engine in their order, so that asking for a place costs no more with many."""

from collections.abc import Iterator

from unlearn.store.runs import Record


class Waiting:
    """A queue of records. Whoever uses it from several threads holds a lock of its own."""

    def __init__(self) -> None:
        self._records: dict[Record, None] = {}
        # The places as they were counted last, or nothing after a change.
        self._places: dict[Record, int] = {}

    def add(self, record: Record) -> None:
        """Put a record at the end."""
        self._records[record] = None
        self._places.clear()

    def put_first(self, record: Record) -> None:
        """Put a record before all others."""
        self._records = {record: None, **self._records}
        self._places.clear()

    def take(self, record: Record) -> bool:
        """Take a record out, and return whether it was there."""
        self._places.clear()
        return self._records.pop(record, self) is None

    def place(self, record: Record) -> int:
        """Return the record's place, 1 for the first, or 0 where it does not wait."""
        if not self._places:
            self._places = {one: place for place, one in enumerate(self._records, 1)}
        return self._places.get(record, 0)

    def clear(self) -> None:
        """Take all out."""
        self._records.clear()
        self._places.clear()

    def __contains__(self, record: object) -> bool:
        return record in self._records

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)
