"""This module chooses the answer tokens to focus on: entities, noun phrases or random ones.

The bundled data knows where its entities are. For other texts spaCy is asked where it and a model are installed;
otherwise the rule is: an entity is a run of capitalised words and numbers (the first word of a sentence too), a noun
phrase is a run of words of which none is a function word. Both are cruder than a parser; the random mask, equal
in size to the entities', is the control that tells what the choice of tokens is worth.
"""

import re
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from unlearn.compute.lazy import Tokenizer
from unlearn.compute.tokens import Example

if TYPE_CHECKING:
    import spacy

KINDS = ("entity", "noun phrase", "random")
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_WORDS = (
    "a about after all also although an and any are as at be because been before both but by can could did do does "
    "during each for from had has have he her hers him his how i if in into is it its just may me might more most must "
    "my no nor not of on one or our out over she should since so some such than that the their them then there these "
    "they this those through to too under until up upon us was we were what when where which while who whom whose why "
    "will with without would yes you your"
)
FUNCTION_WORDS = frozenset(_WORDS.split())


def focus_mask(tokenizer: Tokenizer, example: Example, kind: str, seed: int) -> list[bool]:
    """Return one flag for each answer token: whether it is in focus. ValueError for an unknown kind.
    End-of-text is never in focus.
    """
    if kind not in KINDS:
        raise ValueError(f"focus: must be among {', '.join(KINDS)}, got {kind!r}.")
    ordinary = [token not in tokenizer.all_special_ids for token in example.answer_ids]
    if kind == "random":
        size = sum(focus_mask(tokenizer, example, "entity", seed))
        places = [i for i, fits in enumerate(ordinary) if fits]
        chosen = set(Random(f"{seed} {example.key}").sample(places, min(size, len(places))))
        return [i in chosen for i in range(len(ordinary))]
    if kind == "entity" and any(example.entity):
        return [example.entity[at] for at in example.answer_at]
    text, ends = _pieces(tokenizer, example.answer_ids)
    inside = {i for start, end in spans(text, kind) for i in range(start, end)}
    starts = [0, *ends[:-1]]
    return [
        fits and not inside.isdisjoint(range(start, end))
        for fits, start, end in zip(ordinary, starts, ends, strict=True)
    ]


def spans(text: str, kind: str) -> list[tuple[int, int]]:
    """Return the character spans of entities or noun phrases in a text."""
    if parser := _spacy():
        parsed = parser(text)
        found = parsed.ents if kind == "entity" else parsed.noun_chunks
        return [(span.start_char, span.end_char) for span in found]

    def fits(word: str) -> bool:
        if kind == "entity":
            return word[0].isupper() or any(letter.isdigit() for letter in word)
        return word.lower() not in FUNCTION_WORDS

    return [match.span() for match in WORD.finditer(text) if fits(match.group())]


def _pieces(tokenizer: Tokenizer, ids: tuple[int, ...]) -> tuple[str, list[int]]:
    """The text of these tokens and where in it each of them ends."""
    read = [tokenizer.decode(ids[: i + 1], clean_up_tokenization_spaces=False) for i in range(len(ids))]
    return read[-1], [len(text) for text in read]


@lru_cache(maxsize=1)
def _spacy() -> "spacy.Language | None":
    try:
        import spacy

        return spacy.load("en_core_web_sm")
    except (ImportError, OSError):
        return None
