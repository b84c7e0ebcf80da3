"""RWKU's membership scores: means over texts about the person (forget) and about others (retain), each higher for a
text that is better known.

    loss       mean log-prob of a token                      zlib  the same over the bytes of zlib(text)
    Min-K%++   mean of the 20 % lowest (log p - μ) / σ

RWKU compares the two means before and after and takes no AUC; the signs are those of its code (a log-likelihood).
"""

import zlib
from collections.abc import Callable
from functools import partial

from unlearn.metrics.base import Answered, Comparison, Evidence, Scores, mean, over_texts
from unlearn.metrics.membership.mia import MIN_SIGMA, lowest
from unlearn.metrics.rwku.items import NAME, NEEDS, PAPER

PARTS = {"rwku forget_mia": "forget", "rwku retain_mia": "retain"}
SHARE = 20


def loss(item: Answered) -> float:
    """Return the mean log-prob of the text's tokens."""
    return mean(item.lps)


def compressed(item: Answered) -> float:
    """Return the mean log-prob over the bytes of the compressed text."""
    return mean(item.lps) / len(zlib.compress(item.truth.encode()))


def min_k_plus(item: Answered) -> float:
    """Return the mean of the 20 % lowest standardised log-probs."""
    both = zip(item.lps, item.mu, item.sigma, strict=True)
    return lowest([(lp - mu) / max(sigma, MIN_SIGMA) for lp, mu, sigma in both], SHARE)


def measure(evidence: Evidence, score: Callable[[Answered], float]) -> Scores:
    """Return each model's mean on the texts about the person and about others."""
    scores: Scores = {}
    for when in evidence.models:
        for part, title in PARTS.items():
            if part in evidence.parts:
                values = tuple(score(item) for item in evidence.answered(when, part) if item.lps)
                scores[when, title] = over_texts(values)
    return scores


def _metric(name: str, title: str, what: str, score: Callable[[Answered], float]) -> Comparison:
    return Comparison(
        name=f"rwku_mia_{name}",
        title=f"RWKU MIA {title}",
        help=(
            f"Mean over texts of {what}, on texts about the person (forget) and about others (retain). MIA {title}, "
            "ours, is the AUC of forget against never-seen rows."
        ),
        ideal="higher",
        measure=partial(measure, score=score),
        needs=NEEDS,
        paper=PAPER,
        benchmark=NAME,
    )


MEMBERSHIP = (
    _metric("loss", "loss", "the mean log-prob of a token", loss),
    _metric("zlib", "zlib", "the mean log-prob over the bytes of zlib(text)", compressed),
    _metric("min_k_plus", "Min-K%++", "the mean of the 20 % lowest standardised log-probs", min_k_plus),
)
