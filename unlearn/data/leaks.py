"""This module finds leaks: texts outside the forget set that tell what is to be forgotten.

Where the retain set repeats a forget item, a method is told to keep what it is told to forget, and whatever is
measured afterwards says nothing about it. So this check runs before a run, on words alone, without a model.
It finds the same fact in nearly the same words. It does not find it told in quite other words: see RULE.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

from unlearn.data.base import Dataset, Row
from unlearn.data.search import Item, items

# Methods are trained on these roles or judged by them.
BESIDE = ("retain", "general", "neighbours")
# A leak repeats at least this share of a question's words, weighted by rarity.
QUESTION_SHARE = 0.75
# An answer with more words is searched for in pieces.
LONG = 8
# The number of words in a piece.
RUN = 5
# A leak repeats at least this share of an answer's pieces.
RUN_SHARE = 0.5
# The most pairs of texts that are compared. A larger set is checked in part, and the result says so.
MOST_PAIRS = 500_000
RULE = (
    f"A leak is a text outside the forget set with {QUESTION_SHARE:.0%} of the item's question (words weighted by how "
    "rare they are; a subject that the question names must be named in full) and its answer. An answer of more than "
    f"{LONG} words counts as told when {RUN_SHARE:.0%} of its runs of {RUN} words stand there. The same fact in quite "
    "other words is not found."
)


@dataclass(frozen=True)
class Leak:
    """A forget item with the outside text that repeats most of it. `more` counts the further texts that do
    so. `more` counts the other texts that repeat it.

    question: share of the question's words that stand there, weighted by rarity; 1 where there is no question.
    answer: share of the answer that stands there.
    """

    item: Item
    other: Item
    question: float
    answer: float
    more: int = 0


@dataclass(frozen=True)
class Leaks:
    """The leaks of a dataset, in the order of the forget set. `checked` of `n` forget items were examined."""

    found: tuple[Leak, ...]
    checked: int
    n: int


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"\w+", text.casefold())


def rarity(texts: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the weight of each word, which is higher for a rare word, as in TF-IDF: ln((1 + texts) / (1 +
    texts with the word)) + 1.
    """
    seen = Counter(word for text in texts for word in set(text))
    return {word: log((1 + len(texts)) / (1 + count)) + 1 for word, count in seen.items()}


def leaks(dataset: Dataset, roles: Sequence[str] = BESIDE) -> Leaks:
    """Return the forget items that a text of these roles repeats, by RULE."""
    outside = items(dataset, roles)
    texts = [split_words(_whole(item.row(dataset))) for item in outside]
    rows = dataset.rows("forget")
    weights = rarity([*texts, *(split_words(_whole(row)) for row in rows)])
    wanted = {run for row in rows for run in _runs(split_words(row.answer))}
    with_word, with_run = defaultdict(list), defaultdict(list)
    for i, text in enumerate(texts):
        for word in set(text):
            with_word[word].append(i)
        for run in set(_runs(text)) & wanted:
            with_run[run].append(i)
    found: list[Leak] = []
    pairs = 0
    for index, row in enumerate(rows):
        near = _candidates(row, weights, with_word, with_run)
        pairs += len(near)
        if pairs > MOST_PAIRS:
            return Leaks(tuple(found), index, len(rows))
        scored = [(*_shares(row, texts[i], weights), i) for i in near]
        told = [one for one in scored if one[0] >= QUESTION_SHARE and one[1] >= _needed(row)]
        if told:
            question, answer, i = max(told, key=lambda one: (one[0] + one[1], -one[2]))
            found.append(Leak(Item("forget", index), outside[i], question, answer, len(told) - 1))
    return Leaks(tuple(found), len(rows), len(rows))


def _whole(row: Row) -> str:
    return f"{row.question} {row.lead} {row.answer}"


def _runs(text: Sequence[str]) -> list[tuple[str, ...]]:
    """The runs of RUN words of a long text."""
    return [tuple(text[i : i + RUN]) for i in range(len(text) - RUN + 1)]


def _needed(row: Row) -> float:
    return RUN_SHARE if len(split_words(row.answer)) > LONG else 1.0


def _candidates(row: Row, weights: dict, with_word: dict, with_run: dict) -> set[int]:
    """Texts that can be leaks at all.

    Who has QUESTION_SHARE of a question has one of its rarest words that together weigh more than the rest may miss.
    """
    asked = set(split_words(row.question))
    answer = split_words(row.answer)
    if asked:
        rare = sorted(asked, key=lambda word: (-weights[word], word))
        missing, heavy = (1 - QUESTION_SHARE) * sum(weights[word] for word in asked), 0.0
        lists = []
        for word in rare:
            lists.append(with_word.get(word, ()))
            heavy += weights[word]
            if heavy > missing + 1e-9:
                break
    elif len(answer) > LONG:
        lists = [with_run.get(run, ()) for run in set(_runs(answer))]
    else:
        lists = [min((with_word.get(word, ()) for word in answer), key=len, default=())]
    return {i for some in lists for i in some}


def _shares(row: Row, text: Sequence[str], weights: dict[str, float]) -> tuple[float, float]:
    """(share of the question, share of the answer) that stand in the text."""
    there, asked, answer = set(text), set(split_words(row.question)), split_words(row.answer)
    whole, named = sum(weights[word] for word in asked), set(split_words(row.subject)) & asked
    if not named <= there:
        return 0.0, 0.0
    question = sum(weights[word] for word in asked & there) / whole if asked else 1.0
    if len(answer) > LONG:
        runs = set(_runs(answer))
        return question, len(runs & set(_runs(text))) / len(runs)
    return question, float(bool(answer) and _phrase(answer) in _phrase(text))


def _phrase(parts: Iterable[str]) -> str:
    return f" {' '.join(parts)} "
