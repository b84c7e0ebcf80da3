"""Forget quality is the p-value of a test between the truth ratios of two models. It compares the model with
the retrained one by the two-sample Kolmogorov-Smirnov test. The test is the two-sample Kolmogorov-Smirnov
test.

TOFU (arXiv 2401.06121). 1 means that the test cannot tell the model from one that never saw the forget set.
"""

from unlearn.compute.libraries import settled
from unlearn.metrics.base import Comparison, Evidence, Score, Scores
from unlearn.metrics.tofu.truth_ratio import truth_ratios


def measure(evidence: Evidence) -> Scores:
    """Return the p-value of each model against the retrained one. per_example holds the model's truth ratios."""
    if "retrained" not in evidence.models or "paraphrase" not in evidence.roles:
        return {}
    ratios = {
        when: tuple(r for r in truth_ratios(evidence, when, "paraphrase") if r is not None)
        for when in evidence.models
    }
    scores: Scores = {}
    for when, mine in ratios.items():
        if mine and ratios["retrained"]:
            test = settled("scipy.stats").ks_2samp(mine, ratios["retrained"])
            scores[when, "paraphrase"] = Score(
                float(test.pvalue), mine, len(mine), {"statistic": float(test.statistic)}
            )
    return scores


FORGET_QUALITY = Comparison(
    name="forget_quality",
    title="Forget quality",
    help="p-value of the Kolmogorov-Smirnov test between the truth ratios of this model and the retrained one.",
    ideal=1.0,
    measure=measure,
    needs="a retrained model, and paraphrases with wrong answers",
    paper="Maini et al. 2024, arXiv 2401.06121",
)
