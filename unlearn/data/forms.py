"""This module turns the columns of a table into rows. It knows conversations, instructions with an input,
choices with an index, questions and plain texts.

One step for every kind of file. What is wrong with a cell is said with the file's name and the row's number, from 1
and without the header; what is left out or chosen is a note.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from unlearn.data import cells
from unlearn.data.base import Row
from unlearn.data.columns import Columns, Extras
from unlearn.data.files.names import ANSWER, MESSAGES, QUESTION, TEXT, spoken
from unlearn.data.files.table import Table
from unlearn.data.turns import LAST, Exchange, Turn, conversation, exchanges

# Where the words of a row may stand.
WORDS = QUESTION + ANSWER + TEXT + MESSAGES
# A note lists at most this many row numbers.
NAMED_ROWS = 5


@dataclass
class Made:
    """The rows made of a table, with what a person must be told about them.  left_out: the number of records
    that gave no row. seen: {sentence: numbers of the rows that it is about}.
    """

    rows: list[Row] = field(default_factory=list)
    left_out: int = 0
    seen: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def notes(self, name: str, records: int) -> list[str]:
        """Return one sentence for each note, with how many rows it is about and which."""
        return [
            f"{name}: {len(places)} of {records} rows {said} ({_places(places)})."
            for said, places in self.seen.items()
        ]


EMPTY = "have empty cells and were left out"
NOTHING = "have nothing in"
ELSEWHERE = NOTHING + " {} and were left out, though other columns are filled"
UNANSWERED = "have no assistant's turn after a user's and were left out"
AFTER_TOOLS = "have a tool's turn before the assistant's answer and were left out"
# Why a row with words in it gives none.
UNUSABLE = (UNANSWERED, AFTER_TOOLS)
FIRST = "hold a list in {!r}; the first of each list was taken"
JOINED = "have an input, which was joined to the instruction"
NUMBERED = (
    "have a number for an answer that is one of the choices and also the place of another; it was read as "
)
AS_PLACE, AS_CHOICE = NUMBERED + "the place, counted from {}", NUMBERED + "the choice itself"


def rows_of(table: Table, columns: Columns, extras: Extras, turns: str = LAST) -> Made:
    """Return the rows that a table means. turns: "last" or "all" answers of a conversation."""
    made = Made()
    numbers = _numbers(table, columns, extras)
    for place, record in enumerate(table.records, start=1):
        try:
            found = list(_of_record(record, columns, extras, turns, numbers, made, place))
        except ValueError as error:
            raise ValueError(f"{table.name}: row {place}: {error}.") from None
        made.rows += found
        made.left_out += not found
    return made


def _of_record(
    record: Mapping[str, object],
    columns: Columns,
    extras: Extras,
    turns: str,
    numbers: "Numbers",
    made: Made,
    place: int,
) -> Iterator[Row]:
    system = cells.text_of(record.get(columns.system)) if columns.system else ""
    if columns.text:
        answer = _text(record, columns.text, made, place)
        if answer:
            yield Row(answer=answer, place=place, **_more(record, extras, answer))
        else:
            made.seen[EMPTY].append(place)
        return
    talk = _talk(record, columns)
    if talk is None:
        one = _pair(record, columns, extras, numbers, made, place)
        if one is None:
            made.seen[_lacking(record, columns)].append(place)
        else:
            yield Row(system=system, place=place, **one)
        return
    found = exchanges(talk, turns)
    if not found:
        told = any(one.role == "tool" and two.role == "assistant" for one, two in pairwise(talk))
        lacking = AFTER_TOOLS if told else UNANSWERED
        if not talk and (elsewhere := _lacking(record, columns)) != EMPTY:
            lacking = elsewhere
        made.seen[lacking].append(place)
    for exchange in found:
        yield _of_exchange(exchange, system, _more(record, extras, exchange.answer), place)


def _of_exchange(exchange: Exchange, system: str, more: dict[str, Any], place: int) -> Row:
    return Row(
        question=exchange.question,
        answer=exchange.answer,
        system=exchange.system or system,
        messages=tuple((turn.role, turn.content) for turn in exchange.earlier),
        place=place,
        **more,
    )


def _lacking(record: Mapping[str, object], columns: Columns) -> str:
    """What a row without a question or an answer lacks: in lines of different kinds its words stand elsewhere."""
    own = (columns.messages,) if columns.messages else (columns.question, columns.answer)
    others = [name for name in record if name not in columns.named() and spoken(name) in WORDS]
    if any(record.get(name) for name in own) or not any(record.get(name) for name in others):
        return EMPTY
    return ELSEWHERE.format(" and ".join(map(repr, own)))


def _talk(record: Mapping[str, object], columns: Columns) -> list[Turn] | None:
    """The conversation of a row: its messages; or prompt and completion, either of which may be one."""
    if columns.messages:
        value = record.get(columns.messages)
        talk = conversation(value)
        if talk is None and cells.text_of(value):
            raise ValueError(
                f"column {columns.messages!r} holds no list of messages with role and content; name another column"
            )
        return talk or []
    asked, answered = (conversation(record.get(name)) for name in (columns.question, columns.answer))
    if asked is None and answered is None:
        return None
    first = [Turn("user", cells.text_of(record.get(columns.question)))] if asked is None else asked
    last = [Turn("assistant", cells.text_of(record.get(columns.answer)))] if answered is None else answered
    if asked and answered and answered[: len(asked)] == asked:
        # The answer's column begins with the prompt.
        return answered
    if asked and answered and asked[-1].role == "assistant" and answered[: len(asked) - 1] == asked[:-1]:
        raise ValueError(
            f"column {columns.question!r} holds a whole conversation with its answer at the end; name it with "
            f"--messages-column {columns.question}"
        )
    if asked is None and any(turn.role == "user" for turn in last):
        # The answer's column holds the whole conversation, as in preference data.
        return last
    return [*first, *last]


def _pair(
    record: Mapping[str, object],
    columns: Columns,
    extras: Extras,
    numbers: "Numbers",
    made: Made,
    place: int,
) -> dict[str, Any] | None:
    """question, answer and what else a row has; None where one of the two is empty."""
    question = _text(record, columns.question, made, place)
    options, labels = _choices(record, extras)
    value = record.get(columns.answer)
    wrong: tuple[str, ...] = ()
    if options and (at := _chosen(value, options, labels, numbers)) is not None:
        if _two_ways(value, options, labels, numbers):
            said = AS_CHOICE if numbers.choices else AS_PLACE.format(numbers.base)
            made.seen[said].append(place)
        answer, wrong = options[at], tuple(text for i, text in enumerate(options) if i != at)
    else:
        answer = _text(record, columns.answer, made, place)
    if not question or not answer:
        return None
    if extras.input and (joined := cells.text_of(record.get(extras.input))):
        question = f"{question}\n\n{joined}"
        made.seen[JOINED].append(place)
    more = _more(record, extras, answer)
    return {"question": question, "answer": answer} | more | ({"wrong": wrong} if wrong else {})


def _text(record: Mapping[str, object], column: str, made: Made, place: int) -> str:
    value = record.get(column)
    if cells.is_list(value):
        made.seen[FIRST.format(column)].append(place)
    try:
        return cells.text_of(value)
    except ValueError as error:
        raise ValueError(f"column {column!r} {error}") from None


def _more(record: Mapping[str, object], extras: Extras, answer: str) -> dict[str, Any]:
    """wrong, paraphrase, asked_otherwise and truth, where the table has them."""
    found: dict[str, Any] = {}
    if extras.wrong:
        value = record.get(extras.wrong)
        talk = conversation(value)
        texts = (talk[-1].content,) if talk else cells.texts_of(value)
        found["wrong"] = tuple(text for text in texts if text != answer)
    for name in ("paraphrase", "asked_otherwise", "truth"):
        if column := getattr(extras, name):
            found[name] = cells.text_of(record.get(column))
    return {name: value for name, value in found.items() if value}


# The functions below read choices: several answers and the index of the right one.


def _choices(record: Mapping[str, object], extras: Extras) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(texts, labels) of a row's choices; labels as ARC has them, else none."""
    if not extras.choices:
        return (), ()
    value = record.get(extras.choices)
    labels: tuple[str, ...] = ()
    if isinstance(value, Mapping):
        labels, value = cells.texts_of(value.get("label")), value.get("text")
    listed = cells.list_of(value)
    return tuple(map(cells.text_of, listed or ())), labels


@dataclass(frozen=True)
class Numbers:
    """What a number means as the answer of a table with choices.

    base: what the first choice is called. choices: whether it is the choice of these digits, and not a place.
    """

    base: int = 0
    choices: bool = False


def _chosen(value: object, options: Sequence[str], labels: Sequence[str], numbers: Numbers) -> int | None:
    """The place of the right choice; None where the answer is a text that is none of them."""
    said = cells.text_of(value)
    if said in labels:
        return labels.index(said)
    if _is_number(said) and not (numbers.choices and said in options):
        at = int(said) - numbers.base
        if 0 <= at < len(options):
            return at
        if said not in options:
            raise ValueError(
                f"the answer is choice {said}, and there are {len(options)}, counted from {numbers.base}; mend it"
            )
    if said in options:
        return options.index(said)
    if len(said) == 1 and said.isascii() and said.isalpha():
        at = ord(said.upper()) - ord("A")
        if at < len(options):
            return at
    return None


def _is_number(said: str) -> bool:
    return said.isdecimal() and len(said) < 4


def _two_ways(value: object, options: Sequence[str], labels: Sequence[str], numbers: Numbers) -> bool:
    """Whether a number is one of the choices and also the place of another."""
    said = cells.text_of(value)
    if said in labels or not _is_number(said) or said not in options:
        return False
    at = int(said) - numbers.base
    return 0 <= at < len(options) and options[at] != said


def _numbers(table: Table, columns: Columns, extras: Extras) -> Numbers:
    """What numbers mean in a table.

    The first choice is 1 where no row says 0 and one says as many as there are choices; else 0. A number is a choice
    and no place where all of them are among their choices, unless they are true numbers that all can be places: a
    place is a number in JSON and Parquet, and in a CSV whatever it is is a text.
    """
    if not extras.choices:
        return Numbers()
    found = []
    for record in table.records:
        value, (options, labels) = record.get(columns.answer), _choices(record, extras)
        said = cells.text_of(value)
        if options and _is_number(said) and said not in labels:
            found.append((value, said, options))
    counted = [(int(said), len(options)) for _, said, options in found]
    base = int(bool(counted) and min(n for n, _ in counted) >= 1 and any(n == c for n, c in counted))
    fit = all(0 <= n - base < c for n, c in counted)
    true_numbers = all(not isinstance(value, str) for value, *_ in found)
    among = all(said in options for _, said, options in found)
    return Numbers(base, among and not (true_numbers and fit))


def _places(places: Sequence[int]) -> str:
    unique = list(dict.fromkeys(places))
    shown = ", ".join(map(str, unique[:NAMED_ROWS]))
    more = f" and {len(unique) - NAMED_ROWS} more" if len(unique) > NAMED_ROWS else ""
    return f"row{'s' * (len(unique) > 1)} {shown}{more}"
