"""This module reads CSV and similar files. It guesses the mark between cells and checks it on the whole file.

A way of reading counts only where every row gets as many cells as the first; so a comma inside a text, a blank after
the comma or a quote written as \\" choose the reading, and not the other way round.
"""

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from unlearn.data.files import bounds
from unlearn.data.files.names import KNOWN, spoken
from unlearn.data.files.table import Table, table_of

MARKS = ",;\t|"
# The number of characters from which the mark is guessed.
SAMPLE = 64 * 1024
# The number of rows on which the ways of reading are compared.
TRIED = 200
# The column names may follow a title within this many lines.
ABOVE = 10
SAID = re.compile(r"""["']?sep=(.)["']?[ \t]*(\r\n|\r|\n)""", re.IGNORECASE)
WORDS_OF_A_NAME = 5
# Python's message for a quote that is never closed. Such a quote would turn the rest of the file into one
# cell.
OPEN = "unexpected end of data"


@dataclass(frozen=True)
class _Way:
    """One way of reading: mark between cells; quotes doubled, or escaped, or none at all."""

    mark: str
    escape: bool = False
    quotes: bool = True
    strict: bool = True

    def rows(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """(line at which the row ends, cells) of each row that is not blank. csv.Error where it cannot be read so."""
        csv.field_size_limit(max(csv.field_size_limit(), bounds.MAX_BYTES))
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self.mark,
            doublequote=not self.escape,
            escapechar="\\" if self.escape else None,
            quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
            skipinitialspace=True,
            strict=self.strict,
        )
        for cells in reader:
            if len(cells) > 1 or "".join(cells).strip():
                yield reader.line_num, cells


def read(
    text: str, name: str, notes: Sequence[str] = (), *, tabs: bool = False, named: Collection[str] = ()
) -> Table:
    """Return the table of a text with marks between its cells. tabs: only these; named: further names of
    columns.
    """
    above = 0
    mark = "\t" if tabs else ""
    if said := SAID.match(text):
        mark, text, above = said[1], text[said.end() :], 1
    way = _way(text, mark)
    rows = way.rows(text)
    try:
        _, first = next(rows)
        width = len(first)
        _refuse_title(text, [mark] if mark else MARKS, name, above)
        header = [cell.strip() for cell in first]
        notes, headless = list(notes), ""
        if width == 1 and spoken(header[0]) not in KNOWN and header[0] not in named:
            notes.append(
                f"{name}: the first line ({header[0][:40]!r}) is no name of a column, so it is read as a text."
            )
            header, rows = ["text"], way.rows(text)
        elif _is_a_row(header) and not KNOWN & set(map(spoken, header)) and not set(header) & set(named):
            headless = first[0][:40]
        if width == 1 and not mark and _fit(text, _Way(","))[1] < 1:
            notes.append(f"{name}: has one column; the commas in its rows are part of the texts.")
        bounds.check_columns([cell for cell in header if cell], name)
        body = list(_body(rows, width, name, above))
        keep, told = _kept(header, body, name)
        records = ({header[at]: cells[at] for at in keep} for cells in body)
        columns = [header[at] for at in keep]
        return table_of(records, name, [*notes, *told], columns=columns, headless=headless)
    except (csv.Error, StopIteration) as error:
        raise ValueError(
            f'{name}: cannot be read as CSV ({error}). Close every "double quote"; write one inside a cell twice.'
        ) from None


def _way(text: str, mark: str) -> _Way:
    """The way of reading under which most rows have as many cells as the first; the sniffer's mark wins a tie."""
    marks = [mark] if mark else list(MARKS)
    escapes = (False, True) if '\\"' in text else (False,)
    ways = [_Way(m, escape) for m in marks for escape in escapes]
    best = max(ways, key=lambda way: (*_fit(text, way), way.mark == _sniffed(text, marks), not way.escape))
    if (fault := _fault(text, best)) and not fault.startswith(OPEN):
        looser = [_Way(best.mark, strict=False), *([_Way(best.mark, quotes=False)] if mark else [])]
        return next((way for way in looser if not _fault(text, way)), best)
    return best


def _sniffed(text: str, marks: Sequence[str]) -> str:
    try:
        return csv.Sniffer().sniff(text[:SAMPLE], "".join(marks)).delimiter
    except csv.Error:
        return ""


def _fit(text: str, way: _Way) -> tuple[bool, float]:
    """(several cells in the first row, share of the first rows that have as many); nothing where it cannot be read.

    What stands before a quote that is never closed counts: else another mark, under which that quote lies inside a
    cell, would make one column of the table.
    """
    widths: list[int] = []
    try:
        widths += (len(cells) for _, cells in islice(way.rows(text), TRIED))
    except csv.Error as error:
        if not str(error).startswith(OPEN):
            return False, 0.0
    return bool(widths) and widths[0] > 1, sum(w == widths[0] for w in widths) / max(1, len(widths))


def _fault(text: str, way: _Way) -> str:
    """Why it cannot be read so; empty where it can."""
    try:
        for line, cells in islice(way.rows(text), bounds.MAX_ROWS + 2):
            if not way.strict and any("\n" in cell or "\r" in cell for cell in cells):
                return f"a quote swallows the line before line {line}"
    except csv.Error as error:
        return str(error)
    return ""


def _body(rows: Iterator[tuple[int, list[str]]], width: int, name: str, above: int) -> Iterator[list[str]]:
    """Rows of exactly this many cells; what lies beyond may only be empty."""
    for number, (line, cells) in enumerate(islice(rows, bounds.MAX_ROWS + 1)):
        if number == bounds.MAX_ROWS:
            raise ValueError(
                f"{name}: must have at most {bounds.MAX_ROWS:,} rows, got at least {number + 1:,}. Take a part of it."
            )
        if any(cell.strip() for cell in cells[width:]):
            raise ValueError(
                f"{name}: every row must have {width} cells like the first, got {len(cells)} in line {line + above}. "
                'Put "double quotes" around cells that hold the separator.'
            )
        yield (cells + [""] * (width - len(cells)))[:width]


def _kept(header: list[str], body: list[list[str]], name: str) -> tuple[list[int], list[str]]:
    """(places of the columns to keep, notes): nameless columns that are empty or count the rows are left out."""
    keep, notes = [], []
    for at, title in enumerate(header):
        if title and not re.fullmatch(r"Unnamed: \d+", title):
            keep.append(at)
            continue
        cells = [cells[at].strip() for cells in body]
        if not any(cells):
            continue
        if not all(re.fullmatch(r"-?\d{1,18}(\.0)?", cell) for cell in cells):
            raise ValueError(
                f"{name}: every column needs a name, got none above column {at + 1} "
                f"({next(filter(None, cells))[:40]!r}). Write names into the first row."
            )
        notes.append(f"{name}: the unnamed column {at + 1} holds numbers only and was left out.")
    if not keep:
        raise ValueError(f"{name}: every column needs a name. Write names into the first row.")
    return keep, notes


def _refuse_title(text: str, marks: Sequence[str], name: str, above: int) -> None:
    """ValueError where line 1 is a title and the names stand below it."""
    for mark in marks:
        top = list(islice(_Way(mark, strict=False).rows(text), ABOVE))
        filled = [[cell.strip() for cell in cells if cell.strip()] for _, cells in top]
        if len(filled[0]) > 1 or KNOWN & set(map(spoken, filled[0])):
            continue
        for (line, _), cells in zip(top[1:], filled[1:], strict=True):
            if len(cells) > 1 and len(KNOWN & set(map(spoken, cells))) > 1:
                raise ValueError(
                    f"{name}: line {1 + above} must hold the names of the columns, got a title "
                    f"({filled[0][0][:40]!r}); the names ({', '.join(cells)[:60]}) stand in line {line + above}. "
                    "Remove the lines above them."
                )


def _is_a_row(header: list[str]) -> bool:
    """Whether a first line reads like a row: a sentence, a number, or many words."""
    return any(
        re.search(r"[.?!]$|^-?[\d.,]+$", cell) or len(cell.split()) > WORDS_OF_A_NAME
        for cell in header
        if "\n" not in cell
    )
