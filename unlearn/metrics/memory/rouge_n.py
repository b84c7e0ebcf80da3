"""ROUGE-1 and ROUGE-2 count the words and pairs of words that continuation and true text share (Lin 2004, W04-1013).

    o = Σ_g min(count of g in the true text, in the continuation), g the runs of n words
    R = o / runs of the true text,   P = o / runs of the continuation,   F1 = 2 P R / (P + R)

Words, and recall for questions but F1 for texts, are those of ROUGE-L (unlearn.metrics.memory.rouge). A summary has no
question, so that it gets the F1 that papers on summarisation state.
"""

from collections import Counter

from unlearn.metrics.base import Comparison, Evidence, Observation, Scores, per_text
from unlearn.metrics.memory.rouge import rouge_tokens


def rouge_n(observation: Observation, n: int) -> float | None:
    """Return ROUGE-n as recall (question) or F1 (text). It is 0 where nothing was said, and None where the true text
    has fewer than n words.
    """
    true, said = (_runs(text, n) for text in (observation.answer, observation.text))
    if not true:
        return None
    shared = (true & said).total()
    return shared / true.total() if observation.question else 2 * shared / (true.total() + said.total())


def _runs(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = rouge_tokens(text)
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def _metric(n: int) -> Comparison:
    def measure(evidence: Evidence) -> Scores:
        return per_text(
            evidence,
            evidence.roles,
            lambda when, role: [rouge_n(o, n) for o in evidence.seen(when, role)],
        )

    what = "words" if n == 1 else "pairs of words"
    return Comparison(
        name=f"rouge{n}",
        title=f"ROUGE-{n}",
        help=f"Share of {what} that continuation and true text have in common: recall of answers, F1 of texts.",
        ideal="higher",
        measure=measure,
        needs=f"true texts of at least {n} word{'s' * (n > 1)}",
        paper="Lin 2004, W04-1013",
    )


ROUGE_1, ROUGE_2 = _metric(1), _metric(2)
