"""Drift shows how the hidden states of a model moved away from the original's, layer by layer. It is a picture.

    CKA     ‖Yᵀ X‖² / (‖Xᵀ X‖ ‖Yᵀ Y‖)     X, Y: centred states [texts, d] of the original and of this model
                                          (linear CKA, Kornblith et al. 2019, arXiv 1905.00414); 1: alike up to a turn
    shift   |P (mean Y - mean X)| / |σ|   P: onto the first two principal directions of X, σ: X's spread along them
    Fisher  the mean of the diagonal of the empirical Fisher information of a block's weights

and, as the one number of the row, the mean of |y - x| / |x| over layers. None of it says whether something was
forgotten: states move in a model that learns something else, and an answer may go while they stay. The retrained
model shows how far the absence of the texts moves them. (Xu et al. 2025, arXiv 2505.16831, read the same three.)
"""

from typing import TYPE_CHECKING

from unlearn.metrics.base import Comparison, Evidence, Scores, over_texts

if TYPE_CHECKING:
    import numpy as np

ROLES = ("forget", "retain")
DIRECTIONS = 2


def cka(x: "np.ndarray", y: "np.ndarray") -> float:
    """Return the linear CKA of two arrays [n, d]. It is nan where one of them does not vary."""
    import numpy as np

    k, other = (a @ a.T for a in (x - x.mean(0), y - y.mean(0)))
    whole = float(np.linalg.norm(k) * np.linalg.norm(other))
    return float((k * other).sum()) / whole if whole > 0 else float("nan")


def shift(x: "np.ndarray", y: "np.ndarray") -> float:
    """Return how far the mean of y lies from that of x along x's first principal directions, in spreads of x."""
    import numpy as np

    _, sizes, directions = np.linalg.svd(x - x.mean(0), full_matrices=False)
    moved = directions[:DIRECTIONS] @ (y.mean(0) - x.mean(0))
    spread = float(np.linalg.norm(sizes[:DIRECTIONS])) / len(x) ** 0.5
    return float(np.linalg.norm(moved)) / spread if spread > 0 else float("nan")


def moved(x: "np.ndarray", y: "np.ndarray") -> tuple[float, ...]:
    """Return for each text the mean over layers of |y - x| / |x|, of states [layers, n, d]."""
    import numpy as np

    return tuple((np.linalg.norm(y - x, axis=-1) / np.linalg.norm(x, axis=-1)).mean(0).tolist())


def measure(evidence: Evidence) -> Scores:
    """Return the drift of each model on the texts to forget and on those to keep."""
    scores: Scores = {}
    if "before" not in evidence.models:
        return scores
    for role in (r for r in ROLES if r in evidence.roles):
        start = evidence.layers("before", role)
        for when in evidence.models:
            states = evidence.layers(when, role)
            if states.shape != start.shape or not states.size:
                continue
            pairs = list(zip(start, states, strict=True))
            values = moved(start, states)
            details = {
                "cka": [cka(x, y) for x, y in pairs],
                "shift": [shift(x, y) for x, y in pairs],
                "fisher": list(evidence.fisher(when, role)),
                "n": len(values),
            }
            scores[when, role] = over_texts(values, details=details)
    return scores


DRIFT = Comparison(
    name="drift",
    title="Drift of the states (a picture)",
    help=(
        "Mean over texts and layers of |y - x| / |x|, x the original's states; CKA, PCA shift and Fisher of each layer "
        "beside it. A picture: it does not say that something was forgotten."
    ),
    ideal=0.0,
    measure=measure,
    needs="a model with a list of blocks, of the original's shape",
    paper="Xu et al. 2025, arXiv 2505.16831",
)
