"""PrivLeak (MUSE, Shi et al. 2024, arXiv 2407.06460): 100 · (AUC_model - AUC_retrain) / AUC_retrain on Min-K%.

0: as hard to tell from never-seen texts as for a model that was trained without them. Below 0 over-forgotten,
above 0 not forgotten enough. K = 40 as in MUSE's evaluation.
"""

from unlearn.metrics.base import Comparison, Evidence, Score, Scores
from unlearn.metrics.membership.mia import MEMBERS, has_sides, leak, min_k

K = 40


def measure(evidence: Evidence) -> Scores:
    if not has_sides(evidence) or "retrained" not in evidence.models:
        return {}
    leaks = {when: leak(evidence, when, min_k(K)) for when in evidence.models}
    truth = leaks["retrained"]
    if truth is None or truth.value == 0:
        return {}
    return {
        (when, MEMBERS): Score(
            100 * (found.value - truth.value) / truth.value,
            found.per_example,
            found.n,
            {"k": K, "auc": found.value, "auc_retrained": truth.value},
        )
        for when, found in leaks.items()
        if found is not None
    }


PRIVLEAK = Comparison(
    name="privleak",
    title="PrivLeak",
    help="100 · (AUC - AUC of the retrained model) / AUC of the retrained model, by Min-40%; 0 is no leak.",
    ideal=0.0,
    measure=measure,
    needs="a retrained model and an approximate role",
    paper="Shi et al. 2024, arXiv 2407.06460",
)
