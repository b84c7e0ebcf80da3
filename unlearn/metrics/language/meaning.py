"""What was said against the true texts by an encoder's vectors: one by one (similarity), and as two crowds (MAUVE).

    similarity   cos(vector of the continuation, vector of the true text), mean over texts
    MAUVE        area under the curve of (exp(-5 KL(Q ‖ R)), exp(-5 KL(P ‖ R))), R = λ P + (1 - λ) Q, of the shares P of
                 true texts and Q of continuations in the clusters of all vectors (Pillutla et al. 2021, arXiv
                 2102.01454), computed by the package mauve-text. Its authors want thousands of texts and GPT-2 large as
                 encoder: with a role's few dozen it tells a ruined model from a whole one, and hardly more

The encoder is a folder of the user's (unlearn.measure.encoder); without one neither is computed.
"""

import importlib.util
from typing import TYPE_CHECKING

from unlearn.metrics.base import Comparison, Evidence, Score, Scores, per_text

if TYPE_CHECKING:
    import numpy as np

ENCODER = "an encoder (evaluate RUN --encoder FOLDER)"
# Fewer texts make no crowd.
LEAST = 20
SEED = 0


def cosines(said: "np.ndarray", true: "np.ndarray") -> list[float]:
    """Return the cosine of each pair of vectors [n, d]. It is 0 where nothing was said."""
    import numpy as np

    lengths = np.linalg.norm(said, axis=1) * np.linalg.norm(true, axis=1)
    products = (said * true).sum(1)
    return [float(p / length) if length else 0.0 for p, length in zip(products, lengths, strict=True)]


def similarity(evidence: Evidence) -> Scores:
    """Return each model's mean similarity on each role, or nothing without an encoder."""
    if not evidence.encodes:
        return {}
    return per_text(
        evidence, evidence.roles, lambda when, role: list(cosines(*evidence.embedded(when, role)))
    )


def mauve(evidence: Evidence) -> Scores:
    """Return each model's MAUVE on each role of at least LEAST texts, or nothing without encoder or package."""
    if not evidence.encodes or importlib.util.find_spec("mauve") is None:
        return {}
    from mauve import compute_mauve

    scores: Scores = {}
    for when in evidence.models:
        for role in evidence.roles:
            said, true = evidence.embedded(when, role)
            if len(said) >= LEAST:
                found = compute_mauve(
                    p_features=true, q_features=said, device_id=-1, seed=SEED, verbose=False
                )
                details = {"clusters": int(found.num_buckets), "seed": SEED}
                scores[when, role] = Score(float(found.mauve), (), len(said), details)
    return scores


SIMILARITY = Comparison(
    name="similarity",
    title="Embedding similarity",
    help="Cosine of an encoder's vectors of continuation and true text, mean over texts.",
    ideal="higher",
    measure=similarity,
    needs=ENCODER,
    paper="Reimers and Gurevych 2019, arXiv 1908.10084",
    encoder=True,
)
MAUVE = Comparison(
    name="mauve",
    title="MAUVE",
    help="How alike continuations and true texts are as two crowds of an encoder's vectors, from 0 to 1.",
    ideal="higher",
    measure=mauve,
    needs=f"{ENCODER}, the package mauve-text (pip install 'unlearn-studio[mauve]') and {LEAST} texts",
    paper="Pillutla et al. 2021, arXiv 2102.01454",
    encoder=True,
)
