"""Says in one line what a study came to, for lists that show it as one thing and not as its many runs."""

from unlearn.results import grid
from unlearn.results.conclusion import percent
from unlearn.results.sweep_record import SweepRecord
from unlearn.work import sequence
from unlearn.work.sequence import SequenceRecord

# The roles of the texts to keep, of which the first that was scored is told.
KEEP = ("retain", "general")


def of_sweep(record: SweepRecord) -> str:
    """Return how many of a sweep's cells were tried, and how many of them are good."""
    cells, asked = record.cells(), len(record.config.cells())
    if not cells:
        return f"None of {asked} cells was tried yet."
    tried = f"{len(cells)} of {asked} cells were tried"
    judged = [good for cell in cells if (good := grid.good(cell)) is not None]
    if not judged:
        return f"{tried}; none of them can be judged."
    return f"{tried}; {sum(judged)} forgot and kept the rest."


def of_sequence(record: SequenceRecord) -> str:
    """Return how many requests were honoured, what is left of them, and what is kept of the rest."""
    rows, asked = sequence.summary(record), len(record.config.order)
    if len(rows) < 2:
        return f"None of {asked} requests was honoured yet."
    first, last = rows[0], rows[-1]
    said = f"{last['after']} of {asked} requests {'was' if last['after'] == 1 else 'were'} honoured"
    parts = [f"{percent(last['done'])} of their answers are left"] if last["done"] is not None else []
    role = next((role for role in KEEP if last.get(role) is not None and first.get(role) is not None), "")
    if role:
        parts.append(f"of the rest it answers {percent(last[role])}, before {percent(first[role])}")
    return f"{said}: {'; '.join(parts)}." if parts else f"{said}."
