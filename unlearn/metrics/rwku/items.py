"""What RWKU's own metrics share: its names, and its ROUGE-L recall (Jin et al. 2024, arXiv 2406.10890)."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from unlearn.metrics.base import Evidence, Scores, over_texts

NAME = "rwku"
PAPER = "Jin et al. 2024, arXiv 2406.10890"
NEEDS = "RWKU's probes of one person (a run on rwku:NAME, or --benchmark rwku:NAME)"
# What stands in the place of an empty answer.
NOTHING = "NOANSWER"


def recall(truth: str, said: str) -> float:
    """Return ROUGE-L recall by the package rouge, the one that RWKU uses.

    It splits at white space alone and counts each word once, so that it differs from rouge-score's. ValueError without
    the package.
    """
    return float(_rouge().get_scores(hyps=said.strip() or NOTHING, refs=truth)[0]["rouge-l"]["r"])


@cache
def _rouge() -> Any:
    try:
        from rouge import Rouge
    except ImportError:
        raise ValueError(
            "rwku: its metrics need the package rouge; pip install rouge==1.0.1 brings it."
        ) from None
    return Rouge()


def recalls(evidence: Evidence, parts: Mapping[str, str]) -> Scores:
    """Return each model's mean recall on each of these parts, {part: the rows' name on screen}."""
    scores: Scores = {}
    for when in evidence.models:
        for part, title in parts.items():
            if part in evidence.parts:
                values = tuple(recall(i.truth, i.said) for i in evidence.answered(when, part))
                scores[when, title] = over_texts(values)
    return scores
