"""The basic types of the data: a Row is one text to learn or forget, a Dataset holds rows by role.

Kept apart from the loaders, and free of torch and pandas, so that pages and the command line can
name datasets, roles and rows without loading anything heavy.
"""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

ROLES = {
    "forget": "what the model must forget",
    "retain": "same domain, other documents, which the model must keep",
    "general": "text from everywhere else, which the model must keep",
    "approximate": "same domain, never seen by the model: what not knowing looks like",
    "paraphrase": "the forget facts asked in words that were never trained on",
    "neighbours": "the retain rows most similar to the forget rows: collateral damage shows here first",
}
# What a person calls the rows of each role; files, commands and records have the role's own name.
TITLES = {
    "forget": "To forget",
    "paraphrase": "In other words",
    "retain": "To keep",
    "neighbours": "Close to it",
    "general": "General",
    "approximate": "Never seen",
}
# Methods may train on these roles, so scores need separate rows of them.
HELD_OUT = ("retain", "general")
# The hash of a dataset counts these fields of a Row only where they are filled.
LATER = (
    "system",
    "messages",
    "paraphrase",
    "asked_otherwise",
    "format",
    "truth",
)
# A role with fewer rows is too small to be split.
SPLIT_FROM = 8


@dataclass(frozen=True, kw_only=True)
class Row:
    """One question with its answer, or one plain text. A plain text has an empty question and is held in
    `answer`.

    lead: words that open the answer and are given to the model ("The capital of France is").
    wrong: perturbed answers of the same form. entities: character spans in answer.
    request: 1…K in the forget role, the deletion request that the row belongs to; 0 elsewhere.
    system, messages: what stands above a conversation, and its earlier turns as (user or assistant, text); question
    is the last user's turn. paraphrase: the answer in other words; asked_otherwise: the question in other words.
    truth: the right answer, where `answer` is a wrong one that was trained on (a mislabelled row).
    place: the row's number in its file, from 1; 0 where there is none. It is no part of what the row is.
    format: in which of unlearn.data.prompts' formats the model is asked.
    """

    answer: str
    question: str = ""
    lead: str = ""
    wrong: tuple[str, ...] = ()
    entities: tuple[tuple[int, int], ...] = ()
    subject: str = ""
    attribute: str = ""
    request: int = 0
    system: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    paraphrase: str = ""
    asked_otherwise: str = ""
    place: int = field(default=0, compare=False)
    format: str = "plain"
    truth: str = ""

    @property
    def prompt(self) -> str:
        """Return the text that the model is given in the plain format. It is empty for plain text."""
        if not self.question:
            return self.lead
        before = "".join(
            f"Question: {text}\n" if role == "user" else f"Answer: {text}\n\n" for role, text in self.messages
        )
        above = f"{self.system}\n\n" if self.system else ""
        lead = f" {self.lead}" if self.lead else ""
        return f"{above}{before}Question: {self.question}\nAnswer:{lead}"

    @property
    def target(self) -> str:
        """Return the text with which the model should continue. prompt + target is the full text."""
        return f" {self.answer}" if self.prompt else self.answer


def asked(prompt: str) -> str:
    """Return only the last question of a Row.prompt. For a plain text it is the lead."""
    last = prompt.rpartition("\n\nQuestion: ")[2]
    return last.removeprefix("Question: ").partition("\nAnswer:")[0]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The rows of a dataset by role (see ROLES). forget is never empty, and every other role may be missing.

    name is what config files and the command line say, title what a person reads.
    note: one sentence on where the rows come from and under which licence. warnings: what a person must be told.
    columns: what was read from which column of the forget table; left_out: how many of its records gave no row.
    """

    name: str
    title: str
    roles: Mapping[str, tuple[Row, ...]]
    note: str = ""
    warnings: tuple[str, ...] = field(default=())
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)
    left_out: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if unknown := set(self.roles) - set(ROLES):
            raise ValueError(
                f"data: roles must be among {', '.join(ROLES)}, got {', '.join(sorted(unknown))}."
            )
        if not self.roles.get("forget"):
            raise ValueError(
                f"data: the forget set of {self.name} is empty; give at least one row to forget."
            )

    def rows(self, role: str) -> tuple[Row, ...]:
        """Return all rows of a role, or none where the dataset lacks it."""
        return tuple(self.roles.get(role, ()))

    def fit_rows(self, role: str) -> tuple[Row, ...]:
        """Return the rows that a method may train on. In HELD_OUT roles these are two thirds of the rows,
        elsewhere all.
        """
        return _split(self.rows(role))[0] if role in HELD_OUT else self.rows(role)

    def score_rows(self, role: str) -> tuple[Row, ...]:
        """Return the rows that scores are computed on. In HELD_OUT roles these are the third that no method
        trains on.
        """
        return _split(self.rows(role))[1] if role in HELD_OUT else self.rows(role)

    def requests(self) -> tuple[int, ...]:
        """Return the numbers of the deletion requests in the forget role, from 1. The result is empty where
        it has none.
        """
        return tuple(sorted({row.request for row in self.rows("forget")} - {0}))

    def only_requests(self, wanted: tuple[int, ...]) -> "Dataset":
        """Return the same dataset with only these deletion requests to forget, and only their paraphrases.

        Raises ValueError for a request that does not exist.
        """
        if unknown := set(wanted) - set(self.requests()):
            have = ", ".join(map(str, self.requests())) or "none"
            first, more = sorted(unknown)[0], len(unknown) - 1
            raise ValueError(
                f"data: requests must be among {have}, got {first}{f' and {more} more' if more else ''}."
            )
        roles = dict(self.roles)
        for role in ("forget", "paraphrase"):
            roles[role] = tuple(row for row in self.rows(role) if row.request in wanted)
        return replace(self, roles=roles)

    def hash(self) -> str:
        """Return twelve hex digits that change when any row changes."""
        return self._hash

    # A form asks for it at each redraw.
    @cached_property
    def _hash(self) -> str:
        text = json.dumps({r: [_counted(row) for row in self.rows(r)] for r in ROLES}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _counted(row: Row) -> dict[str, object]:
    """What of a row its dataset's hash counts; rows that have none of LATER keep the hash that they always had."""
    # Its values are plain; asdict() would copy each of them, a thousand rows three times a run.
    kept = dict(vars(row))
    kept.pop("place")
    none = ("", (), "plain")
    return {name: value for name, value in kept.items() if name not in LATER or value not in none}


def _split(rows: tuple[Row, ...]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """(two thirds to train on, one third to score on), the same for the same rows; small sets serve both."""
    if len(rows) < SPLIT_FROM:
        return rows, rows
    order = list(range(len(rows)))
    random.Random(0).shuffle(order)
    held = set(order[: len(rows) // 3])
    return (
        tuple(row for i, row in enumerate(rows) if i not in held),
        tuple(row for i, row in enumerate(rows) if i in held),
    )
