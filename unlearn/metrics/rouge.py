"""ROUGE-L between greedy continuation and true text: recall for questions, F1 for plain text (rouge-score).

Words are those of rouge-score on ASCII; its own tokenizer throws every other script away, ours keeps it.
"""

import re
from functools import lru_cache
from typing import Any

from unlearn.metrics.base import Metric, Observation, mean


class Words:
    """What rouge-score asks of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"[^\W_]+", text.lower())


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=Words())


def rouge_l(observation: Observation) -> float:
    """Longest common subsequence of words, as recall (question) or F1 (plain text)."""
    score = _scorer().score(observation.answer, observation.text)["rougeL"]
    return score.recall if observation.question else score.fmeasure


ROUGE_L = Metric(
    name="rougeL",
    title="ROUGE-L",
    help="Overlap of the continuation with the true text, 0 to 1. Higher is better known.",
    ideal="higher",
    fn=rouge_l,
    combine=mean,
)
