"""ROUGE-L measures the words that greedy continuation and true text share in order (Lin 2004, W04-1013). It
is recall for questions and F1 for plain text.

    R = LCS(true, text) / |true|,   P = LCS(true, text) / |text|,   F1 = 2 P R / (P + R)

over lower-cased words; on ASCII those of the package rouge-score, whose own tokenizer throws every other script away.
The package itself is the tests' reference only: importing it brings in nltk, which takes longer than all our scoring.
"""

import re
from collections.abc import Sequence

from unlearn.metrics.base import Metric, Observation, mean


def rouge_tokens(text: str) -> list[str]:
    """Return the lower-cased runs of letters and digits, in any script."""
    return re.findall(r"[^\W_]+", text.lower())


def common(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence. The bits of one integer hold a column of the table
    (Hyyrö 2004).
    """
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    column = whole = (1 << len(a)) - 1
    for word in b:
        hits = column & places.get(word, 0)
        column = (column + hits | column - hits) & whole
    return len(a) - column.bit_count()


def rouge_l(observation: Observation) -> float:
    """Return ROUGE-L as recall (question) or F1 (plain text). It is 0 where either text has no words."""
    true, said = rouge_tokens(observation.answer), rouge_tokens(observation.text)
    if not true or not said:
        return 0.0
    shared = common(true, said)
    return shared / len(true) if observation.question else 2 * shared / (len(true) + len(said))


ROUGE_L = Metric(
    name="rougeL",
    title="ROUGE-L",
    help="Overlap of the continuation with the true text, 0 to 1. Higher is better known.",
    ideal="higher",
    fn=rouge_l,
    combine=mean,
)
