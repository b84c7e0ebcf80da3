"""This module compares two groups of numbers by their ranks: AUC, ROC and bootstrap interval. It also gives
the true positive rate at a low false positive rate.

scikit-learn computes them; only the bootstrap, a thousand AUCs, is one matrix product over pairs.
"""

import math
from collections.abc import Sequence

from unlearn.compute.intervals import of_auc, ratio
from unlearn.store.shapes import JsonObject

RESAMPLES, SEED = 1000, 0
FEW = (0.01, 0.05)


def roc(members: Sequence[float], others: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return (false positive rates, true positive rates), both from 0 to 1. A higher number says "member"."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve([1] * len(members) + [0] * len(others), [*members, *others])
    return [float(x) for x in fpr], [float(y) for y in tpr]


def auc(members: Sequence[float], others: Sequence[float]) -> float:
    """Return the chance that a random member scores above a random non-member. A tie counts half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score([1] * len(members) + [0] * len(others), [*members, *others]))


def tpr_at(curve: tuple[Sequence[float], Sequence[float]], most: float) -> float:
    """Return the highest true positive rate at a false positive rate of at most `most`."""
    return max((tpr for fpr, tpr in zip(*curve, strict=True) if fpr <= most), default=0.0)


def interval(
    members: Sequence[float], others: Sequence[float], *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the AUC. Members and non-members are resampled
    separately.
    """
    import numpy as np

    a, b = np.asarray(members)[:, None], np.asarray(others)[None, :]
    wins = (a > b) + 0.5 * (a == b)
    rng = np.random.default_rng(seed)
    drawn_a = rng.multinomial(len(members), [1 / len(members)] * len(members), size=resamples)
    drawn_b = rng.multinomial(len(others), [1 / len(others)] * len(others), size=resamples)
    aucs = ((drawn_a @ wins) * drawn_b).sum(axis=1) / (len(members) * len(others))
    low, high = np.percentile(aucs, [2.5, 97.5])
    return float(low), float(high)


def leak_interval(auc: float, retrained: float, members: int, others: int) -> tuple[float, float]:
    """Return the 95 % interval of 100 · (s - r) / r, s and r the AUC of a model and of the retrained one.

    Both are taken as independent, which they are not, so it is rather too wide. Its upper end may be infinite.
    """
    ends = ratio(auc, of_auc(auc, members, others), retrained, of_auc(retrained, members, others))
    return 100 * (ends[0] - 1), 100 * (ends[1] - 1)


def log_points(curve: tuple[Sequence[float], Sequence[float]]) -> tuple[list[float], list[float]]:
    """Return the points of the ROC that a log-log plot can show, which have both rates above 0."""
    kept = [(x, y) for x, y in zip(*curve, strict=True) if x > 0 and y > 0]
    return [x for x, _ in kept], [y for _, y in kept]


def summary(members: Sequence[float], others: Sequence[float]) -> JsonObject | None:
    """Return all figures of one attack, or None where a group is empty or a score is not finite."""
    if not members or not others or not all(map(math.isfinite, [*members, *others])):
        return None
    curve, value = roc(members, others), auc(members, others)
    logs = log_points(curve)
    return {
        "auc": value,
        "folded": max(value, 1.0 - value),
        "interval": interval(members, others),
        **{f"tpr_at_{round(100 * most)}": tpr_at(curve, most) for most in FEW},
        "roc": {"fpr": curve[0], "tpr": curve[1]},
        "roc_log": {"fpr": logs[0], "tpr": logs[1]},
        "members": len(members),
        "others": len(others),
    }
