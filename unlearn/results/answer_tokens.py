"""Says how likely an answer is by its tokens, as probabilities and without the token that ends it.

A model that has forgotten an answer often still ends it where it should, so the end token would hide what was lost. No
torch.
"""

import math
from collections.abc import Sequence

from unlearn.results.compare import Record, number, rounded

# Below this a probability is said as an upper limit, because nobody reads more digits.
LEAST = 1e-4


def without_end(tokens: Sequence[Record], answer: str) -> list[Record]:
    """Return the tokens without the one that ends the answer, which is no part of its text."""
    head = "".join(token["token"] for token in tokens[:-1])
    ends = len(tokens) > 1 and head.strip() == answer.strip()
    return list(tokens[:-1] if ends else tokens)


def probability(tokens: Sequence[Record], answer: str) -> float:
    """Return the probability of the whole answer without its end token. It is nan without tokens."""
    known = without_end(tokens, answer)
    return math.exp(sum(number(token["lp"]) for token in known)) if known else math.nan


def percent(value: float) -> str:
    """Write a probability: "95 %", "0.62 %", "< 0.01 %"."""
    if not math.isfinite(value):
        return "no number"
    if value < LEAST:
        return f"< {rounded(100 * LEAST)} %"
    return f"{100 * value:.0f} %" if value >= 0.095 else f"{100 * value:.2g} %"


def shift_words(before: Record, after: Record, answer: str, name: str) -> str:
    """Return "probability 95 % before, 0.62 % after (the whole answer, without its end token)".

    before, after: two samples of the same row. name says what the second one is.
    """
    values = [percent(probability(sample["tokens"], answer)) for sample in (before, after)]
    ended = len(without_end(before["tokens"], answer)) < len(before["tokens"])
    whole = "the whole answer, without its end token" if ended else "the whole answer"
    return f"probability {values[0]} before, {values[1]} {name[:1].lower() + name[1:]} ({whole})"
