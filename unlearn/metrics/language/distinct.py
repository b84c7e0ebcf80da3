"""Distinct-n is the share of different n-grams in a role's continuations (Li et al. 2016, arXiv 1510.03055).
It counts all continuations of the role together.
"""

from unlearn.metrics.base import Comparison, Evidence, Score, Scores
from unlearn.metrics.memory.el import ngrams


def _metric(n: int) -> Comparison:
    def measure(evidence: Evidence) -> Scores:
        """per_example: distinct / all within each continuation that holds n tokens."""
        scores: Scores = {}
        for when in evidence.models:
            for role in evidence.roles:
                texts = [g for tokens in evidence.generated(when, role) if (g := ngrams(tokens, n))]
                if texts:
                    together = [gram for grams in texts for gram in grams]
                    own = tuple(len(set(grams)) / len(grams) for grams in texts)
                    scores[when, role] = Score(len(set(together)) / len(together), own, len(own))
        return scores

    return Comparison(
        name=f"distinct_{n}",
        title=f"Distinct {n}",
        help=f"Distinct {n}-grams over all {n}-grams of the greedy continuations of a role, taken together.",
        ideal="higher",
        measure=measure,
        needs=f"continuations of at least {n} tokens",
        paper="Li et al. 2016, arXiv 1510.03055",
    )


DISTINCT_1, DISTINCT_2 = _metric(1), _metric(2)
