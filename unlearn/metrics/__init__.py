"""The metrics, in the order of the score table. Adding one takes its file, its entry here and its test.

CHEAP ones cost no forward pass of their own and are computed in every run; the rest on demand (unlearn.measure.judge).
"""

from unlearn.metrics.accuracy import ACCURACY
from unlearn.metrics.base import Comparison, Evidence, Metric, Observation, Score
from unlearn.metrics.choice import CHOICE
from unlearn.metrics.collapse import COLLAPSE
from unlearn.metrics.distinct import DISTINCT_1, DISTINCT_2
from unlearn.metrics.el import EL_3, EL_5, EL_10
from unlearn.metrics.entity_loss import ENTITY_LOSS
from unlearn.metrics.exact import EXACT
from unlearn.metrics.extraction import EXTRACTION
from unlearn.metrics.forget_quality import FORGET_QUALITY
from unlearn.metrics.generation_ppl import GENERATION_PPL
from unlearn.metrics.kl import KL
from unlearn.metrics.memorised import MEMORISED
from unlearn.metrics.mia import LOSS, MIN_K, MIN_K_PLUS, REFERENCE, ZLIB
from unlearn.metrics.nll import NLL
from unlearn.metrics.perplexity import PPL
from unlearn.metrics.privleak import PRIVLEAK
from unlearn.metrics.probability import PROBABILITY
from unlearn.metrics.repetition import REP_2, REP_3, REP_4
from unlearn.metrics.rouge import ROUGE_L
from unlearn.metrics.separability import SEPARABILITY
from unlearn.metrics.target import TARGET_ACCURACY, TARGET_PPL
from unlearn.metrics.truth_ratio import TRUTH_RATIO
from unlearn.metrics.utility import UTILITY

METRICS: dict[str, Metric | Comparison] = {
    metric.name: metric
    for metric in (
        *(EXACT, ROUGE_L, ACCURACY, NLL, PPL, PROBABILITY, MEMORISED, EXTRACTION),
        *(TARGET_PPL, TARGET_ACCURACY, FORGET_QUALITY, TRUTH_RATIO, UTILITY, CHOICE, KL),
        *(LOSS, ZLIB, MIN_K, MIN_K_PLUS, REFERENCE, PRIVLEAK),
        *(EL_3, EL_5, EL_10),
        *(COLLAPSE, REP_2, REP_3, REP_4, DISTINCT_1, DISTINCT_2, GENERATION_PPL),
        *(ENTITY_LOSS, SEPARABILITY),
    )
}
CHEAP: dict[str, Metric] = {
    name: metric for name, metric in METRICS.items() if isinstance(metric, Metric) and metric.cheap
}

__all__ = ["CHEAP", "METRICS", "Comparison", "Evidence", "Metric", "Observation", "Score"]
