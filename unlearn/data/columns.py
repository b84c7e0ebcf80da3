"""This module finds which column of a table holds what. A person may name it, or it has a usual name."""

from dataclasses import dataclass, fields

from unlearn.data.files import names
from unlearn.data.files.names import first_of
from unlearn.data.files.table import Table
from unlearn.data.turns import conversation

# The first rows of a table, which show what a column holds.
LOOK = 5
# A column of one of these names is likely half of a row, and is told where it stands alone.
HALVES = ("question", "answer", "instruction")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a table by their use: question and answer, or messages, or text. Each may have system
    and request (1…K) beside it.
    """

    question: str = ""
    answer: str = ""
    text: str = ""
    messages: str = ""
    system: str = ""
    request: str = ""

    def __post_init__(self) -> None:
        pair = bool(self.question) and bool(self.answer)
        forms = pair + bool(self.text) + bool(self.messages)
        if forms != 1 or bool(self.question) != bool(self.answer):
            raise ValueError(
                "columns: must name question and answer, or messages, or text alone, got "
                f"question={self.question!r}, answer={self.answer!r}, messages={self.messages!r}, text={self.text!r}. "
                "Give one of the three."
            )

    def by_role(self) -> dict[str, str]:
        """Return {use: column name} for the columns in use."""
        return {f.name: name for f in fields(self) if (name := getattr(self, f.name))}

    def named(self) -> tuple[str, ...]:
        """Return the names of the columns in use."""
        return tuple(self.by_role().values())


@dataclass(frozen=True)
class Extras:
    """The columns that add something to a row where a table has them. Each may be empty."""

    input: str = ""
    choices: str = ""
    wrong: str = ""
    paraphrase: str = ""
    asked_otherwise: str = ""
    truth: str = ""

    def named(self) -> tuple[str, ...]:
        """Return the names of the columns in use."""
        return tuple(name for f in fields(self) if (name := getattr(self, f.name)))


def columns_of(table: Table, said: dict[str, str] | None = None) -> Columns:
    """Return the columns that a person named (by field of Columns), completed by their usual names. A single
    column is text.

    ValueError, with the file's name and the columns there are, for one that does not exist and where nothing fits.
    """
    said = {what: name for what, name in (said or {}).items() if name}
    for name in said.values():
        if name not in table.columns:
            have = ", ".join(table.columns)
            raise ValueError(f"{table.name}: has no column {name!r}; it has {have}. Choose one of these.")
    if not table.columns:
        raise ValueError(
            f"{table.name}: its rows have no fields. Give each a question and an answer, or a text."
        )
    usual = _usual(table)
    aside = {what: said.get(what) or usual.get(what, "") for what in ("system", "request")}
    if said.keys() & {"question", "answer", "text", "messages"}:
        forms = {what: name for what, name in said.items() if what not in aside}
        if len(forms) == 1 and (other := {"question": "answer", "answer": "question"}.get(*forms)):
            forms[other] = usual.get(other, "")
            if not forms[other]:
                raise ValueError(
                    f"{table.name}: also needs its {other} column; it has {', '.join(table.columns)}. "
                    f"Name it with --{other}-column."
                )
        return Columns(**forms, **aside)
    if usual.get("messages"):
        return Columns(messages=usual["messages"], **aside)
    if usual.get("question") and usual.get("answer"):
        return Columns(question=usual["question"], answer=usual["answer"], **aside)
    if conversation(list(table.records[:LOOK])) is not None:
        raise ValueError(
            f"{table.name}: its rows are the turns of one conversation ({', '.join(table.columns)}), and a row is a "
            'whole one. Write {"messages": [the turns]}, one conversation a line.'
        )
    others = [column for column in table.columns if column not in aside.values()]
    if text := usual.get("text") or (others[0] if len(others) == 1 else ""):
        return Columns(text=text, **aside)
    raise ValueError(_nothing_fits(table))


def extras_of(table: Table, columns: Columns) -> Extras:
    """Return the further columns with usual names that have no other use."""
    free = tuple(column for column in table.columns if column not in columns.named())
    joined = names.spoken(columns.question) == "instruction"
    return Extras(
        input=first_of(free, names.INPUT) if joined else "",
        choices=first_of(free, names.CHOICES) if columns.question else "",
        wrong=first_of(free, names.WRONG),
        paraphrase=first_of(free, names.PARAPHRASE),
        asked_otherwise=first_of(free, names.ASKED_OTHERWISE) if columns.question else "",
        truth=first_of(free, names.TRUTH),
    )


def _usual(table: Table) -> dict[str, str]:
    """{field of Columns: column} by usual names; a column of messages must hold some."""
    found = {
        "question": first_of(table.columns, names.QUESTION),
        "answer": first_of(table.columns, names.ANSWER),
        "text": first_of(table.columns, names.TEXT),
        "system": first_of(table.columns, names.SYSTEM),
        "request": first_of(table.columns, names.REQUEST),
    }
    if first_of(table.columns, names.CHOICES) and not found["answer"]:
        found["answer"] = first_of(table.columns, names.INDEX)
    talks = [column for column in table.columns if names.spoken(column) in names.MESSAGES]
    found["messages"] = next((column for column in talks if _talks(table, column)), "")
    if not (found["question"] and found["answer"]) and not found["messages"]:
        pair = {found["question"], found["answer"]}
        # Preference data without a prompt hold the whole conversation twice; the rejected one is a wrong answer.
        talking = [column for column in table.columns if _talks(table, column)]
        alone = [column for column in talking if names.spoken(column) not in names.WRONG] or talking
        if len(alone) == 1 and pair <= {"", *alone}:
            found["messages"] = alone[0]
    return found


def _talks(table: Table, column: str) -> bool:
    cells = [record.get(column) for record in table.records[:LOOK]]
    try:
        return any(conversation(cell) for cell in cells)
    except ValueError:
        return True


def _says(table: Table, column: str) -> bool:
    """Whether a column holds words: two at least, so that a number or a name of a kind is none."""
    cells = [record.get(column) for record in table.records[:LOOK]]
    return any(isinstance(cell, str) and len(cell.split()) > 1 for cell in cells)


def _nests(table: Table, column: str) -> bool:
    """Whether a column holds objects in lists, which are no turns of a conversation."""
    cells = [record.get(column) for record in table.records[:LOOK]]
    lists = [cell for cell in cells if isinstance(cell, list) and cell]
    return bool(lists) and all(isinstance(one, dict) for one in lists[0]) and not _talks(table, column)


def _nothing_fits(table: Table) -> str:
    """What is wrong with the names, and what to do."""
    have = ", ".join(table.columns)
    if table.headless:
        line = "question,answer" if len(table.columns) == 2 else "names such as question,answer"
        return (
            f"{table.name}: has no header: line 1 ({table.headless!r}) reads like a row. Write {line} above it as a "
            "first line, with the separator that the file has."
        )
    nested = next((column for column in table.columns if _nests(table, column)), "")
    if nested and not any(_says(table, column) for column in table.columns if column != nested):
        return (
            f"{table.name}: the column {nested!r} holds objects that have fields of their own; write a row with a "
            "question and an answer, or a text, for each of them."
        )
    return (
        f"{table.name}: columns must be called question and answer, or messages, or text, got {have}. Say which column "
        "is which: --question-column NAME --answer-column NAME, or --messages-column NAME, or --text-column NAME."
    )
