"""This module reads conversations and cuts them into exchanges. Turns of a user, an assistant and a system
may have several names in a file.

An exchange is what stands before an assistant's turn, and that turn. Turns of tools are no words of a person: an
answer that follows one is left out, and said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unlearn.data.cells import list_of, text_of
from unlearn.data.files.jsons import is_turns

LAST, ALL = "last", "all"
TURNS = (LAST, ALL)
ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter", "instruction"),
    "assistant": ("assistant", "gpt", "model", "bot", "chatgpt", "ai", "chatbot"),
    "tool": ("tool", "function", "function_call", "observation", "ipython", "tool_call", "tool_response"),
}
_ROLE = {name: role for role, names in ROLES.items() for name in names}


class Turn(NamedTuple):
    """One turn of a conversation: who speaks (a key of ROLES), and what."""

    role: str
    content: str


@dataclass(frozen=True)
class Exchange:
    """An answer with the question and the earlier turns before it. system: the words above all turns."""

    question: str
    answer: str
    earlier: tuple[Turn, ...] = ()
    system: str = ""


def conversation(value: object) -> list[Turn] | None:
    """Return the turns that a cell holds, also where a table wrote them as text. The result is None where it
    holds none.

    ValueError for a turn that has no text, or whose role is none of ROLES.
    """
    found = list_of(value)
    if found is None or not is_turns(found):
        return None
    # is_turns() has checked that each turn is an object.
    turns = (turn for turn in found if isinstance(turn, Mapping))
    return [_turn(turn, number) for number, turn in enumerate(turns, start=1)]


def _turn(turn: Mapping[str, object], number: int) -> Turn:
    said = turn.get("role", turn.get("from"))
    role = _ROLE.get(str(said).strip().lower())
    if role is None:
        raise ValueError(
            f"turn {number} is said by {str(said)[:40]!r}; known are {', '.join(sorted(_ROLE))}. Rename that role"
        )
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        kinds = {part.get("type", "text") for part in content if isinstance(part, dict)}
        if other := kinds - {"text", "input_text", "output_text"}:
            raise ValueError(
                f"turn {number} holds {min(map(str, other))}; only text can be read. Take it out"
            )
        return Turn(role, "\n".join(filter(None, map(text_of, content))))
    return Turn(role, text_of(content))


def exchanges(turns: Sequence[Turn], which: str = LAST) -> list[Exchange]:
    """Return the last exchange, or all of them. Turns of one speaker that follow each other are joined, and
    empty ones are dropped.
    """
    system = "\n\n".join(turn.content for turn in turns if turn.role == "system" and turn.content)
    joined: list[Turn] = []
    for turn in turns:
        if turn.role == "system" or not (turn.content or turn.role == "tool"):
            continue
        if joined and joined[-1].role == turn.role:
            joined[-1] = Turn(turn.role, f"{joined[-1].content}\n\n{turn.content}")
        else:
            joined.append(turn)
    found = [
        Exchange(joined[at - 1].content, turn.content, tuple(joined[: at - 1]), system)
        for at, turn in enumerate(joined)
        if turn.role == "assistant" and at and joined[at - 1].role == "user"
    ]
    return found if which == ALL else found[-1:]
