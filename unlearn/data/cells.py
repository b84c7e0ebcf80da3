"""This module turns a table's cell into text as a person would write it: dates, decimals, lists."""

import ast
import json
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal

# A longer cell, in characters, is not read as a list.
MOST_LIST = 200_000
# The kinds by which pandas marks a cell without a value, known by name so that pandas is not imported for them.
MISSING = ("NAType", "NaTType")


def text_of(value: object) -> str:
    """Return the value as text without blanks around it. None, NaN and a cell of invisible characters give
    "".

    A list gives its first text that is not empty. ValueError for an object, which is no text.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return value.strip() if not is_blank(value) else ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        midnight = value.time() == time() and value.tzinfo is None
        return (value.date() if midnight else value).isoformat(**({} if midnight else {"sep": " "}))
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    if isinstance(value, list | tuple):
        return next((text for item in value if (text := text_of(item))), "")
    if isinstance(value, Mapping):
        # SQuAD's answers have a "text", and a single message has a "content" or a "value".
        texts = value.get("text", value.get("content", value.get("value")))
        if texts is None:
            have = ", ".join(map(str, value))[:60]
            raise ValueError(f"holds an object ({have}) and no text; take its text out into a column")
        return text_of(texts)
    return str(value)


def plain(value: object) -> object:
    """Return a value of a program as the plain values that a file gives: arrays and tensors become lists.

    ValueError for what is neither text, number, date, list nor object.
    """
    if value is None or isinstance(value, str | bytes | bool | int | float | Decimal | date | time):
        return value
    if type(value).__name__ in MISSING:
        return None
    if callable(convert := getattr(value, "tolist", None)):
        return plain(convert())
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    raise ValueError(
        f"holds a {type(value).__name__}, which is no text, number, list or object; make it one of these"
    )


def is_list(value: object) -> bool:
    """Return whether text_of() leaves a part of the value out. It does for a list of several texts, or for
    SQuAD's object with one.
    """
    if isinstance(value, Mapping):
        return is_list(value.get("text"))
    return isinstance(value, list | tuple) and sum(bool(text_of(item)) for item in value) > 1


def is_blank(text: str) -> bool:
    """Return whether the text has only blanks and characters without width, such as U+200B."""
    return all(ch.isspace() or unicodedata.category(ch) in ("Cf", "Cc") or ch == "\u3164" for ch in text)


def list_of(value: object) -> list[object] | None:
    """Return the list that a cell holds, also one that a table wrote as text: ["a", "b"]. The result is None
    where it holds none.
    """
    if isinstance(value, tuple | list):
        return list(value)
    if not isinstance(value, str) or len(value) > MOST_LIST or value.strip()[:1] != "[":
        return None
    for reader in (json.loads, ast.literal_eval):
        try:
            found = reader(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return found if isinstance(found, list) else None
    return None


def texts_of(value: object) -> tuple[str, ...]:
    """Return every text of a list, or the one text."""
    found = list_of(value)
    parts = [value] if found is None else found
    return tuple(text for part in parts if (text := text_of(part)))


def _decimal(value: Decimal) -> str:
    exponent = value.as_tuple().exponent
    plain = isinstance(exponent, int) and -40 < exponent <= 0 and value.adjusted() < 40
    return f"{value:f}" if plain else str(value)
