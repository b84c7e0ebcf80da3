"""Generation perplexity is the original model's perplexity on the text that a model continues. It shows
whether that text is still language.

Never to be read alone: a collapsed model that repeats one word gets a low value, so the repetition stands beside
it in details (Holtzman et al. 2020, arXiv 1904.09751, on why likely text can be degenerate).
"""

from unlearn.metrics.base import Comparison, Evidence, Scores, mean, over_texts
from unlearn.metrics.language.repetition import repetition
from unlearn.metrics.memory.perplexity import exp_mean


def measure(evidence: Evidence) -> Scores:
    """Return the generation perplexity of each model on each role. per_example: mean token NLL of each
    continuation that is not empty.
    """
    scores: Scores = {}
    for when in evidence.models:
        for role in evidence.roles:
            values = tuple(v for v in evidence.generation_nll(when, role) if v is not None)
            repeats = [r for t in evidence.generated(when, role) if (r := repetition(t, 3)) is not None]
            if values:
                beside = {"rep_3": mean(repeats)} if repeats else {}
                scores[when, role] = over_texts(values, exp_mean, beside)
    return scores


GENERATION_PPL = Comparison(
    name="generation_ppl",
    title="PPL of generations",
    help="exp of the mean NLL of the greedy continuations under the original model; read it beside REP 3.",
    ideal="lower",
    measure=measure,
    needs="continuations that are not empty",
    paper="Dong et al. 2025, arXiv 2402.10052",
)
