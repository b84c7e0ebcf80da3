"""TOFU's four sets, and the three values that each of their items gives (Maini et al. 2024, arXiv 2401.06121, §2.2).

    retain, forget             questions of the benchmark's own authors, with a paraphrased answer and five wrong ones
    real_authors, world_facts  questions with three wrong answers

The values come from a model (Evidence) or from a log that somebody published; the definitions are the same functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearn.compute.intervals import bootstrap
from unlearn.metrics.base import Answered, Evidence, Score, Scores
from unlearn.metrics.tofu import probability, rouge, truth

SETS = ("retain", "real_authors", "world_facts", "forget")
# The sets whose values make the model utility.
KEPT = SETS[:3]
# The sets whose probability is a share among the right and the wrong answers.
NORMALISED = ("real_authors", "world_facts")
NAME = "tofu"
PAPER = "Maini et al. 2024, arXiv 2401.06121"
NEEDS = "TOFU's sets with wrong answers (--benchmark tofu-forget10, or a run on tofu-forget10)"


@dataclass(frozen=True)
class Answers:
    """The values of one set, one for each item: probability, ROUGE-L recall, and the truth ratio r.

    Each of them may be missing.
    """

    probability: tuple[float, ...] = ()
    rouge: tuple[float, ...] = ()
    ratio: tuple[float, ...] = ()

    @property
    def complete(self) -> bool:
        """Return whether each question has its three values."""
        return 0 < len(self.probability) == len(self.rouge) == len(self.ratio)

    def truths(self, name: str) -> tuple[float, ...]:
        """Return the truth ratio of each item as it enters the mean of the set of this name."""
        return tuple((truth.on_forget if name == "forget" else truth.on_kept)(r) for r in self.ratio)

    def parts(self, name: str) -> dict[str, float | None]:
        """Return the three means of the set of this name.

        A mean is None where there are no values.
        """
        return {
            "probability": mean_or_none(self.probability),
            "rouge": mean_or_none(self.rouge),
            "truth_ratio": mean_or_none(self.truths(name)),
        }


Log = Mapping[str, Answers]


def mean_or_none(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean. It is None where there is no value."""
    return sum(values) / len(values) if values else None


def answers_of(name: str, items: Sequence[Answered]) -> Answers:
    """Return the values that a model's answers to the set of this name give."""
    given, said, ratios = [], [], []
    for item in items:
        assert item.right is not None
        wrong = [loss.mean for loss in item.wrong]
        right = item.right.mean
        given.append(probability.normalised(right, wrong) if name in NORMALISED else probability.plain(right))
        said.append(rouge.recall(item.truth, item.said))
        # Real authors and world facts have no paraphrase: there the answer itself stands in its place.
        ratios.append(truth.ratio(item.paraphrased.mean if item.paraphrased else right, wrong))
    return Answers(tuple(given), tuple(said), tuple(ratios))


def part_of(name: str) -> str:
    """Return the name of this set among a benchmark's parts."""
    return f"{NAME} {name}"


def log_of(evidence: Evidence, when: str, sets: Sequence[str] = SETS) -> Log:
    """Return the values of those of these sets that are at hand."""
    return {
        name: answers_of(name, evidence.answered(when, part_of(name)))
        for name in sets
        if part_of(name) in evidence.parts
    }


def by_set(evidence: Evidence, field: str) -> Scores:
    """Return each model's mean of one value (probability, rouge, truth_ratio) on each set, with its 95 % interval over
    the questions.
    """
    scores: Scores = {}
    for when in evidence.models:
        for name, answers in log_of(evidence, when).items():
            values = answers.truths(name) if field == "truth_ratio" else getattr(answers, field)
            details = {"interval": bootstrap(values)}
            scores[when, name] = Score(sum(values) / len(values), values, len(values), details)
    return scores
