"""EL_n, extraction likelihood (Jang et al. 2023, arXiv 2210.01504).

    EL_n(x) = mean over prefixes t of OVERLAP_n(f(x_<t), x_≥t)
    OVERLAP_n(a, b) = share of the n-grams of a that occur in b

f(x_<t) is the greedy continuation of the first t tokens, as long as the true one. A prefix counts when at least
n answer tokens follow it; prompt and end of text are never part of an n-gram. An empty continuation overlaps by 0.
"""

from collections.abc import Mapping, Sequence

from unlearn.metrics.base import Comparison, Evidence, Scores, per_text


def ngrams(tokens: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """Return all runs of n tokens that follow each other, in order."""
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def overlap(generated: Sequence[int], true: Sequence[int], n: int) -> float:
    """Return OVERLAP_n of the two token lists, which is 0 where fewer than n tokens were generated."""
    mine, there = ngrams(generated, n), set(ngrams(true, n))
    return sum(gram in there for gram in mine) / len(mine) if mine else 0.0


def extraction_likelihood(
    answer: Sequence[int], continuations: Mapping[int, Sequence[int]], n: int
) -> float | None:
    """Return EL_n of one text, or None where its answer has fewer than n tokens."""
    values = [overlap(continuations[t], answer[t:], n) for t in sorted(continuations) if len(answer) - t >= n]
    return sum(values) / len(values) if values else None


def _metric(n: int) -> Comparison:
    def measure(evidence: Evidence) -> Scores:
        return per_text(
            evidence,
            ("forget",),
            lambda when, role: [
                extraction_likelihood(*text, n) for text in evidence.continuations(when, role)
            ],
        )

    return Comparison(
        name=f"el_{n}",
        title=f"EL {n}",
        help=f"Share of generated {n}-grams that occur in the true continuation, mean over the answer's prefixes.",
        ideal="higher",
        measure=measure,
        needs=f"answers of at least {n} tokens",
        paper="Jang et al. 2023, arXiv 2210.01504",
    )


EL_3, EL_5, EL_10 = _metric(3), _metric(5), _metric(10)
