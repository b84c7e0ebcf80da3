"""This module finds rows of a dataset. An Item names one row, as links and the command line do, and find()
searches them.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from unlearn.data.base import ROLES, Dataset, Row


class Item(NamedTuple):
    """The name of one row: its role and its index from 0. As text the number counts from 1, as people do:
    "forget:1".
    """

    role: str
    index: int  # type: ignore[assignment]  # a tuple's own index() is not used

    def __str__(self) -> str:
        return f"{self.role}:{self.index + 1}"

    def row(self, dataset: Dataset) -> Row:
        """Return the row of the dataset that the item names."""
        return dataset.rows(self.role)[self.index]


def items(dataset: Dataset, roles: Collection[str] = tuple(ROLES)) -> list[Item]:
    """Return an item for every row of these roles, in their order."""
    return [Item(role, i) for role in ROLES if role in roles for i in range(len(dataset.rows(role)))]


def item_named(dataset: Dataset, name: str) -> Item:
    """Return the item that a name like "forget:12" means. ValueError where there is none."""
    role, _, number = name.partition(":")
    count = len(dataset.rows(role))
    if not count:
        have = ", ".join(role for role in ROLES if dataset.rows(role))
        raise ValueError(f"item: the role before the colon must be among {have}, got {name!r}.")
    if not re.fullmatch(r"[0-9]{1,9}", number) or not 1 <= int(number) <= count:
        raise ValueError(f"item: the number after {role}: must lie in [1, {count}], got {number!r}.")
    return Item(role, int(number) - 1)


def find(
    dataset: Dataset, text: str, roles: Collection[str] = tuple(ROLES), *, whole_words: bool = False
) -> list[Item]:
    """Return the rows that have this text in question, lead, answer or subject, in upper or lower case. An
    empty text finds all rows.

    whole_words: the text must not begin or end inside a word ("art" then does not find "heart").
    """
    wanted = " ".join(text.casefold().split())
    if not wanted:
        return items(dataset, roles)
    edge = r"\b" if whole_words else ""
    before, after = (edge if re.match(r"\w", end) else "" for end in (wanted[:1], wanted[-1:]))
    pattern = re.compile(before + re.escape(wanted) + after)
    return [item for item in items(dataset, roles) if pattern.search(_searched(item.row(dataset)))]


def _searched(row: Row) -> str:
    parts = (row.question, f"{row.lead} {row.answer}", row.subject)
    return "\n".join(" ".join(part.casefold().split()) for part in parts)


def chosen_roles(words: str) -> tuple[str, ...]:
    """Return the roles in a text with commas between them, or all roles for an empty text. ValueError for one
    that does not exist.
    """
    names = tuple(name.strip() for name in words.split(",") if name.strip())
    if unknown := [name for name in names if name not in ROLES]:
        raise ValueError(f"role: must be among {', '.join(ROLES)}, got {unknown[0]!r}.")
    return names or tuple(ROLES)
