"""TOFU's truth ratio: r = exp(-mean_k S_wrong_k) / exp(-S_paraphrased), all S mean losses a token in nats.

Into the utility goes max(0, 1 - r), and on the forget set the mean of min(r, 1/r) is shown. The questions are TOFU's
own; the metric truth_ratio, ours, asks the forget questions in other words.
"""

import math
from collections.abc import Sequence


def ratio(paraphrased: float, wrong: Sequence[float]) -> float:
    """Return r of one item, from the mean losses a token of the paraphrased answer and of each wrong answer."""
    return math.exp(min(700.0, paraphrased - sum(wrong) / len(wrong)))


def on_kept(r: float) -> float:
    """Return what the item adds on a set to keep: 1 where wrong answers are impossible, 0 where they are likelier."""
    return max(0.0, 1 - r)


def on_forget(r: float) -> float:
    """Return what the item adds on the forget set: 1 where right and wrong answers are equally likely."""
    return min(r, 1 / r) if r else 0.0
