"""This module reads JSON of the usual shapes, whatever the file's ending. They are an array, one value a
line, a dict of columns, and one named list.

Several named lists (splits) are not mixed: one of them is asked for. Numbers keep the digits that they were written
with, NaN is an empty cell.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from unlearn.data.files import bounds, names
from unlearn.data.files.table import Table, table_of

SPLITS = {"train", "test", "val", "valid", "validation", "dev", "forget", "retain", "holdout", "eval"}
TURN_KEYS = {"role", "from", "content", "value"}
# Python's own limit for a whole number in text.
MOST_DIGITS = 4300
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
BLANK = re.compile(r"[ \t\r\n]*")


class SeveralSets(ValueError):
    """Signals that a file holds several sets of rows. sets: their names."""

    def __init__(self, said: str, sets: list[str]) -> None:
        super().__init__(said)
        self.sets = sets


def read(text: str, name: str, notes: Iterable[str] = (), *, split: str = "") -> Table:
    """Return the rows of a JSON or JSON-lines text. split: the set to read where the file holds several."""
    if sum(map(text.count, "[{,")) > bounds.MAX_VALUES and _values(text) > bounds.MAX_VALUES:
        raise ValueError(f"{name}: must hold at most {bounds.MAX_VALUES:,} values. Take a part of it.")
    start = _skip(text, 0)
    if text[start] == "[" and (items := _array(text, start, name)) is not None:
        return table_of(_rows(items, name, "row"), name, notes)
    whole = _whole(text, name)
    if whole is None:
        return table_of(_rows(_lines(text, name), name, "line"), name, notes)
    found, more = _of_object(whole, name, split)
    return table_of(_rows(enumerate(found, start=1), name, "row"), name, [*notes, *more])


def _skip(text: str, at: int) -> int:
    """The place of the next character that is no blank."""
    found = BLANK.match(text, at)
    return found.end() if found else at


def _values(text: str) -> int:
    """Marks outside of strings, so that commas in prose are no values."""
    return sum(map(re.sub(r'"(?:[^"\\]|\\.)*"', "", text).count, "[{,"))


def _decoder(where: str) -> json.JSONDecoder:
    def whole_number(digits: str) -> int:
        if len(digits) > MOST_DIGITS:
            raise ValueError(
                f"{where} holds a number of {len(digits):,} digits; write it as a text in quotes"
            )
        return int(digits)

    return json.JSONDecoder(parse_float=Decimal, parse_int=whole_number, parse_constant=lambda constant: None)


def _loads(text: str, at: int, where: str, name: str) -> tuple[object, int]:
    """(value, its end). ValueError with file and place."""
    try:
        value, end = _decoder(where).raw_decode(text, at)
    except json.JSONDecodeError as error:
        # In a text of one line its number is where's, and would be 1 here.
        one = "\n" not in text
        place = f"character {error.pos + 1}" if one else f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{name}: {where} is not JSON ({error.msg}: {place}). Mend or remove it.") from None
    except RecursionError:
        raise ValueError(f"{name}: {where} is not JSON that can be read: it lies too deep.") from None
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{name}: {error}.") from None
    if SURROGATE.search(text, at, end) and _is_torn(value):
        raise ValueError(
            f"{name}: {where} holds half of a character (a lone surrogate such as \\ud83d), which is no text. "
            "Write that character again, or take it out."
        )
    return value, end


def _is_torn(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False


def _array(text: str, start: int, name: str) -> Iterator[tuple[int, object]] | None:
    """The elements of an array that makes up the whole text, one after the other; None for one array a line."""
    return None if _value_a_line(text, start) else _elements(text, start + 1, name)


def _value_a_line(text: str, start: int) -> bool:
    """Whether the first line is a whole value (a comma after it aside) and further lines follow."""
    end = re.compile(r"[\r\n]").search(text, start)
    if end is None or not text[end.end() :].strip():
        return False
    try:
        _decoder("line 1").decode(text[start : end.start()].rstrip().rstrip(","))
    except (ValueError, RecursionError, ArithmeticError):
        return False
    return True


def _elements(text: str, at: int, name: str) -> Iterator[tuple[int, object]]:
    number = 0
    while True:
        at = _skip(text, at)
        if text[at : at + 1] == "]" and not number:
            break
        number += 1
        if text[at : at + 1] == "]":
            raise ValueError(
                f"{name}: there is a comma after the last row ({number - 1}). Remove that comma."
            )
        value, at = _loads(text, at, f"row {number}", name)
        yield number, value
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            what = "the array is not closed" if at >= len(text) else f"a comma is missing after row {number}"
            raise ValueError(f"{name}: is not JSON: {what}. Mend it there.")
        at += 1
    if rest := text[at + 1 :].strip():
        raise ValueError(
            f"{name}: is not JSON: after the array comes {rest[:40]!r}. Remove what stands there."
        )


def _whole(text: str, name: str) -> dict[str, object] | None:
    """The one object that the text is; None where it has one value a line."""
    start = _skip(text, 0)
    if text[start] != "{":
        return None
    if _value_a_line(text, start):
        return None
    value, end = _loads(text, start, "line 1", name)
    if rest := text[end:].strip():
        raise ValueError(
            f"{name}: is not JSON: after the first object comes {rest[:40]!r}. Write one object a line, or an array."
        )
    assert isinstance(value, dict), "it begins with a brace"
    return value


def _lines(text: str, name: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        line = line.strip(" \t")
        if not line:
            continue
        try:
            value, end = _loads(line, 0, f"line {number}", name)
        except ValueError:
            if line in ("[", "]"):
                raise ValueError(
                    f"{name}: line {number} is {line!r} alone: an array is not closed. Mend the brackets."
                ) from None
            raise
        if rest := line[end:].strip():
            if rest == ",":
                raise ValueError(
                    f"{name}: line {number} ends with a comma. Remove the comma at the end of each line; or write [ "
                    "above the first line and ] below the last, without the last comma."
                )
            raise ValueError(f"{name}: line {number} is not JSON: after the value comes {rest[:40]!r}.")
        yield number, value


def _rows(values: Iterable[tuple[int, object]], name: str, unit: str) -> Iterator[Mapping[str, object]]:
    """Objects as they are; a text alone is a text, a list of turns a conversation. All of one kind."""
    first = None
    for number, value in values:
        kind = "object" if isinstance(value, dict) else "text" if isinstance(value, str) else "conversation"
        if kind == "conversation" and not (isinstance(value, list) and is_turns(value)):
            got = json.dumps(value, ensure_ascii=False, default=str)[:40]
            raise ValueError(
                f"{name}: {unit} {number} must be an object, got {got}. "
                'Write {"question": …, "answer": …} or {"text": …}.'
            )
        first = first or kind
        if kind != first:
            raise ValueError(
                f"{name}: {unit} {number} is a {kind}, the ones before are {first}s. Write all in one form."
            )
        yield value if isinstance(value, dict) else {"text" if kind == "text" else "messages": value}


def is_turns(value: object) -> bool:
    """Return whether the value is a conversation: a list of objects that have a role and a content under one
    of their names.
    """
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and len(TURN_KEYS & turn.keys()) >= 2 for turn in value)
    )


def _of_object(found: dict[str, object], name: str, split: str) -> tuple[list[object], list[str]]:
    """(rows, notes) of one object: the columns by name, a list under one name, or one of several splits."""
    if not found:
        raise ValueError(f"{name}: holds an empty object. Give at least one row.")
    if _is_row(found):
        return [found], []
    if len(found) == 1 and isinstance(value := next(iter(found.values())), dict) and _is_row(value):
        return [value], [f"{name}: the row under {next(iter(found))!r} was read."]
    parts = {
        key: value for key, value in found.items() if isinstance(value, list | dict) and not is_turns(value)
    }
    lists = {key: value for key, value in parts.items() if isinstance(value, list)}
    if split and split in parts:
        return _named(parts[split], name, split), []
    nested = {k: v for k, v in parts.items() if k.lower() in SPLITS or _objects(v)}
    if len(nested) > 1 and not _by_index(nested):
        have = ", ".join(f"{key} ({len(value)})" for key, value in nested.items())
        more = f"; there is no {split!r}" if split else ""
        raise SeveralSets(
            f"{name}: holds several sets of rows: {have}{more}. Choose one with --hub-split {next(iter(nested))}.",
            list(nested),
        )
    if _by_index(found):
        return list(found.values()), []
    if len(lists) == len(found) and len({len(value) for value in lists.values()}) == 1 and not nested:
        columns = list(lists)
        return [dict(zip(columns, cells, strict=True)) for cells in zip(*lists.values(), strict=True)], []
    dicts = [value for value in found.values() if isinstance(value, dict)]
    if len(dicts) == len(found) and all(value.keys() == dicts[0].keys() for value in dicts) and not nested:
        return [
            {column: cells[key] for column, cells in zip(found, dicts, strict=True)} for key in dicts[0]
        ], []
    if len(nested) == 1:
        ((key, value),) = nested.items()
        left = [other for other in found if other != key]
        note = [f"{name}: the rows of {key!r} were read; {', '.join(left)} was left out."] if left else []
        return _named(value, name, key), note
    if not parts:
        return [found], []
    sizes = ", ".join(f"{key} ({len(v)} long)" for key, v in list(parts.items())[:8])
    raise ValueError(
        f"{name}: must be an array of objects, one object a line, or columns of one length; got an object with {sizes}."
        " Write one of these."
    )


def _is_row(found: Mapping[str, object]) -> bool:
    """Whether an object is one row and no set of columns: its question is a text, and it has an answer or choices."""
    columns = tuple(found)
    asked = found.get(names.first_of(columns, names.QUESTION))
    answer = names.first_of(columns, names.ANSWER) or names.first_of(columns, names.CHOICES)
    return isinstance(asked, str) and bool(answer)


def _objects(value: list | dict) -> bool:
    """A list of objects that are no turns; or an object of columns."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, dict) for item in value)
    return bool(value) and all(isinstance(item, list) for item in value.values())


def _by_index(found: Mapping[str, object]) -> bool:
    """{"0": {…}, "1": {…}}: rows under their numbers."""
    return bool(found) and all(k.isdecimal() and isinstance(v, dict) for k, v in found.items())


def _named(value: list | dict, name: str, key: str) -> list[object]:
    return value if isinstance(value, list) else _of_object(value, f"{name} ({key})", "")[0]
