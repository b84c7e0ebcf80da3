"""Negative log-likelihood is the mean over texts of the mean of -log p over answer tokens, in nats."""

from unlearn.metrics.base import Metric, Observation, mean


def text_nll(observation: Observation) -> float:
    """Return the mean of -log p over the text's answer tokens."""
    return -mean([token["lp"] for token in observation.tokens])


NLL = Metric(
    name="nll",
    title="NLL",
    help="Mean surprise per answer token, in nats; 0 means certain. Lower is better known.",
    ideal="lower",
    fn=text_nll,
    combine=mean,
)
