"""The base class of all methods. Knobs are fields, the mathematics is loss(), and the rest is shared.
Everything else is told about it here once.

Form, validation, JSON, the Methods page and the promises in tests all read the same class, so that adding a
method takes one file, one entry in the list and one golden test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from unlearn.compute.lazy import Model, Tensor, Tokenizer, lm
from unlearn.compute.tokens import Batch, Tokens
from unlearn.data.base import Dataset, Row
from unlearn.models.entries import CATALOGUE
from unlearn.store.config import formats_of
from unlearn.store.knobs import Knob, check, knob, knobs_of, nearest
from unlearn.store.runs import RunConfig
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.training.batches import Batches
from unlearn.training.loop import Phases, Step, Stream
from unlearn.training.reference import Reference

# The sources of tuned settings, unless a method names another. The trials are in LOG.md.
ORIGINS = {
    "tiny": "tuned here on tiny-authors, on rows that are reported too; measured with three seeds",
    "small": "tuned here on SmolLM2-135M and capitals, on rows that are reported too; one seed",
    "large": "by analogy with the smaller sizes; not measured here",
    "own": "tuned here on this model, measured with three seeds",
    "smollm2-tofu": "tuned here on this model and an author that is not reported, one seed",
    "several": "tuned here on SmolLM2-135M and half of the capitals, in three formats, one seed; the others report",
}
# The source of settings for tiny models that are not the bundled ones.
CHAT_MODELS = (
    "tuned here on two to five tiny chat models of other facts, one seed; bundled models have their own"
)
# Where texts to keep may come from, and the roles of the data that hold them.
SOURCES = {"in-distribution": ("retain",), "general": ("general",), "both": ("retain", "general")}
ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
# Below 20 M parameters, below 1 B, from 1 B on.
SIZES: tuple[str, ...] = ("tiny", "small", "large")
# The tiny models that come with the product, which some methods treat otherwise than other tiny models.
BUNDLED = "bundled"


@dataclass(frozen=True)
class Outlook:
    """An estimate of what a run with its own training loop will take. seconds: of training alone. notes:
    sentences for the form.
    """

    steps: int
    tokens: int
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Method:
    """The base class of all methods. Subclasses are frozen dataclasses with knobs and loss() first, then the
    texts for a page.

    url: the paper's address, made from the arXiv number in `paper`.
    when: when to use it, in a sentence.
    needs_ref: what the reference keeps of each side: {"forget": "sums"} one log-likelihood a sequence,
    {"forget": "states"} the whole distribution at each answer token. A method that needs more of the time
    before the first step (labels drawn once, a direction, other texts) extends prepare().
    also: {a name that a paper uses for this method: the knobs that make it so}.
    resumes: whether a stopped run can go on from a checkpoint; not where unlearn() keeps a state of its own.
    leans: whether it can train with memory lean; not where unlearn() has an optimiser of its own.
    explorable: whether loss() alone tells what a step does to one text (see gradient.py). None: unless unlearn()
    is overridden, since its loss may then be one phase of several.
    continues: whether it goes on from a trained model, so that one request can follow another.
    follows: whether it is a step after a finished run, whose weights it begins with, and no choice of its own.
    forget_terms: the terms of loss() that forget, so that SAM can take their gradient alone; none where no gradient
    forgets.
    changes_weights: whether it changes the model itself; a method that changes how the next token is chosen promises
    that the start lies inside bit by bit, and its weights are exported for no other program.
    early: whether a run may end after any step, since the weights are then what the method made of them so far.
    tuned: {size, (size, tuning) or (catalogue model, tuning): {"lr", "epochs", "batch_size", knob…}}. "bundled" in the
    place of a size means the tiny models that come with the product.
    several: {(size or catalogue model, tuning): {…}}: what is otherwise where a run trains in several prompt formats.
    origins: {size or catalogue model: where its tuned settings come from}, beside ORIGINS.
    collapses: empty, or the sentence that says that the method is known to destroy the model.
    tunings: what it can train (unlearn.models.tuning), its default first; "layers" needs a knob layer_share.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    url: ClassVar[str]
    sentence: ClassVar[str]
    formula: ClassVar[str]
    when: ClassVar[str] = ""
    cost: ClassVar[str]
    risk: ClassVar[str]
    collapses: ClassVar[str] = ""
    needs_ref: ClassVar[Mapping[str, Literal["sums", "states"]]] = {}
    tuned: ClassVar[Mapping[str | tuple[str, str], Mapping[str, float | str]]] = {}
    several: ClassVar[Mapping[tuple[str, str], Mapping[str, float | str]]] = {}
    origins: ClassVar[Mapping[str, str]] = {}
    tunings: ClassVar[tuple[str, ...]] = ("full", "lora")
    also: ClassVar[Mapping[str, JsonView]] = {}
    resumes: ClassVar[bool] = True
    leans: ClassVar[bool] = True
    explorable: ClassVar[bool | None] = None
    continues: ClassVar[bool] = True
    follows: ClassVar[bool] = False
    forget_terms: ClassVar[tuple[str, ...]] = ("forget",)
    early: ClassVar[bool] = True
    changes_weights: ClassVar[bool] = True

    def __init_subclass__(cls, **more: object) -> None:
        """The link to the first arXiv number that the paper's line names, so that a file states it once."""
        super().__init_subclass__(**more)
        if found := ARXIV.search(vars(cls).get("paper", "")):
            cls.url = f"https://arxiv.org/abs/{found[1]}"

    def __post_init__(self) -> None:
        for k in self.knobs():
            object.__setattr__(self, k.name, check(type(self).title, k, getattr(self, k.name)))

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        """Return the method's settings in the order of its file."""
        return knobs_of(cls)

    @classmethod
    def from_knobs(cls, values: JsonView) -> Method:
        """Return the method with these settings. ValueError names an unknown knob and the known ones."""
        known = [k.name for k in cls.knobs()]
        if unknown := sorted(set(values) - set(known)):
            near = nearest(unknown[0], known)
            raise ValueError(
                f"{cls.title}: no knob {', '.join(unknown)}; it has {', '.join(known) or 'none'}{near}."
            )
        return cls(**values)

    @classmethod
    def settings(cls, size: str, tuning: str, model: str = "", prompt: str = "") -> JsonObject:
        """Return the defaults tuned for a model size, or for this very model: {"lr", "epochs", "batch_size",
        "knobs": {…}}. prompt: the run's formats, as in RunConfig.
        """
        found: JsonObject = {"lr": 1e-4, "epochs": 5, "batch_size": 16}
        # A setting without a value for a size is taken from the next smaller size.
        for known in SIZES[: SIZES.index(size) + 1]:
            found |= {**cls.tuned.get(known, {}), **cls.tuned.get((known, tuning), {})}
        if model in CATALOGUE and CATALOGUE[model].has_own_retrain:
            found |= {**cls.tuned.get(BUNDLED, {}), **cls.tuned.get((BUNDLED, tuning), {})}
        found |= {**cls.tuned.get((model, tuning), {}), **cls.in_several(size, tuning, model, prompt)}
        own = {k.name for k in cls.knobs()}
        knobs = {k.name: k.default for k in cls.knobs()} | {n: v for n, v in found.items() if n in own}
        return {n: v for n, v in found.items() if n not in own} | {"knobs": knobs}

    @classmethod
    def in_several(
        cls, size: str, tuning: str, model: str = "", prompt: str = ""
    ) -> Mapping[str, float | str]:
        """Return what is otherwise because the run trains in several formats: nothing where it trains in one."""
        several = len(formats_of(prompt)) > 1
        return cls.several.get((cls.settings_of(size, model), tuning), {}) if several else {}

    @classmethod
    def origin(cls, size: str, model: str = "", tuning: str = "", prompt: str = "") -> str:
        """Return the source of the settings for that size, or for this very model."""
        if cls.in_several(size, tuning, model, prompt):
            return ORIGINS["several"]
        found = ORIGINS | dict(cls.origins)
        whose = cls.settings_of(size, model)
        if whose == BUNDLED:
            return ORIGINS["tiny"]
        return found[size] if whose == size else found.get(model, found["own"])

    @classmethod
    def settings_of(cls, size: str, model: str = "") -> str:
        """Return whose settings a model of that size is given: its own name, "bundled", or its size."""
        if model in cls.own_models():
            return model
        heads = {key if isinstance(key, str) else key[0] for key in cls.tuned}
        entry = CATALOGUE.get(model)
        return BUNDLED if BUNDLED in heads and entry and entry.has_own_retrain else size

    @classmethod
    def own_models(cls) -> tuple[str, ...]:
        """Return the catalogue models for which the method has settings beside those for their size."""
        sizes = (*SIZES, BUNDLED)
        return tuple(dict.fromkeys(k[0] for k in cls.tuned if isinstance(k, tuple) and k[0] not in sizes))

    @classmethod
    def risks(cls) -> str:
        """Return how the method fails, beginning with what it is known to destroy."""
        return " ".join(filter(None, (cls.collapses, cls.risk)))

    @classmethod
    def tuning_for(cls, asked: str) -> str:
        """Return the tuning that was asked for, or the method's default where it cannot train that one."""
        return asked if asked in cls.tunings else cls.tunings[0]

    def rows(self, model: str, data: Dataset) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Return the (forget, retain) rows that the method trains on. model: as in RunConfig.

        ValueError when there is nothing to keep where the retain knobs ask for it.
        """
        forget = data.fit_rows("forget")
        if self.retain_ratio <= 0:
            return forget, ()
        roles = self.retain_roles
        retain = tuple(row for role in roles for row in data.fit_rows(role))
        if not retain:
            raise ValueError(
                f"{type(self).title}: it needs rows to keep (role {' or '.join(roles)}), and {data.title} has "
                "none; give a retain file, choose another source, or set retain_weight to 0."
            )
        return forget, retain

    def remarks(self, data: Dataset) -> tuple[str, ...]:
        """Return sentences about these rows that a person must be told before a run of this method, and in its
        record.
        """
        return ()

    def stream(self, batches: Batches) -> Stream:
        """Return the run's batches in the order in which the method trains on them."""
        return batches

    def outlook(self, config: RunConfig, data: Dataset) -> Outlook | None:
        """Return an estimate of what a run will take, or None where its batches tell it
        (unlearn.work.preflight).
        """
        return None

    def build(self, model: Model) -> Model:
        """Return the model that is trained and kept, before any tuning. It is this one, unless the method
        needs another.
        """
        return model

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised, and each is a curve on
        screen.
        """
        raise NotImplementedError

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Carry out one training phase on loss() and yield after each step. Methods with two phases or with
        weight arithmetic override this.

        fit(loss, …) is execute()'s: a generator of Steps over a fresh stream of batches; see train.Phases.
        """
        return fit(lambda batch: self.loss(model, ref, batch))

    def prepare(self, model: Model, ref: Reference, stream: Batches, tokenizer: Tokenizer) -> None:
        """Fill the reference before the first step with the values that loss() needs. stream has the run's
        seed.
        """
        device = next(model.parameters()).device
        for side, kind in self.needs_ref.items():
            ref.prepare(model, kind, (tokens.to(device) for tokens in stream.every(side)))

    def referred(self, ref: Reference, batch: Batch) -> Iterator[tuple[str, Tokens]]:
        """Yield (kind, texts) in the order in which loss() asks the reference about them on this batch."""
        for side, kind in self.needs_ref.items():
            if (tokens := getattr(batch, side)) is not None:
                yield kind, tokens

    def trainable(self, name: str, depth: int) -> bool:
        """Return whether this parameter of a model of `depth` blocks may be trained. The tuning must allow it
        too.
        """
        return True

    @property
    def uses_forget(self) -> bool:
        """Return whether a batch needs forget texts."""
        return True

    @property
    def retain_ratio(self) -> float:
        """Return the number of retain texts for each forget text. It is 0 for a method without a retain term."""
        return 0.0

    @property
    def retain_roles(self) -> tuple[str, ...]:
        """Return the roles of the data that the texts to keep come from."""
        return ("retain",)

    @property
    def members(self) -> int:
        """Return how many models of the start's size the result holds."""
        return 1

    def to_json(self) -> JsonObject:
        """Return the method's settings as plain values that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class RetainMethod(Method):
    """A method with a retain term α NLL(R), whose source, ratio and weight are knobs."""

    retain_weight: float = knob(1.0, 0.0, 100.0, "α: how much keeping the rest counts against forgetting.")
    retain_source: str = knob(
        "in-distribution",
        help="Where the texts to keep come from: the same domain, everywhere else, or both.",
        choices=tuple(SOURCES),
    )
    retain_per_forget: float = knob(2.0, 0.25, 16.0, "Texts to keep for each text to forget, in every batch.")

    @property
    def retain_ratio(self) -> float:
        """Return the number of retain texts for each forget text."""
        return self.retain_per_forget if self.retain_weight > 0 else 0.0

    @property
    def retain_roles(self) -> tuple[str, ...]:
        """Return the roles of the data that the texts to keep come from."""
        return SOURCES[self.retain_source]

    def both(self, model: Model, batch: Batch) -> tuple[lm.Answers, lm.Answers | None]:
        """Return the answers of the forget and the retain side from one forward pass. retain is None where α
        is 0.
        """
        if batch.retain is None:
            return lm.forward(model, batch.forget)[0], None
        forget, retain = lm.forward(model, batch.forget, batch.retain)
        return forget, retain

    def with_retain(self, forget: Tensor, retain: lm.Answers | None) -> dict[str, Tensor]:
        """Return the terms {"forget": …, "retain": α NLL(R)} of the loss."""
        if retain is None:
            return {"forget": forget}
        return {"forget": forget, "retain": self.retain_weight * retain.mean_nll()}
