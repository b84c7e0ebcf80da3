"""TOFU's ROUGE-L recall: the words of the true answer that the greedy continuation has in the same order, over all of
the true answer's words. Words are stemmed (Porter), by the package rouge-score.

Ours (metrics/memory/rouge.py) is the same without stems, so that it serves every script; on TOFU the two differ in a
few rows of a hundred.
"""

from functools import cache
from typing import Any


def recall(truth: str, said: str) -> float:
    """Return the recall of the truth's words in what was said."""
    return float(_scorer().score(truth, said)["rougeL"].recall)


def recall_of_words(truth: str, said: str) -> float:
    """Return the share of single words of the truth that were said (ROUGE-1), which TOFU logs beside it."""
    return float(_scorer().score(truth, said)["rouge1"].recall)


@cache
def _scorer() -> Any:
    # It brings in nltk, which takes longer than all else here.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
