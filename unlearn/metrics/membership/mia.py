"""Membership inference attacks try to tell forget texts (members) from approximate ones. Approximate texts
were never seen. The ideal AUC is 0.5. Ideal AUC 0.5.

Five attacks, each a score that is higher for a member. l: log-probs of the answer tokens.
    loss       mean(l)                                                     Yeom et al. 2018, arXiv 1709.01604
    zlib       mean(l) / bytes of zlib(answer)                             Carlini et al. 2021, arXiv 2012.07805
    Min-K%     mean of the K % lowest l, at least one                      Shi et al. 2024, arXiv 2310.16789
    Min-K%++   the same of (l - μ) / σ, log-prob's moments under the model Zhang et al. 2024, arXiv 2404.02936
    reference  mean(l) - mean(l) of the original model                     Carlini et al. 2021, arXiv 2012.07805
An AUC below 0.5 is a leak too (over-forgetting), which max(AUC, 1-AUC) alone would hide: both are given.
"""

import zlib
from collections.abc import Callable, Sequence

from unlearn.metrics.base import Comparison, Evidence, Observation, Score, Scores, mean
from unlearn.metrics.membership.roc import summary
from unlearn.metrics.memory.nll import text_nll

MEMBERS, OTHERS = "forget", "approximate"
# The values of K, in per cent.
SHARES = tuple(range(10, 101, 10))
# Both papers use this K by default.
DEFAULT_K = 20
# The smallest σ to divide by, because a model that is certain has σ = 0.
MIN_SIGMA = 1e-6
# A function of (observation, answer text, original's observation) that returns a score.
Attack = Callable[[Observation, str, Observation], float]


def lowest(values: Sequence[float], share: int) -> float:
    """Return the mean of the `share` per cent lowest values. These are the integer part of share · n / 100
    values, at least one.
    """
    return mean(sorted(values)[: max(1, share * len(values) // 100)])


def loss_score(o: Observation, answer: str, original: Observation) -> float:
    """Return the mean log-prob of the answer tokens."""
    return -text_nll(o)


def zlib_score(o: Observation, answer: str, original: Observation) -> float:
    """Return the mean log-prob of the answer tokens divided by the compressed bytes of the answer."""
    return -text_nll(o) / len(zlib.compress(answer.encode()))


def reference_score(o: Observation, answer: str, original: Observation) -> float:
    """Return the mean log-prob of the answer tokens minus the same under the original model."""
    return text_nll(original) - text_nll(o)


def min_k(share: int) -> Attack:
    """Return the Min-K% attack, which reads the mean of the lowest `share` per cent of log-probs."""
    return lambda o, answer, original: lowest([t["lp"] for t in o.tokens], share)


def min_k_plus(share: int) -> Attack:
    """Return the Min-K%++ attack, which normalises each log-prob by mean and standard deviation before
    Min-K%.
    """
    return lambda o, answer, original: lowest(
        [(t["lp"] - t["mu"]) / max(t["sigma"], MIN_SIGMA) for t in o.tokens], share
    )


def scores_of(evidence: Evidence, when: str, role: str, attack: Attack) -> list[float]:
    """Return one membership score for each row of the role."""
    texts = zip(evidence.seen(when, role), evidence.rows(role), evidence.seen("before", role), strict=True)
    return [attack(o, row.answer, original) for o, row, original in texts]


def leak(evidence: Evidence, when: str, attack: Attack) -> Score | None:
    """Return the AUC of an attack with its details. per_example: the members' scores, then the non-members'."""
    sides = [scores_of(evidence, when, role, attack) for role in (MEMBERS, OTHERS)]
    found = summary(*sides)
    if found is None:
        return None
    value, values = found.pop("auc"), (*sides[0], *sides[1])
    return Score(value, values, len(values), found)


def has_sides(evidence: Evidence) -> bool:
    """Return whether the evidence has the members, the non-members and the model before."""
    return {MEMBERS, OTHERS} <= set(evidence.roles) and "before" in evidence.models


def _attacked(evidence: Evidence, attacks: dict[int, Attack], main: int, but: tuple[str, ...] = ()) -> Scores:
    """The main attack's score of each model, with the AUC of all K beside it where there are several."""
    if not has_sides(evidence):
        return {}
    scores: Scores = {}
    for when in (w for w in evidence.models if w not in but):
        found = {k: score for k, attack in attacks.items() if (score := leak(evidence, when, attack))}
        if main in found:
            by_k = {"k": main, "auc_by_k": {k: score.value for k, score in found.items()}}
            main_score = found[main]
            details = dict(main_score.details) | (by_k if len(attacks) > 1 else {})
            scores[when, MEMBERS] = Score(main_score.value, main_score.per_example, main_score.n, details)
    return scores


def _metric(
    name: str, title: str, rule: str, paper: str, attacks: dict[int, Attack], but: tuple[str, ...] = ()
) -> Comparison:
    return Comparison(
        name=f"mia_{name}",
        title=f"MIA {title}",
        help=f"AUC of telling forget texts from never-seen ones by {rule}; 0.5 is chance, below it over-forgetting.",
        ideal=0.5,
        measure=lambda evidence: _attacked(evidence, attacks, DEFAULT_K if len(attacks) > 1 else 0, but),
        needs="rows never seen (role approximate) and finite log-probs",
        paper=paper,
    )


LOSS = _metric("loss", "loss", "mean log-prob", "Yeom et al. 2018, arXiv 1709.01604", {0: loss_score})
ZLIB = _metric(
    "zlib",
    "zlib",
    "mean log-prob over the compressed length of the answer",
    "Carlini et al. 2021, arXiv 2012.07805",
    {0: zlib_score},
)
MIN_K = _metric(
    "min_k",
    "Min-K%",
    f"the mean of the K % lowest log-probs (K = {DEFAULT_K}; all K beside it)",
    "Shi et al. 2024, arXiv 2310.16789",
    {k: min_k(k) for k in SHARES},
)
MIN_K_PLUS = _metric(
    "min_k_plus",
    "Min-K%++",
    f"the mean of the K % lowest standardised log-probs (K = {DEFAULT_K}; all K beside it)",
    "Zhang et al. 2024, arXiv 2404.02936",
    {k: min_k_plus(k) for k in SHARES},
)
# The original model is left out, because it is the reference itself.
REFERENCE = _metric(
    "reference",
    "reference",
    "the gain in mean log-prob over the original model",
    "Carlini et al. 2021, arXiv 2012.07805",
    {0: reference_score},
    but=("before",),
)
