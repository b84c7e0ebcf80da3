"""A membership test by a classifier: it learns to tell trained-on texts from never-seen ones by their final states.

EUL's paper tests membership with a classifier on the representations of the final layer (Chen and Yang 2023, arXiv
2310.20150). Its code was never released, so that its split, pooling and classifier could not be compared; ours:

    x        states of the final layer, averaged over a text's answer positions, standardised
    trains   on retain texts (members: the model was trained on them) and never-seen texts: the shadow set
    asked    of forget texts, and of never-seen texts that this classifier was not trained on
    folds    never-seen and forget texts are dealt into FOLDS parts; each part is scored by a logistic regression
             (classes weighted alike) that has seen the retain texts and the never-seen texts of all *other* parts

Both sides are scored by the same classifiers in the same shares, so that a model which treats forget texts as it treats
never-seen ones has an AUC of 0.5, and one that treats them as what it was trained on lies above. It needs retain and
never-seen texts of one kind: what tells their contents apart would count as membership.
"""

from typing import TYPE_CHECKING

from unlearn.metrics.base import Comparison, Evidence, Score, Scores
from unlearn.metrics.membership.roc import summary

if TYPE_CHECKING:
    import numpy as np

MEMBERS, OTHERS, SHADOW = "forget", "approximate", "retain"
ROLES = (MEMBERS, OTHERS, SHADOW)
SEED, FOLDS, LEAST = 0, 5, 10


def scored(
    forget: "np.ndarray", unseen: "np.ndarray", retain: "np.ndarray"
) -> tuple[list[float], list[float]]:
    """Return (membership scores of the forget texts, of the never-seen texts), each in the order of its rows [n, d].

    A score is the log odds of "member", and above 0 the classifier says so.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(SEED)
    parts = [rng.permutation(len(x)) % FOLDS for x in (forget, unseen)]
    found = [np.empty(len(x)) for x in (forget, unseen)]
    for fold in range(FOLDS):
        others = unseen[parts[1] != fold]
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced")
        )
        classifier.fit(np.concatenate([retain, others]), np.repeat([1, 0], [len(retain), len(others)]))
        for values, x, part in zip(found, (forget, unseen), parts, strict=True):
            if (mine := part == fold).any():
                values[mine] = classifier.decision_function(x[mine])
    return found[0].tolist(), found[1].tolist()


def measure(evidence: Evidence) -> Scores:
    """Return each model's AUC, or nothing where a role is missing or too small."""
    import numpy as np

    if not set(ROLES) <= set(evidence.roles):
        return {}
    scores: Scores = {}
    for when in evidence.models:
        features = [evidence.features(when, role) for role in ROLES]
        if min(map(len, features)) < LEAST or not all(np.isfinite(x).all() for x in features):
            continue
        members, others = scored(*features)
        told = summary(members, others)
        if told is None:
            continue
        hits = sum(s > 0 for s in members) / len(members), sum(s <= 0 for s in others) / len(others)
        more = {"called_members": hits[0], "called_others": hits[1], "balanced_accuracy": sum(hits) / 2}
        more |= {"shadow": len(features[2]), "folds": FOLDS, "seed": SEED}
        values = (*members, *others)
        scores[when, MEMBERS] = Score(told.pop("auc"), values, len(values), told | more)
    return scores


CLASSIFIER = Comparison(
    name="mia_states",
    title="MIA classifier",
    help=(
        "AUC of telling forget texts from never-seen ones by a classifier on final-layer states, trained on retain and "
        "other never-seen texts; 0.5 is chance, below it over-forgetting."
    ),
    ideal=0.5,
    measure=measure,
    needs=f"at least {LEAST} texts each to forget, to keep and never seen (role approximate)",
    paper="Chen and Yang 2023, arXiv 2310.20150",
    states=ROLES,
)
