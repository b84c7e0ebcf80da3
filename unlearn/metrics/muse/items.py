"""What MUSE's own metrics share: the names of its parts, and its ROUGE-L (Shi et al. 2024, arXiv 2407.06460)."""

from functools import cache
from typing import Any

from unlearn.metrics.base import Evidence, Scores, over_texts

NAME = "muse"
PAPER = "Shi et al. 2024, arXiv 2407.06460"
NEEDS = "MUSE's parts (--benchmark muse-news, or a run on muse-news)"
# A question's answer ends where the model goes on to the next question.
ENDS = ("\n\n", "\nQuestion", "Question:")


def f1(truth: str, said: str) -> float:
    """Return ROUGE-L F1 without stems, by the package rouge-score, in per cent."""
    return 100 * float(_scorer().score(truth, said)["rougeL"].fmeasure)


@cache
def _scorer() -> Any:
    # It brings in nltk, which takes longer than all else here.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)


def first_answer(said: str) -> str:
    """Return what was said up to where the model goes on to a next question."""
    for end in ENDS:
        said = said.split(end)[0]
    return said


def overlap(evidence: Evidence, parts: dict[str, str], *, questions: bool) -> Scores:
    """Return each model's mean ROUGE-L F1 on each of these parts, {part: the rows' name on screen}."""
    scores: Scores = {}
    for when in evidence.models:
        for part, title in parts.items():
            if part in evidence.parts:
                items = evidence.answered(when, part)
                values = tuple(f1(i.truth, first_answer(i.said) if questions else i.said) for i in items)
                scores[when, title] = over_texts(values)
    return scores
