"""TOFU's forget quality: the p-value of the two-sample Kolmogorov-Smirnov test between the truth ratios on the forget
set of the model and of the model that was retrained without it.

A p-value says nothing of its test's power: D and both numbers of items stand beside it.
"""

import math
from collections.abc import Sequence

from unlearn.compute.libraries import settled
from unlearn.metrics.base import Evidence, Score, Scores
from unlearn.metrics.tofu.items import log_of
from unlearn.store.shapes import JsonObject


def quality(ratios: Sequence[float], retrained: Sequence[float]) -> JsonObject:
    """Return {"forget_quality": p, "ks": {"d", "n", "n_retrained"}} of two models' truth ratios."""
    test = settled("scipy.stats").ks_2samp(ratios, retrained)
    return {
        "forget_quality": float(test.pvalue),
        "ks": {"d": float(test.statistic), "n": len(ratios), "n_retrained": len(retrained)},
    }


def measure(evidence: Evidence) -> Scores:
    """Return the p-value of each model. per_example holds its truth ratios."""
    if "retrained" not in evidence.models:
        return {}
    ratios = {
        when: log["forget"].ratio
        for when in evidence.models
        if "forget" in (log := log_of(evidence, when, ("forget",)))
    }
    scores: Scores = {}
    for when, mine in ratios.items():
        found = quality(mine, ratios["retrained"])
        value = found["forget_quality"]
        log10 = math.log10(value) if value > 0 else None
        scores[when, "forget"] = Score(value, mine, len(mine), {**found["ks"], "log10": log10})
    return scores
