"""The Unlearning Depth Score tells how much of an answer the layers of a model still hold (arXiv 2605.24614).

    Δ1_l = s - s(layer l ← retrained),   Δ2_l = s - s(layer l ← this model),   s = mean log-prob of the entity tokens
    UDS  = Σ_l Δ1_l clip(Δ2_l / Δ1_l, 0, 1) / Σ_l Δ1_l   over the layers with Δ1_l > 0.05 nats

of each forget text, then the mean over the texts. The log-probs are the original model's, the answer given up to each
token, and ← puts the other model's hidden states into it at the places that predict the entity. 1: at every layer as
much is gone as in the model that never saw the text. 0: all is still there. Nothing is trained. A text at which no
layer of the retrained model lacks anything tells nothing and is left out.
"""

import math
from collections.abc import Sequence

from unlearn.compute.intervals import bootstrap
from unlearn.metrics.base import Comparison, Evidence, Score, Scores, mean

ROLE = "forget"
# The loss in nats from which on a layer of the retrained model counts as one without the answer.
THRESHOLD = 0.05


def depth(lacked: Sequence[float], lost: Sequence[float]) -> float | None:
    """Return the UDS of one text from Δ1 and Δ2 of its layers. It is None where no layer counts, and nan where a
    value is not a number.
    """
    pairs = [(d1, d2) for d1, d2 in zip(lacked, lost, strict=True) if not d1 <= THRESHOLD]
    if any(map(math.isnan, (value for pair in pairs for value in pair))):
        return math.nan
    whole = sum(d1 for d1, _ in pairs)
    return sum(min(max(d2, 0.0), d1) for d1, d2 in pairs) / whole if pairs else None


def losses(full: Sequence[float], patched: Sequence[float]) -> list[float]:
    """Return Δ of each layer: how much less likely the entity is once the other model's states are put in."""
    return [a - b for a, b in zip(full, patched, strict=True)]


def measure(evidence: Evidence) -> Scores:
    """Return the depth of each model. There is none without a retrained model of the same shape."""
    if not {"before", "retrained"} <= set(evidence.models) or ROLE not in evidence.roles:
        return {}
    full = evidence.patched("before", ROLE)
    read = {when: evidence.patched(when, ROLE) for when in evidence.models}
    if not read["retrained"]:
        return {}
    lacked = [losses(a, b) for a, b in zip(full, read["retrained"], strict=True)]
    scores: Scores = {}
    for when, mine in read.items():
        if not mine:
            continue
        lost = [losses(a, b) for a, b in zip(full, mine, strict=True)]
        each = [depth(d1, d2) for d1, d2 in zip(lacked, lost, strict=True)]
        values = tuple(value for value in each if value is not None)
        if values:
            details = profile(lacked, lost) | {
                "interval": bootstrap(values),
                "left_out": len(each) - len(values),
                "threshold": THRESHOLD,
            }
            scores[when, ROLE] = Score(mean(values), values, len(values), details)
    return scores


def profile(lacked: Sequence[Sequence[float]], lost: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Return what a figure draws: of each layer the mean Δ1 and Δ2 over the texts, and at how many texts it counts."""
    return {
        "lacked": [mean(layer) for layer in zip(*lacked, strict=True)],
        "lost": [mean(layer) for layer in zip(*lost, strict=True)],
        "counted": [sum(d1 > THRESHOLD for d1 in layer) for layer in zip(*lacked, strict=True)],
    }


UDS = Comparison(
    name="uds",
    title="Unlearning depth (UDS)",
    help=(
        "How much of the entities' log-prob the original loses when this model's states are put in, layer by layer, as "
        "a part of what the retrained model's take away: 0 all still there, 1 as gone as if never seen."
    ),
    ideal=1.0,
    measure=measure,
    needs=(
        "the exact retrained model, of the same shape and vocabulary, that lacks the forget answers: a bundled model "
        "that has one, or a run started with --retrained MODEL"
    ),
    paper="Lee et al. 2026, arXiv 2605.24614",
)
