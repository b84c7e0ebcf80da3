"""The approximate-retrain target estimates scores of a retrained model without retraining (Yao et al. 2024,
arXiv 2402.15159, §4.2).

PPL and ACC of the *original* model on approximate stand in for those of a retrained model on forget. Where the true
retrain exists, its row is the error of the approximation: ratio 1 (difference 0) would mean a perfect stand-in.
"""

from collections.abc import Callable

from unlearn.compute.intervals import difference, interval
from unlearn.metrics.base import Comparison, Evidence, Observation, Score, Scores, mean
from unlearn.metrics.memory.accuracy import text_accuracy
from unlearn.metrics.memory.nll import text_nll
from unlearn.metrics.memory.perplexity import exp_mean


def _compared(
    evidence: Evidence,
    fn: Callable[[Observation], float],
    combine: Callable[[tuple[float, ...]], float],
    against: Callable[[float, float], float],
) -> Scores:
    """against(value of each model on forget, target), with target, truth and the error of the target beside it."""
    if not {"forget", "approximate"} <= set(evidence.roles) or "before" not in evidence.models:
        return {}
    known = {when: tuple(fn(o) for o in evidence.seen(when, "forget")) for when in evidence.models}
    unseen = [fn(o) for o in evidence.seen("before", "approximate")]
    target, level = combine(tuple(unseen)), mean(unseen)
    beside = {"target": target, "target_n": len(unseen)}
    if "retrained" in known:
        truth = combine(known["retrained"])
        beside |= {"truth": truth, "error": target - truth}
        beside |= {"relative_error": (target - truth) / truth} if truth else {}

    def told(values: tuple[float, ...]) -> Score:
        # The ratio of two perplexities is exp of a difference of means, and that of two shares is one itself.
        ends = difference(mean(values), interval(values), level, interval(unseen))
        details = {"value": combine(values), "interval": tuple(combine((end,)) for end in ends)} | beside
        return Score(against(combine(values), target), values, len(values), details)

    return {(when, "forget"): told(values) for when, values in known.items()}


def measure_ppl(evidence: Evidence) -> Scores:
    """Return each model's perplexity on forget with its ratio to the target."""
    return _compared(evidence, text_nll, exp_mean, lambda value, target: value / target)


def measure_accuracy(evidence: Evidence) -> Scores:
    """Return each model's accuracy on forget with its difference from the target."""
    return _compared(evidence, text_accuracy, mean, lambda value, target: value - target)


TARGET_PPL = Comparison(
    name="target_ppl",
    title="Forget PPL ÷ target",
    help="Perplexity on forget over the original model's perplexity on rows never seen, the stand-in for retraining.",
    ideal=1.0,
    measure=measure_ppl,
    needs="rows never seen (role approximate)",
    paper="Yao et al. 2024, arXiv 2402.15159",
)
TARGET_ACCURACY = Comparison(
    name="target_accuracy",
    title="Forget accuracy - target",
    help="Token accuracy on forget minus the original model's on rows never seen, the stand-in for retraining.",
    ideal=0.0,
    measure=measure_accuracy,
    needs="rows never seen (role approximate)",
    paper="Yao et al. 2024, arXiv 2402.15159",
)
