"""This module makes another forget set from a dataset's rows and keeps the rest of them.

What a model knows stands in the roles of POOL, so these are dealt anew. general and approximate stay as they are, and
paraphrases follow the facts that they ask for (those that do not say whom they are about are left out).
"""

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from unlearn.data.base import Dataset, Row
from unlearn.data.search import Item, items

if TYPE_CHECKING:
    from unlearn.data.similar import Similar

# The roles whose rows are divided again.
POOL = ("forget", "retain", "neighbours")
# The subjects that an error names.
SHOWN = 3


def subjects(dataset: Dataset) -> list[str]:
    """Return the people or things that the rows of POOL are about, in their order. Rows that do not state it
    are skipped.
    """
    return list(dict.fromkeys(s for item in items(dataset, POOL) if (s := item.row(dataset).subject)))


def of_subjects(dataset: Dataset, wanted: Sequence[str]) -> list[list[Item]]:
    """Return all rows of each subject, as one deletion request for each. ValueError for a subject that does
    not exist.
    """
    known = subjects(dataset)
    if unknown := [name for name in wanted if name not in known]:
        part = unknown[0].lower()
        near = [name for name in known if part in name.lower()] or get_close_matches(unknown[0], known)
        names = ", ".join(map(repr, (near or known)[:SHOWN]))
        such = (
            f"Choose among those that it names, such as {names}, or split by rows."
            if known
            else "Split by rows."
        )
        raise ValueError(f"subjects: {unknown[0]!r} is none of this data set. {such}")
    about: dict[str, list[Item]] = {name: [] for name in wanted}
    for item in items(dataset, POOL):
        if (name := item.row(dataset).subject) in about:
            about[name].append(item)
    return list(about.values())


def at_random(dataset: Dataset, share: float, seed: int) -> list[list[Item]]:
    """Return a random share of POOL's rows, at least one. The same rows and seed give the same choice."""
    if not 0 < share < 1:
        raise ValueError(f"share: must lie between 0 and 1, got {share:g}. Give 0.1 for a tenth.")
    pool = items(dataset, POOL)
    return [sorted(random.Random(seed).sample(pool, min(len(pool), max(1, round(share * len(pool))))))]


def split(
    dataset: Dataset,
    requests: Sequence[Collection[Item]],
    *,
    name: str,
    neighbours: int = 0,
    similar: "Similar | None" = None,
) -> Dataset:
    """Return the same rows with these to forget. More than one group makes numbered deletion requests.

    neighbours: so many rows of the rest that are nearest to each forget item are put aside in their role (similar
    is needed then). Raises ValueError when too little is left to forget or to keep.
    """
    if neighbours < 0:
        raise ValueError(
            f"neighbours: rows put aside must be 0 or more, got {neighbours}. Give another number."
        )
    chosen = {item: number for number, group in enumerate(requests, start=1) for item in group}
    if outside := sorted({item.role for item in chosen} - set(POOL)):
        raise ValueError(
            f"forget set: rows must come from {', '.join(POOL)}, got one of {outside[0]}. Leave that role out."
        )
    rest = [item for item in items(dataset, POOL) if item not in chosen]
    beside: set[Item] = set()
    if neighbours and chosen and rest:
        if similar is None:
            raise ValueError("neighbours: need an index of similar texts (unlearn.data.similar). Give one.")
        beside = {near.item for some in similar.nearest(list(chosen), rest, neighbours) for near in some}
    kept = [item for item in rest if item not in beside]
    if not chosen:
        raise ValueError("forget set: must have at least one row, got none. Choose more.")
    if not kept:
        raise ValueError(
            "retain set: must have at least one row, got none. Forget fewer rows, "
            "or put fewer neighbours aside."
        )
    numbered = len(requests) > 1
    forget = [
        replace(item.row(dataset), request=number * numbered)
        for item, number in sorted(chosen.items(), key=lambda pair: (pair[1] * numbered, pair[0]))
    ]
    asked = {fact(row): row.request for row in forget}
    roles = {
        "forget": tuple(forget),
        "retain": tuple(replace(item.row(dataset), request=0) for item in kept),
        "neighbours": tuple(replace(item.row(dataset), request=0) for item in rest if item in beside),
        "paraphrase": tuple(
            replace(row, request=asked[fact(row)])
            for row in dataset.rows("paraphrase")
            if fact(row) in asked.keys() - {None}
        ),
    }
    roles = {role: rows for role, rows in (dict(dataset.roles) | roles).items() if rows}
    return Dataset(
        name=name, title=name, roles=roles, note=f"Split from {dataset.title}. {dataset.note}".strip()
    )


def fact(row: Row) -> tuple[str, ...] | None:
    """Return the parts that two wordings of one fact share. The result is None for a row that does not state
    its subject.
    """
    return (row.subject, row.attribute, row.answer) if row.subject else None


def wordings(dataset: Dataset, item: Item) -> list[Item]:
    """Return the items of forget and paraphrase that state the same fact in other words."""
    known = fact(item.row(dataset))
    both = items(dataset, ("forget", "paraphrase"))
    return [other for other in both if known and other != item and fact(other.row(dataset)) == known]


def name_of(dataset: Dataset, how: str) -> str:
    """Return a name for files and lists such as "authors-split-alma-reyes". It is never that of the whole
    dataset and has at most 60 letters.
    """
    return re.sub(r"[^\w]+", "-", f"{dataset.name} split {how}".lower()).strip("-")[:60]
