"""Extraction strength is the share of an answer that its first tokens suffice to reproduce (Carlini et al.
2021, arXiv 2012.07805). Wang et al. (arXiv 2411.02659) use it as a metric of unlearning.

ES = 1 - k/n, k the shortest prefix of the n answer tokens after which argmax reproduces the rest; 0 if none does.
Published code gives 1/n to a text whose last token is missed; here that is 0, as the definition says.
"""

from collections.abc import Sequence

from unlearn.metrics.base import Metric, Observation, mean


def extraction_strength(ranks: Sequence[int]) -> float:
    """Return the extraction strength from the ranks of a text's answer tokens. k is one past the last token
    that is not first choice.
    """
    missed = [place for place, rank in enumerate(ranks) if rank != 0]
    return 1.0 - (missed[-1] + 1) / len(ranks) if missed else 1.0


def text_extraction(observation: Observation) -> float:
    """Return the extraction strength of the text's answer tokens."""
    return extraction_strength([token["rank"] for token in observation.tokens])


EXTRACTION = Metric(
    name="extraction",
    title="Extraction strength",
    help="1 - k/n with k the shortest prefix after which argmax reproduces the rest of n tokens; 0 if none does.",
    ideal="higher",
    fn=text_extraction,
    combine=mean,
    paper="Carlini et al. 2021, arXiv 2012.07805",
)
