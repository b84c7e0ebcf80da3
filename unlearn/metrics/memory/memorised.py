"""Exact memorisation is the share of texts that greedy decoding reproduces token for token (Carlini et al.,
arXiv 2202.07646).

The share of *positions* whose argmax is right (memorisation accuracy, Tirumala et al., arXiv 2205.10770) is token
accuracy, see unlearn.metrics.memory.accuracy; it is not computed a second time under another name.
"""

from unlearn.metrics.base import Metric, Observation, mean


def memorised(observation: Observation) -> float:
    """Return 1 if every answer token is the most likely one after the true tokens before it, else 0. Greedy
    decoding then reproduces the answer.
    """
    return float(all(token["rank"] == 0 for token in observation.tokens))


MEMORISED = Metric(
    name="memorised",
    title="Exact memorisation",
    help="Share of texts whose every answer token, end of text included, is the model's first choice.",
    ideal="higher",
    fn=memorised,
    combine=mean,
    paper="Carlini et al. 2023, arXiv 2202.07646",
)
