"""A metric is a pure function of what models said, with its direction and its definition.

Two shapes share one list. A Metric maps one observation (a text under a model) to a number; it costs no forward
pass and is computed in every run. A Comparison reads an Evidence, which holds the observations of all roles and
of the models before, after and retrained, and reads more from a model (wrong answers, hidden states) when asked.
So every definition can be checked by hand on plain values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from unlearn.compute.intervals import interval
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    import numpy as np

    from unlearn.data.base import Row

WHEN = ("before", "after", "retrained")


@dataclass(frozen=True)
class Observation:
    """What one model said about one text, with the log-probs of the answer tokens.

    tokens: one dict for each answer token with token, id, logit, lp (log-prob), rank, top, mu and sigma (mean
    and standard deviation of the log-prob of a token drawn from the model itself). text: the greedy
    continuation of prompt. answer: the true text at that place. question is empty for plain text, whose
    continuation starts at its middle. whole: whether a chat template made the prompt.
    """

    role: str
    index: int
    question: str
    prompt: str
    answer: str
    text: str
    tokens: tuple[JsonObject, ...]
    whole: bool = False


@dataclass(frozen=True)
class Score:
    """A metric's value over n texts. per_example is in the order of the observations to which the metric
    applies.

    details: what stands beside the value (an interval, a curve, the truth and the error of an estimate).
    """

    value: float
    per_example: tuple[float, ...]
    n: int
    details: JsonView = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """The negative log-likelihood of one answer: the sum over its tokens in nats, and how many tokens they are."""

    total: float
    tokens: int

    @property
    def mean(self) -> float:
        """Return the mean over the tokens."""
        return self.total / self.tokens


@dataclass(frozen=True)
class Answered:
    """What one model made of one item of a benchmark.

    prompt: what the model was given. truth: the text that should come; said: its greedy continuation. right,
    paraphrased, wrong: the losses of the right answer, of the same in other words, and of each wrong one. lps, mu,
    sigma: of a text alone, each token's log-prob, and mean and standard deviation of the log-prob of a token drawn
    from the model.
    """

    prompt: str
    truth: str
    said: str = ""
    right: Loss | None = None
    paraphrased: Loss | None = None
    wrong: tuple[Loss, ...] = ()
    lps: tuple[float, ...] = ()
    mu: tuple[float, ...] = ()
    sigma: tuple[float, ...] = ()


class Evidence(Protocol):
    """The observations of one run's models, where each answer is read from a model only once. See
    unlearn.measure.evidence.
    """

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models among WHEN that exist."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Return the roles whose texts are scored."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names of the benchmark's parts that are at hand, such as "tofu real_authors"."""

    def answered(self, when: str, part: str) -> Sequence[Answered]:
        """Return what a model made of each item of one part of a benchmark, in order."""

    def rows(self, role: str) -> "Sequence[Row]":
        """Return the rows of a role in the order of its observations."""

    def seen(self, when: str, role: str) -> Sequence[Observation]:
        """Return one observation for each row, in order."""

    def wrong_nll(self, when: str, role: str) -> Sequence[Sequence[float]]:
        """Return for each row the mean token NLL of each wrong answer in the place of the right one."""

    def otherwise(self, when: str) -> Sequence[tuple[float, Sequence[float]]]:
        """Return for each forget question in other words, each fact once, the mean token NLL of the right answer and of
        each wrong one.
        """

    def entities(self, role: str) -> Sequence[Sequence[bool]]:
        """Return for each row one flag per answer token: whether it is in an entity of the answer."""

    def generated(self, when: str, role: str) -> Sequence[Sequence[int]]:
        """Return the token ids of each greedy continuation."""

    def generation_nll(self, when: str, role: str) -> Sequence[float | None]:
        """Return for each continuation of `when` its mean token NLL under the model before. It is None for an
        empty continuation.
        """

    def continuations(
        self, when: str, role: str
    ) -> Sequence[tuple[Sequence[int], Mapping[int, Sequence[int]]]]:
        """Return for each row its answer tokens without the end of text, with {position: greedy continuation
        from there}.
        """

    def features(self, when: str, role: str) -> "np.ndarray":
        """Return the final-layer states as a float array [rows, d], averaged over each text's answer
        positions.
        """

    def divergence(self, truth: str, when: str, role: str) -> Sequence[float]:
        """Return for each row the mean over its answer tokens of KL(p_truth ‖ p_when), in nats."""

    @property
    def encodes(self) -> bool:
        """Return whether there is an encoder of texts."""

    def embedded(self, when: str, role: str) -> "tuple[np.ndarray, np.ndarray]":
        """Return the encoder's vectors of what the model said and of the true texts, each a float array [rows, d]."""

    def patched(self, when: str, role: str) -> Sequence[Sequence[float]]:
        """Return for each row and layer the mean log-prob of the answer's entities under the model before, with the
        layer's states of `when` put in. It is empty where the two models differ in shape.
        """

    def layers(self, when: str, role: str) -> "np.ndarray":
        """Return each block's states as a float array [blocks, rows, d], averaged over each text's answer
        positions. It is empty for a model without a list of blocks.
        """

    def fisher(self, when: str, role: str) -> Sequence[float]:
        """Return of each block the mean of the diagonal of its weights' Fisher information, or nothing."""


# {(when, role): Score}.
Scores = dict[tuple[str, str], Score]
Ideal = Literal["higher", "lower"] | float


@dataclass(frozen=True)
class Metric:
    """A metric that maps each observation to a number and combines these numbers into a score.  ideal: the
    direction that is better on texts to keep ("higher", "lower") or the number to reach.

    fn: observations → one value each, or None where the metric does not apply (a plain text has no exact answer).
    combine: those values → the score. cheap: computed in every run.
    """

    name: str
    title: str
    help: str
    ideal: Ideal
    fn: Callable[[Observation], float | None]
    combine: Callable[[Sequence[float]], float]
    paper: str = ""
    cheap: bool = True
    needs: ClassVar[str] = ""
    states: ClassVar[tuple[str, ...]] = ()
    benchmark: ClassVar[str] = ""
    encoder: ClassVar[bool] = False
    revision: ClassVar[int] = 1

    def __call__(self, observations: Sequence[Observation]) -> Score | None:
        values = tuple(v for o in observations if (v := self.fn(o)) is not None)
        return Score(self.combine(values), values, len(values)) if values else None

    def measure(self, evidence: Evidence) -> Scores:
        """Return the score of every model on every role, with its 95 % interval over the texts."""
        found = {
            (when, role): self(evidence.seen(when, role))
            for when in evidence.models
            for role in evidence.roles
        }
        return {
            place: replace(score, details={"interval": interval(score.per_example, self.combine)})
            for place, score in found.items()
            if score is not None
        }


@dataclass(frozen=True)
class Comparison:
    """A metric that compares roles or models, or reads a model again. It is computed on demand.

    measure: empty where something is missing; needs then says what, in words. states: roles whose hidden states it
    reads, so that they are kept when the texts are read for other metrics. benchmark: the name of the benchmark whose
    own metric it is, read on that benchmark's items and not on the run's rows. encoder: whether it reads an encoder's
    vectors of texts. revision: raised when the meaning of its numbers changes; older ones are then computed again.
    """

    name: str
    title: str
    help: str
    ideal: Ideal
    measure: Callable[[Evidence], Scores]
    needs: str = ""
    paper: str = ""
    states: tuple[str, ...] = ()
    benchmark: str = ""
    encoder: bool = False
    revision: int = 1
    cheap: ClassVar[bool] = False


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean of the values."""
    return sum(values) / len(values)


def over_texts(
    values: Sequence[float],
    combine: Callable[[Sequence[float]], float] = mean,
    details: JsonView | None = None,
) -> Score:
    """Return the score that these values of single texts make, with its 95 % interval over them.

    combine: a growing function of their mean, such as the mean itself or a perplexity. details: what else stands
    beside the value.
    """
    around = {"interval": interval(values, combine)}
    return Score(combine(values), tuple(values), len(values), {**(details or {}), **around})


def per_text(
    evidence: Evidence, roles: Sequence[str], fn: Callable[[str, str], Sequence[float | None]]
) -> Scores:
    """Return the scores of each model on those of these roles that exist. A score is the mean of fn(when,
    role) without its Nones, with its interval.
    """
    scores: Scores = {}
    for when in evidence.models:
        for role in (r for r in roles if r in evidence.roles):
            values = tuple(v for v in fn(when, role) if v is not None)
            if values:
                scores[when, role] = over_texts(values)
    return scores
