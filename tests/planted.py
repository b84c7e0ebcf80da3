"""Observations and evidence with planted numbers, so that a metric can be checked by hand."""

from dataclasses import dataclass, field

from unlearn.data.base import Row
from unlearn.metrics import Observation
from unlearn.metrics.memory.nll import text_nll


def token(lp, rank=0, mu=-1.0, sigma=1.0, id=5):
    """One answer token as unlearn.measure.evaluate records it."""
    return {"token": "x", "id": id, "logit": 0.0, "lp": lp, "rank": rank, "mu": mu, "sigma": sigma, "top": []}


def seen(lps, ranks=None, *, role="forget", index=0, question="q", answer="a b", text="a b", **more):
    """An observation whose answer tokens have these log-probs and ranks."""
    ranks = ranks or [0] * len(lps)
    tokens = tuple(token(lp, rank, **more) for lp, rank in zip(lps, ranks, strict=True))
    return Observation(role, index, question, "prompt", answer, text, tokens)


@dataclass
class Planted:
    """metrics.base.Evidence from dicts keyed (when, role); a missing entry is an empty list."""

    observations: dict
    wrong: dict = field(default_factory=dict)
    flags: dict = field(default_factory=dict)
    texts: dict = field(default_factory=dict)
    generation: dict = field(default_factory=dict)
    prefixes: dict = field(default_factory=dict)
    states: dict = field(default_factory=dict)
    apart: dict = field(default_factory=dict)
    answers: dict = field(default_factory=dict)
    left: dict = field(default_factory=dict)
    blocks: dict = field(default_factory=dict)
    matters: dict = field(default_factory=dict)
    vectors: dict = field(default_factory=dict)

    @property
    def models(self):
        return tuple(dict.fromkeys(when for when, _ in self.observations))

    @property
    def roles(self):
        return tuple(dict.fromkeys(role for _, role in self.observations))

    def rows(self, role):
        count = len(next(found for (_, r), found in self.observations.items() if r == role))
        return [Row(answer=a, question="q") for a in self.answers.get(role, ["Paris"] * count)]

    def seen(self, when, role):
        return self.observations[when, role]

    def wrong_nll(self, when, role):
        return self.wrong[when, role]

    def otherwise(self, when):
        pairs = zip(self.seen(when, "paraphrase"), self.wrong_nll(when, "paraphrase"), strict=True)
        return [(text_nll(right), wrong) for right, wrong in pairs]

    def entities(self, role):
        return self.flags[role]

    def generated(self, when, role):
        return self.texts.get((when, role), [])

    def generation_nll(self, when, role):
        return self.generation[when, role]

    def continuations(self, when, role):
        return self.prefixes[when, role]

    def features(self, when, role):
        return self.states[when, role]

    @property
    def encodes(self):
        return bool(self.vectors)

    def embedded(self, when, role):
        return self.vectors[when, role]

    def divergence(self, truth, when, role):
        return self.apart[truth, when, role]

    def patched(self, when, role):
        return self.left.get((when, role), [])

    def layers(self, when, role):
        return self.blocks[when, role]

    def fisher(self, when, role):
        return self.matters.get((when, role), [])
