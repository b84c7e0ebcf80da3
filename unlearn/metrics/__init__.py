"""The metrics, in the order of the score table. Adding one takes its file, its entry here and its test."""

from unlearn.metrics.accuracy import ACCURACY
from unlearn.metrics.base import Metric, Observation, Score
from unlearn.metrics.exact import EXACT
from unlearn.metrics.nll import NLL
from unlearn.metrics.perplexity import PPL
from unlearn.metrics.rouge import ROUGE_L

METRICS: dict[str, Metric] = {metric.name: metric for metric in (EXACT, ROUGE_L, ACCURACY, NLL, PPL)}

__all__ = ["METRICS", "Metric", "Observation", "Score"]
