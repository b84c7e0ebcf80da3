"""Ends a visitor's run where a cap is reached: its minutes, the day's minutes, or the disk.

It is asked between two steps, as whoever presses Stop is, so what was trained until then is kept.
"""

import time
from collections.abc import Callable

from unlearn.store.caps import caps, is_visitor
from unlearn.store.runs import Record, RunStore
from unlearn.store.studies import Stopped
from unlearn.work.visitors import admission, spent

# Seconds between two looks at the disk.
EVERY = 5.0


class Limit:
    """The caps of one record while it works. For what no visitor made nothing is limited, and nothing noted."""

    def __init__(self, record: Record, store: RunStore) -> None:
        self.owner = str(record.meta.get("owner", ""))
        self.on, self.store = is_visitor(self.owner), store
        self.began = time.monotonic()
        self._looked = self.began
        self._most = ("", 0.0)

    def _shortest(self) -> tuple[str, float]:
        """The cap of minutes that is reached first, and how many minutes are left below it."""
        limits, root = caps(), self.store.root
        left = {
            "run_minutes": limits.run_minutes,
            "minutes_each": limits.minutes_each - spent.minutes(root, self.owner),
            "minutes": limits.minutes - spent.minutes(root),
        }
        return min(left.items(), key=lambda pair: pair[1])

    def stopping(self, otherwise: Callable[[], bool]) -> Callable[[], bool]:
        """Return otherwise, or for a visitor's record a function that also raises Stopped, with the cap as its reason,
        where one is reached.
        """
        if not self.on:
            return otherwise
        self._most = self._shortest()
        return lambda: self._check() or otherwise()

    def _check(self) -> bool:
        now = time.monotonic()
        name, most = self._most
        if now - self.began > most * 60:
            remedy = (
                "Ask for fewer epochs or rows, or resume it"
                if name == "run_minutes"
                else "Try again tomorrow"
            )
            raise Stopped(str(admission.full(name, f"this one worked {(now - self.began) / 60:.3g}", remedy)))
        if now - self._looked > EVERY:
            self._looked = now
            held = [*spent.records(self.store), *spent.tables(self.store)]
            if (mine := spent.megabytes(held, self.owner)) > caps().disk_mb_each:
                remedy = "Delete runs of yours on the page Runs, then resume it"
                raise Stopped(str(admission.full("disk_mb_each", f"yours take {mine:.3g}", remedy)))
        return False

    def ended(self, delete: Callable[[Record], None]) -> None:
        """Note the minutes that the record took, and delete the visitors' oldest runs where the disk is too full."""
        if self.on:
            spent.note_minutes(self.store.root, self.owner, time.monotonic() - self.began)
            admission.prune(self.store, delete)
