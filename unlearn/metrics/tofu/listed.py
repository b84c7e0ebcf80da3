"""This module lists TOFU's own metrics, in the order of its tables."""

from functools import partial

from unlearn.metrics.base import Comparison
from unlearn.metrics.tofu import quality, utility
from unlearn.metrics.tofu.items import NAME, NEEDS, PAPER, by_set

TOFU = (
    Comparison(
        name="tofu_utility",
        title="TOFU model utility",
        help=(
            "Harmonic mean of TOFU's probability, ROUGE-L and truth ratio on retain, real authors and world facts. "
            "Kept knowledge, ours, reads the run's own rows."
        ),
        ideal="higher",
        measure=utility.measure,
        needs=NEEDS,
        paper=PAPER,
        benchmark=NAME,
    ),
    Comparison(
        name="tofu_forget_quality",
        title="TOFU forget quality",
        help=(
            "p-value of the Kolmogorov-Smirnov test between the truth ratios on TOFU's forget set of this model and of "
            "the retrained one; D and n beside it. Forget quality, ours, asks in other words."
        ),
        ideal=1.0,
        measure=quality.measure,
        needs=f"a retrained model, and {NEEDS}",
        paper=PAPER,
        benchmark=NAME,
    ),
    Comparison(
        name="tofu_probability",
        title="TOFU probability",
        help=(
            "exp(-S/n) of the right answer on retain and forget; its share among right and wrong answers on real "
            "authors and world facts. Answer probability, ours, is never such a share."
        ),
        ideal="higher",
        measure=partial(by_set, field="probability"),
        needs=NEEDS,
        paper=PAPER,
        benchmark=NAME,
    ),
    Comparison(
        name="tofu_rouge",
        title="TOFU ROUGE-L recall",
        help=(
            "Words of the true answer that the greedy answer of at most 200 tokens, prompt included, has in order; "
            "stemmed. ROUGE-L, ours, takes no stems and stops earlier."
        ),
        ideal="higher",
        measure=partial(by_set, field="rouge"),
        needs=NEEDS,
        paper=PAPER,
        benchmark=NAME,
    ),
    Comparison(
        name="tofu_truth_ratio",
        title="TOFU truth ratio",
        help=(
            "Mean of max(0, 1 - r), on the forget set of min(r, 1/r), r = exp(-mean S_wrong) / exp(-S_paraphrased). "
            "Truth ratio, ours, is the mean of r itself."
        ),
        ideal="higher",
        measure=partial(by_set, field="truth_ratio"),
        needs=NEEDS,
        paper=PAPER,
        benchmark=NAME,
    ),
)
