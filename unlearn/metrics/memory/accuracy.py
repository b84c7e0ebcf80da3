"""Next-token accuracy is the share of answer tokens that are the model's first choice (Yao et al. 2024, §4).
It is a mean over texts.
"""

from unlearn.metrics.base import Metric, Observation, mean


def text_accuracy(observation: Observation) -> float:
    """Return the share of answer tokens at rank 0."""
    return mean([float(token["rank"] == 0) for token in observation.tokens])


ACCURACY = Metric(
    name="accuracy",
    title="Token accuracy",
    help="Share of answer tokens that the model ranks first. Higher is better known.",
    ideal="higher",
    fn=text_accuracy,
    combine=mean,
)
