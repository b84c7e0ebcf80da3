"""PrivLeak compares a model's membership leak with the retrained model's (MUSE, arXiv 2407.06460). With
MUSE's sign it is 100 · (s - r) / r, s = 1 - AUC, by Min-40% (Shi et al. 2024).

s is the model's, r the retrained model's; AUC is the chance that a forget text looks better known than a never-seen
one. 0: as hard to tell as for a model that was trained without them. A model that still knows them lies near -100;
above 0 it was unlearnt too far. (MUSE writes the AUC the other way round, which is where 1 - AUC comes from.)
"""

from unlearn.metrics.base import Comparison, Evidence, Score, Scores
from unlearn.metrics.membership.mia import MEMBERS, has_sides, leak, min_k
from unlearn.metrics.membership.roc import leak_interval

K = 40


def measure(evidence: Evidence) -> Scores:
    """Return PrivLeak of each model, or nothing without a retrained model."""
    if not has_sides(evidence) or "retrained" not in evidence.models:
        return {}
    leaks = {when: leak(evidence, when, min_k(K)) for when in evidence.models}
    truth = leaks["retrained"]
    if truth is None or truth.value == 1:
        return {}
    return {
        (when, MEMBERS): Score(
            100 * ((1 - found.value) - (1 - truth.value)) / (1 - truth.value),
            found.per_example,
            found.n,
            {
                "k": K,
                "auc": found.value,
                "auc_retrained": truth.value,
                "interval": leak_interval(
                    1 - found.value, 1 - truth.value, found.details["members"], found.details["others"]
                ),
            },
        )
        for when, found in leaks.items()
        if found is not None
    }


PRIVLEAK = Comparison(
    name="privleak",
    title="PrivLeak",
    help=(
        "100 · (s - r) / r with s = 1 - AUC by Min-40% and r the retrained model's: 0 is no leak, -100 all still "
        "known, above 0 unlearnt too far. MUSE's sign."
    ),
    ideal=0.0,
    measure=measure,
    needs="a retrained model and rows never seen (role approximate)",
    paper="Shi et al. 2024, arXiv 2407.06460",
)
