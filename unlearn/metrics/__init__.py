"""This room holds the metrics, in the order of the score table. A new one needs its file, its entry here and
its test.

CHEAP ones cost no forward pass of their own and are computed in every run; the rest on demand (unlearn.measure.judge).
BENCHMARKS are those that belong to a benchmark by name: they read its items, not the rows of a run.
"""

from unlearn.metrics.base import Comparison, Evidence, Metric, Observation, Score
from unlearn.metrics.depth.aggregate import AGGREGATE
from unlearn.metrics.depth.drift import DRIFT
from unlearn.metrics.depth.separability import SEPARABILITY
from unlearn.metrics.depth.uds import UDS
from unlearn.metrics.knowledge.choice import CHOICE
from unlearn.metrics.knowledge.entity_loss import ENTITY_LOSS
from unlearn.metrics.knowledge.kept import KEPT
from unlearn.metrics.knowledge.true_labels import TRUE_LABELS
from unlearn.metrics.language.collapse import COLLAPSE
from unlearn.metrics.language.distinct import DISTINCT_1, DISTINCT_2
from unlearn.metrics.language.generation_ppl import GENERATION_PPL
from unlearn.metrics.language.meaning import MAUVE, SIMILARITY
from unlearn.metrics.language.repetition import REP_2, REP_3, REP_4
from unlearn.metrics.membership.classifier import CLASSIFIER
from unlearn.metrics.membership.mia import LOSS, MIN_K, MIN_K_PLUS, REFERENCE, ZLIB
from unlearn.metrics.memory.accuracy import ACCURACY
from unlearn.metrics.memory.el import EL_3, EL_5, EL_10
from unlearn.metrics.memory.exact import EXACT
from unlearn.metrics.memory.extraction import EXTRACTION
from unlearn.metrics.memory.memorised import MEMORISED
from unlearn.metrics.memory.nll import NLL
from unlearn.metrics.memory.perplexity import PPL
from unlearn.metrics.memory.probability import PROBABILITY
from unlearn.metrics.memory.rouge import ROUGE_L
from unlearn.metrics.memory.rouge_n import ROUGE_1, ROUGE_2
from unlearn.metrics.muse.knowmem import KNOWMEM
from unlearn.metrics.muse.leakage import LEAKAGE
from unlearn.metrics.muse.privleak import PRIVLEAK
from unlearn.metrics.muse.verbmem import VERBMEM
from unlearn.metrics.retrained.kl import KL
from unlearn.metrics.retrained.target import TARGET_ACCURACY, TARGET_PPL
from unlearn.metrics.rwku.levels import LEVELS
from unlearn.metrics.rwku.membership import MEMBERSHIP
from unlearn.metrics.rwku.neighbours import NEIGHBOURS
from unlearn.metrics.tofu.forget_quality import FORGET_QUALITY
from unlearn.metrics.tofu.listed import TOFU
from unlearn.metrics.tofu.truth_ratio import TRUTH_RATIO

METRICS: dict[str, Metric | Comparison] = {
    metric.name: metric
    for metric in (
        *(EXACT, ROUGE_L, ACCURACY, NLL, PPL, PROBABILITY, MEMORISED, EXTRACTION),
        *(TARGET_PPL, TARGET_ACCURACY, FORGET_QUALITY, TRUTH_RATIO, KEPT, CHOICE, TRUE_LABELS, KL),
        *(LOSS, ZLIB, MIN_K, MIN_K_PLUS, REFERENCE, CLASSIFIER, PRIVLEAK),
        *(ROUGE_1, ROUGE_2, EL_3, EL_5, EL_10),
        *(COLLAPSE, REP_2, REP_3, REP_4, DISTINCT_1, DISTINCT_2, GENERATION_PPL, SIMILARITY, MAUVE),
        *(ENTITY_LOSS, SEPARABILITY, UDS, DRIFT, AGGREGATE),
    )
}
# Today's revision of each definition; a record may hold numbers of an earlier one.
REVISIONS: dict[str, int] = {name: metric.revision for name, metric in METRICS.items()}
CHEAP: dict[str, Metric] = {
    name: metric for name, metric in METRICS.items() if isinstance(metric, Metric) and metric.cheap
}
BENCHMARKS: dict[str, Comparison] = {
    metric.name: metric for metric in (*TOFU, VERBMEM, KNOWMEM, LEAKAGE, LEVELS, NEIGHBOURS, *MEMBERSHIP)
}
EVERY: dict[str, Metric | Comparison] = {**METRICS, **BENCHMARKS}

__all__ = [
    "BENCHMARKS",
    "CHEAP",
    "EVERY",
    "METRICS",
    "REVISIONS",
    "Comparison",
    "Evidence",
    "Metric",
    "Observation",
    "Score",
]
