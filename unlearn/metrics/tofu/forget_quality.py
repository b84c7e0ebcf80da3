"""Forget quality is the p-value of the two-sample Kolmogorov-Smirnov test between the truth ratios of this model and
those of the retrained one.

TOFU (arXiv 2401.06121). 1 means that the test cannot tell the model from one that never saw the forget set. It reads as
many facts as the forget role is scored on, each in one other wording: of few of them the test tells little, so D and n
stand beside it.
"""

from unlearn.metrics.base import Comparison, Evidence, Score, Scores
from unlearn.metrics.tofu.quality import quality
from unlearn.metrics.tofu.truth_ratio import truth_ratio


def measure(evidence: Evidence) -> Scores:
    """Return the p-value of each model against the retrained one. per_example holds the model's truth ratios."""
    if "retrained" not in evidence.models or "paraphrase" not in evidence.roles:
        return {}
    ratios = {
        when: tuple(r for pair in evidence.otherwise(when) if (r := truth_ratio(*pair)) is not None)
        for when in evidence.models
    }
    scores: Scores = {}
    for when, mine in ratios.items():
        if mine and ratios["retrained"]:
            found = quality(mine, ratios["retrained"])
            scores[when, "paraphrase"] = Score(found["forget_quality"], mine, len(mine), found["ks"])
    return scores


FORGET_QUALITY = Comparison(
    name="forget_quality",
    title="Forget quality",
    help=(
        "p-value of the Kolmogorov-Smirnov test between the truth ratios of this model and the retrained one, each "
        "forget question asked once in other words; D and n beside it."
    ),
    ideal=1.0,
    measure=measure,
    needs="a retrained model, and paraphrases with wrong answers",
    paper="Maini et al. 2024, arXiv 2401.06121",
    # The first read fewer facts, some of them twice.
    revision=2,
)
