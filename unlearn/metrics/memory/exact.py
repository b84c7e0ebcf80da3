"""Exact answer rate: share of questions whose greedy continuation begins with the right answer.

Both are lower-cased and reduced to their words first, and the answer must end at a word boundary, so that
"Paris." answers "Paris" but "Parisian" does not. A model that goes on talking is not punished for it.
"""

import re
import unicodedata

from unlearn.metrics.base import Metric, Observation, mean


def normalise_words(text: str) -> list[str]:
    """Return the lower-cased words and numbers of a text, in any script."""
    return re.findall(r"\w+", unicodedata.normalize("NFC", text).lower())


def begins_with(text: str, answer: str) -> bool:
    """Return whether the words of text begin with the words of answer. It is False for an answer without
    words.
    """
    wanted = normalise_words(answer)
    return bool(wanted) and normalise_words(text)[: len(wanted)] == wanted


def exact(observation: Observation) -> float | None:
    """Return 1 for a continuation that begins with the right answer, else 0. The result is None for a plain
    text, which has no question.
    """
    if not observation.question:
        return None
    return float(begins_with(observation.text, observation.answer))


EXACT = Metric(
    name="exact",
    title="Exact answers",
    help="Share of questions that greedy decoding answers with the right words. Higher is better known.",
    ideal="higher",
    fn=exact,
    combine=mean,
)
