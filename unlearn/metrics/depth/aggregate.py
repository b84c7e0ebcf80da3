"""The aggregate joins memory, privacy and utility, each a harmonic mean of parts (OpenUnlearning, arXiv 2506.12618).

    memory   HM(1 - extraction strength, 1 - exact memorisation, 1 - probability asked otherwise, 1 - truth ratio)
    privacy  HM over four membership attacks of max(0, 1 - |AUC - AUC_retrained| / AUC_retrained)
    utility  HM(kept knowledge, fluency)
    total    HM(memory, privacy, utility), only where all three are there

Exact memorisation is the share of answer tokens that are the first choice; the truth ratio is p_right / (p_right +
p_wrong), both per token. Fluency, ours, is the original model's perplexity on what the retrained model says about the
forget texts over its perplexity on what this model says, at most 1: who never knew the answers says others, which are
unlikely to the original and no worse language. Without a retrained model the original's own words stand in its place.
OpenUnlearning asks a trained classifier, which would have to be downloaded. A total is never shown without its parts:
it hides which of them failed.
"""

import math
from collections.abc import Sequence

from unlearn.metrics.base import Comparison, Evidence, Score, Scores, mean
from unlearn.metrics.knowledge.kept import asked_of, harmonic_mean
from unlearn.metrics.knowledge.kept import parts as kept_parts
from unlearn.metrics.membership.mia import (
    DEFAULT_K,
    has_sides,
    leak,
    loss_score,
    min_k,
    min_k_plus,
    zlib_score,
)
from unlearn.metrics.memory.accuracy import text_accuracy
from unlearn.metrics.memory.extraction import text_extraction
from unlearn.metrics.memory.probability import probability
from unlearn.metrics.tofu.truth_ratio import truth_ratios

Parts = dict[str, float]
ATTACKS = {
    "loss": loss_score,
    "zlib": zlib_score,
    "Min-K%": min_k(DEFAULT_K),
    "Min-K%++": min_k_plus(DEFAULT_K),
}


def memory(evidence: Evidence, when: str) -> Parts:
    """Return the four parts of memory, or nothing without forget questions and the same asked otherwise."""
    if not {"forget", "paraphrase"} <= set(evidence.roles):
        return {}
    forget, otherwise = (evidence.seen(when, role) for role in ("forget", "paraphrase"))
    likely = [p for o in otherwise if (p := probability(o)) is not None]
    truths = [1 / (1 + r) for r in truth_ratios(evidence, when, "paraphrase") if r is not None]
    if not likely or not truths:
        return {}
    return {
        "1 - extraction strength": 1 - mean([text_extraction(o) for o in forget]),
        "1 - exact memorisation": 1 - mean([text_accuracy(o) for o in forget]),
        "1 - probability asked otherwise": 1 - mean(likely),
        "1 - truth ratio": 1 - mean(truths),
    }


def closeness(auc: float, retrained: float) -> float:
    """Return 1 where an attack tells as much as on the retrained model, and 0 where it is off by that AUC or more."""
    return max(0.0, 1 - abs(auc - retrained) / retrained) if retrained else 0.0


def privacy(evidence: Evidence, when: str) -> Parts:
    """Return the closeness of each membership attack to the retrained model, or nothing without that model."""
    if not has_sides(evidence) or "retrained" not in evidence.models:
        return {}
    found: Parts = {}
    for name, attack in ATTACKS.items():
        pair = [leak(evidence, model, attack) for model in (when, "retrained")]
        if pair[0] is None or pair[1] is None:
            return {}
        found[f"MIA {name}"] = closeness(pair[0].value, pair[1].value)
    return found


def fluency(own: Sequence[float | None], fluent: Sequence[float | None]) -> float | None:
    """Return the perplexity of a fluent model's continuations over that of this model's, at most 1.

    own, fluent: the mean loss a token of each continuation under the original, None for an empty one. It is 0 for a
    model that says nothing, and None where the fluent one says nothing.
    """
    mine, theirs = ([v for v in some if v is not None] for some in (own, fluent))
    if not theirs:
        return None
    return math.exp(min(0.0, mean(theirs) - mean(mine))) if mine else 0.0


def utility(evidence: Evidence, when: str) -> Parts:
    """Return kept knowledge and fluency, or nothing where one of them cannot be had."""
    kept = kept_parts(asked_of(evidence, when))
    if not kept or not {"before", when} <= set(evidence.models) or "forget" not in evidence.roles:
        return {}
    fluent = "retrained" if "retrained" in evidence.models else "before"
    found = fluency(*(evidence.generation_nll(model, "forget") for model in (when, fluent)))
    return {} if found is None else {"kept knowledge": harmonic_mean(list(kept.values())), "fluency": found}


GROUPS = {"memory": memory, "privacy": privacy, "utility": utility}


def measure(evidence: Evidence) -> Scores:
    """Return memory, privacy and utility of each model as far as they can be had, and the total of all three."""
    scores: Scores = {}
    for when in evidence.models:
        found = {name: parts for name, fn in GROUPS.items() if (parts := fn(evidence, when))}
        for name, parts in found.items():
            values = tuple(parts.values())
            scores[when, name] = Score(harmonic_mean(values), values, len(values), {"parts": parts})
        if len(found) == len(GROUPS):
            three = {name: scores[when, name].value for name in GROUPS}
            values = tuple(three.values())
            scores[when, "total"] = Score(harmonic_mean(values), values, len(values), {"parts": three})
    return scores


AGGREGATE = Comparison(
    name="aggregate",
    title="Memory, privacy, utility",
    help=(
        "Harmonic means after OpenUnlearning: memory (how little is left), privacy (how close membership attacks come "
        "to those on the retrained model), utility (kept knowledge and fluency), and their total; n counts parts."
    ),
    ideal="higher",
    measure=measure,
    needs=(
        "forget questions and the same asked otherwise, with wrong answers; for privacy a retrained model and rows "
        "never seen (role approximate)"
    ),
    paper="Dorna et al. 2025, arXiv 2506.12618",
    # 2: fluency is measured on the retrained model's words, where there is one.
    revision=2,
)
