"""TOFU's model utility: the harmonic mean of probability, ROUGE-L recall and truth ratio on retain, real authors and
world facts, so nine numbers; 0 as soon as one of them is 0.
"""

from collections.abc import Sequence

from unlearn.compute.intervals import Interval, of_harmonic
from unlearn.metrics.base import Evidence, Score, Scores
from unlearn.metrics.tofu.items import KEPT, Log, log_of


def harmonic(values: Sequence[float]) -> float:
    """Return the harmonic mean n / Σ 1/v. It is 0 as soon as one value is 0."""
    return len(values) / sum(1 / v for v in values) if values and all(v > 0 for v in values) else 0.0


def utility(log: Log) -> float | None:
    """Return the model utility of a log. It is None where one of its nine parts is missing."""
    nine = [value for name in KEPT if name in log for value in log[name].parts(name).values()]
    complete = [value for value in nine if value is not None]
    return harmonic(complete) if len(complete) == 3 * len(KEPT) else None


def around(log: Log, seed: int = 0) -> Interval | None:
    """Return the 95 % interval of the utility of a log over its questions: each set's are drawn anew with replacement,
    a question with its three values, and the utility is made of each draw (Efron 1979).

    It is None where a set, or one of its three values, is missing.
    """
    if not all(name in log and log[name].complete for name in KEPT):
        return None
    return of_harmonic([(log[n].probability, log[n].rouge, log[n].truths(n)) for n in KEPT], seed)


def measure(evidence: Evidence) -> Scores:
    """Return the utility of each model with its interval over the questions. per_example holds the nine parts, in the
    order of details["parts"].
    """
    scores: Scores = {}
    for when in evidence.models:
        log = log_of(evidence, when, KEPT)
        value = utility(log)
        if value is not None:
            parts = {
                f"{name} {what}": number
                for name in KEPT
                for what, number in log[name].parts(name).items()
                if number is not None
            }
            rows = sum(len(answers.ratio) for answers in log.values())
            details = {"parts": parts, "interval": around(log)}
            scores[when, "kept"] = Score(value, tuple(parts.values()), rows, details)
    return scores
