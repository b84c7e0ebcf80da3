"""REP_n is the share of a continuation's n-grams that repeat an earlier one (Welleck et al., arXiv
1908.04319). The paper calls it seq-rep-n.
"""

from collections.abc import Sequence

from unlearn.metrics.base import Comparison, Evidence, Scores, per_text
from unlearn.metrics.memory.el import ngrams


def repetition(tokens: Sequence[int], n: int) -> float | None:
    """Return the share of repeated n-grams: 1 - distinct n-grams / n-grams. The result is None for fewer than
    n tokens.
    """
    grams = ngrams(tokens, n)
    return 1.0 - len(set(grams)) / len(grams) if grams else None


def _metric(n: int) -> Comparison:
    def measure(evidence: Evidence) -> Scores:
        return per_text(
            evidence,
            evidence.roles,
            lambda when, role: [repetition(tokens, n) for tokens in evidence.generated(when, role)],
        )

    return Comparison(
        name=f"rep_{n}",
        title=f"REP {n}",
        help=f"1 - distinct / all {n}-grams of a greedy continuation, mean over texts.",
        ideal="lower",
        measure=measure,
        needs=f"continuations of at least {n} tokens",
        paper="Welleck et al. 2020, arXiv 1908.04319",
    )


REP_2, REP_3, REP_4 = _metric(2), _metric(3), _metric(4)
