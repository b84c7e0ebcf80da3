"""Kept knowledge is one mean of probability, ROUGE-L and truth ratio on what should stay. It is the harmonic
mean over the roles retain, general and neighbours.

This project's own summary of what a model still knows. It is not TOFU's model utility, which reads other sets
(retain, real authors, world facts), normalises the probability on two of them and reads ROUGE-L as stemmed recall
(unlearn.results.tofu). Here the truth ratio enters as max(0, 1 - ratio), so that higher is better in all parts. Only
rows with wrong answers count, so that each part of a role is read on the same questions.
"""

from collections.abc import Mapping, Sequence

from unlearn.compute.intervals import of_harmonic
from unlearn.metrics.base import Comparison, Evidence, Score, Scores, mean
from unlearn.metrics.memory.probability import probability
from unlearn.metrics.memory.rouge import rouge_l
from unlearn.metrics.tofu.truth_ratio import truth_ratios

ROLES = ("retain", "general", "neighbours")
MEASURES = ("probability", "rougeL", "truth")


def harmonic_mean(values: Sequence[float]) -> float:
    """Return the harmonic mean of the values, n / Σ 1/v. It is 0 as soon as one value is 0."""
    return len(values) / sum(1 / v for v in values) if all(v > 0 for v in values) else 0.0


def asked_of(evidence: Evidence, when: str) -> dict[str, tuple[list[float], ...]]:
    """Return {role: (probability, ROUGE-L, truth of each question)} for the roles that have questions with wrong
    answers.
    """
    found: dict[str, tuple[list[float], ...]] = {}
    for role in (r for r in ROLES if r in evidence.roles):
        ratios = truth_ratios(evidence, when, role)
        asked = [
            (o, r)
            for o, r in zip(evidence.seen(when, role), ratios, strict=True)
            if r is not None and o.question
        ]
        if asked:
            found[role] = (
                [probability(o) or 0.0 for o, _ in asked],
                [rouge_l(o) for o, _ in asked],
                [max(0.0, 1.0 - ratio) for _, ratio in asked],
            )
    return found


def parts(asked: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, float]:
    """Return {"role measure": its mean} of what asked_of() gives."""
    return {
        f"{role} {name}": mean(values)
        for role, kinds in asked.items()
        for name, values in zip(MEASURES, kinds, strict=True)
    }


def measure(evidence: Evidence) -> Scores:
    """Return the kept knowledge of each model with its interval over the questions. per_example holds the parts, in
    the order of details["parts"].
    """
    scores: Scores = {}
    for when in evidence.models:
        if asked := asked_of(evidence, when):
            found = parts(asked)
            values = tuple(found.values())
            details = {"parts": found, "interval": of_harmonic(list(asked.values()))}
            scores[when, "all"] = Score(harmonic_mean(values), values, len(values), details)
    return scores


KEPT = Comparison(
    name="kept",
    title="Kept knowledge",
    help=(
        "Harmonic mean of answer probability, ROUGE-L and max(0, 1 - truth ratio) on retain, general, neighbours. "
        "Not TOFU's model utility, which reads other sets and normalises."
    ),
    ideal="higher",
    measure=measure,
    needs="questions to keep that have wrong answers",
)
