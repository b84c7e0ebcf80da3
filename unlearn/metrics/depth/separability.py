"""Separability is how well a linear classifier tells forget from retain texts by their final states. It is
EUL's metric.

Logistic regression on standardised states, averaged over each text's answer positions; as many retain as forget
texts (so chance is 0.5), five-fold cross-validated, all seeded. arXiv 2310.20150, §4.1.
"""

from typing import TYPE_CHECKING

from unlearn.metrics.base import Comparison, Evidence, Scores, over_texts

if TYPE_CHECKING:
    import numpy as np

SEED, FOLDS, LEAST = 0, 5, 10
ROLES = ("forget", "retain")


def held_out_hits(forget: "np.ndarray", retain: "np.ndarray") -> tuple[float, ...]:
    """Return 1 or 0 for each text of the balanced sample, forget first: whether it was classified correctly
    while held out.

    forget, retain: [n, d] arrays.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    size, rng = min(len(forget), len(retain)), np.random.default_rng(SEED)
    parts = [x[np.sort(rng.permutation(len(x))[:size])] for x in (forget, retain)]
    labels = np.repeat([1, 0], size)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return tuple(
        (cross_val_predict(classifier, np.concatenate(parts), labels, cv=folds) == labels).astype(float)
    )


def measure(evidence: Evidence) -> Scores:
    """Return each model's classification accuracy, or nothing where a role is missing."""
    import numpy as np

    if not set(ROLES) <= set(evidence.roles):
        return {}
    scores: Scores = {}
    for when in evidence.models:
        features = [evidence.features(when, role) for role in ROLES]
        if min(map(len, features)) < LEAST or not all(np.isfinite(x).all() for x in features):
            continue
        hits = tuple(map(float, held_out_hits(*features)))
        scores[when, "forget"] = over_texts(hits, details={"chance": 0.5, "folds": FOLDS, "seed": SEED})
    return scores


SEPARABILITY = Comparison(
    name="separability",
    title="Linear separability",
    help="Held-out accuracy of a linear classifier of forget against retain on final-layer states; chance is 0.5.",
    ideal=0.5,
    measure=measure,
    needs=f"at least {LEAST} forget and {LEAST} retain texts",
    paper="Chen and Yang 2023, arXiv 2310.20150",
    states=ROLES,
)
