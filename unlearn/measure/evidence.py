"""This module reads the evidence for metrics from real models. Each answer is read once and kept by its
content, as metrics.base.Evidence promises.

Observations come from the run's own cache; wrong answers, continuations from every prefix and what the original
makes of a continuation are kept beside them; states and distributions live only as long as this object. Models
are loaded when first asked, so a metric that needs none of them loads none. No text goes through a model twice: states
are kept while the observations are made, and a continuation that was read before, or is the text's own answer, is not
read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from unlearn.compute.lazy import Tensor, lm, no_grad, torch
from unlearn.compute.tokens import Example, Whole
from unlearn.data.base import Row
from unlearn.data.items.base import Items
from unlearn.measure import score_cache
from unlearn.measure.continued import Continued
from unlearn.measure.drifting import fisher, mean_states
from unlearn.measure.encoder import TextEncoder
from unlearn.measure.evaluate import observe
from unlearn.measure.items import ask, from_json, to_json
from unlearn.measure.patching import patched, shape_of
from unlearn.measure.prefixes import continue_all, plan
from unlearn.measure.reader import Reader, each
from unlearn.metrics import Observation
from unlearn.metrics.base import Answered
from unlearn.metrics.memory.nll import text_nll
from unlearn.models.load import Loaded
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    import numpy as np


Value = TypeVar("Value")


class ModelEvidence:
    """The evidence of a run's models, which reads a model only when a metric asks for it.

    chosen: the rows by role. load: a function from when to models.Loaded. hashes: {when: hash of its weights}
    for the models that exist. store: the folder whose cache is used (None: no cache). progress(phrase,
    fraction) is called while reading. keeps: the roles whose states will be asked for, so that they are not
    read a second time. items: finds the items of the run's benchmark, when a metric of it asks for them. encoder: what
    turns texts into vectors, for metrics that ask for them. otherwise: the forget questions in other words, each fact
    once, where these are not the rows of the role paraphrase.
    """

    def __init__(
        self,
        chosen: Mapping[str, Sequence[Row]],
        load: Callable[[str], Loaded],
        hashes: Mapping[str, str],
        *,
        data_hash: str = "",
        max_length: int = 512,
        store: Path | None = None,
        progress: Callable[[str, float], None] = lambda phrase, fraction: None,
        items: Callable[[], Items] = lambda: Items({}),
        encoder: TextEncoder | None = None,
        otherwise: Sequence[Row] | None = None,
    ) -> None:
        self._find_items, self.encoder = items, encoder
        self._otherwise = otherwise
        self.chosen, self.hashes, self.data_hash = chosen, hashes, data_hash
        self.reader, self.store = Reader(load, max_length, progress), store
        self.keeps: Collection[str] = ()
        self._memo: dict[tuple[object, ...], Any] = {}
        self._continued = Continued(self.reader)

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that exist, by when: before, after, retrained."""
        return tuple(self.hashes)

    @property
    def roles(self) -> tuple[str, ...]:
        """Return the roles whose texts are scored."""
        return tuple(self.chosen)

    @cached_property
    def items(self) -> Items:
        """Return the items of the benchmark that the run belongs to. There may be none."""
        return self._find_items()

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names of the parts of that benchmark that are at hand."""
        return tuple(self.items.parts)

    def items_hash(self, benchmark: str) -> str:
        """Return digits that change with the items of this benchmark. They are empty where there are none."""
        mine = {name: part.hash() for name, part in self.items.parts.items() if name.split()[0] == benchmark}
        return _digest(mine) if mine else ""

    def answered(self, when: str, part: str) -> Sequence[Answered]:
        """Return what a model made of each item of one part of the benchmark, in order."""
        return self._once(("answered", when, part), lambda: self._ask(when, part))

    def _ask(self, when: str, name: str) -> list[Answered]:
        part = self.items.parts[name]

        def read() -> list[JsonObject]:
            return to_json(
                ask(
                    self.reader.model(when),
                    part,
                    max_length=self.reader.length(when),
                    progress=lambda share: self.reader.progress(f"{name}, {when}", share),
                    count=lambda tokens: self.reader.count(when, tokens),
                )
            )

        if self.store is None:
            return from_json(read())
        # The rows of the run have no part in it.
        known = {**self._identity(when), "data": "", "items": part.hash()}
        return from_json(score_cache.remember(self.store, known, read))

    def rows(self, role: str) -> Sequence[Row]:
        """Return the rows of a role in the order of its observations."""
        return self.chosen[role]

    # -- kept by content -----------------------------------------------------------------------------------------

    def seen(self, when: str, role: str) -> Sequence[Observation]:
        """Return one observation for each row, in order."""
        everything = self._once(("seen", when), lambda: self._observe(when))
        return [o for o in everything if o.role == role]

    def wrong_nll(self, when: str, role: str) -> Sequence[Sequence[float]]:
        """Return for each row the mean token NLL of each wrong answer in the place of the right one."""

        def read() -> list[list[float]]:
            rows = [replace(r, answer=w, entities=()) for r in self.rows(role) for w in r.wrong]
            examples = self.reader.encode(when, rows)
            values = iter(self.reader.mean_nlls(when, examples))
            return [[next(values) for _ in row.wrong] for row in self.rows(role)]

        return self._kept(when, {"what": "wrong answers", "role": role}, read)

    def otherwise(self, when: str) -> Sequence[tuple[float, Sequence[float]]]:
        """Return for each forget question in other words, each fact once, the mean token NLL of the right answer and of
        each wrong one.
        """
        if self._otherwise is None:
            pairs = zip(self.seen(when, "paraphrase"), self.wrong_nll(when, "paraphrase"), strict=True)
            return [(text_nll(right), wrong) for right, wrong in pairs]
        asked = [row for row in self._otherwise if row.wrong]

        def read() -> list[list[float]]:
            rows = [replace(r, answer=a, entities=()) for r in asked for a in (r.answer, *r.wrong)]
            values = iter(self.reader.mean_nlls(when, self.reader.encode(when, rows)))
            return [[next(values) for _ in (row.answer, *row.wrong)] for row in asked]

        which = _digest([row.question for row in asked])
        found = self._kept(when, {"what": "asked otherwise", "rows": which}, read)
        return [(right, wrong) for right, *wrong in found]

    def generation_nll(self, when: str, role: str) -> Sequence[float | None]:
        """Return for each continuation of `when` its mean token NLL under the model before."""
        texts = [(Whole(o.prompt) if o.whole else o.prompt, o.text) for o in self.seen(when, role)]

        def read() -> list[float | None]:
            return self._continued.nlls(texts, self._examples("before", role), self.seen("before", role))

        return self._kept("before", {"what": "generations", "texts": _digest(texts)}, read)

    def continuations(self, when: str, role: str) -> Sequence[tuple[list[int], dict[int, list[int]]]]:
        """Return for each row its answer tokens, with {position: greedy continuation from there}."""
        found = self._kept(
            when, {"what": "continuations", "role": role}, lambda: self._continuations(when, role)
        )
        return [(answer, {int(t): ids for t, ids in texts.items()}) for answer, texts in found]

    def entities(self, role: str) -> Sequence[Sequence[bool]]:
        """Return for each row one flag per answer token: whether it is in an entity of the answer."""
        examples = self._examples("before", role)
        return [[e.entity[i] for i in e.answer_at] for e in examples]

    def generated(self, when: str, role: str) -> Sequence[Sequence[int]]:
        """Return the token ids of each greedy continuation."""

        def read() -> list[list[int]]:
            tokenizer = self.reader.tokenizer(when)
            return [tokenizer(o.text, add_special_tokens=False)["input_ids"] for o in self.seen(when, role)]

        return self._once(("generated", when, role), read)

    @property
    def encodes(self) -> bool:
        """Return whether there is an encoder of texts."""
        return self.encoder is not None

    def embedded(self, when: str, role: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the encoder's vectors of what the model said and of the true texts, each a float array [rows, d]."""
        encoder = self.encoder
        assert encoder is not None, "metrics ask first whether there is one"
        seen = self.seen(when, role)

        def read(texts: list[str]) -> np.ndarray:
            return self._once(("vectors", *texts), lambda: encoder.vectors(texts))

        return read([o.text.strip() for o in seen]), read([o.answer.strip() for o in seen])

    # -- states and distributions --------------------------------------------------------------------------------

    def features(self, when: str, role: str) -> np.ndarray:
        """Return the final-layer states as a float array [rows, d], averaged over each text's answer
        positions.
        """
        return torch.stack([states.double().mean(0) for states in self._states(when, role)]).cpu().numpy()

    @no_grad
    def divergence(self, truth: str, when: str, role: str) -> Sequence[float]:
        """Return for each row the mean over its answer tokens of KL(p_truth ‖ p_when), in nats."""
        if truth == when:
            return [0.0] * len(self.rows(role))
        heads = [lm.head_of(self.reader.model(name).model) for name in (truth, when)]
        values = []
        for p, q in zip(self._states(truth, role), self._states(when, role), strict=True):
            logp, logq = (head(x).log_softmax(-1) for head, x in zip(heads, (p, q), strict=True))
            values.append(float((logp.exp() * (logp - logq)).sum(-1).mean()))
        return values

    def patched(self, when: str, role: str) -> Sequence[Sequence[float]]:
        """Return for each row and layer the mean log-prob of the answer's entities under the model before, with the
        layer's states of `when` put in. It is empty where the two models differ in shape.
        """

        def read() -> list[list[float]]:
            target, source = (self.reader.model(name) for name in ("before", when))
            shapes = {shape_of(loaded.model) for loaded in (target, source)}
            if None in shapes or len(shapes) > 1:
                return []
            self.reader.progress(f"putting the states of {when} into before", 0.0)
            return patched(
                target,
                None if when == "before" else source,
                self._examples("before", role),
                lambda tokens: self.reader.count("before", tokens),
            )

        return self._kept("before", {"what": "patched", "from": self.hashes[when], "role": role}, read)

    def layers(self, when: str, role: str) -> np.ndarray:
        """Return each block's states as a float array [blocks, rows, d], averaged over each text's answer
        positions. It is empty for a model without a list of blocks.
        """

        def read() -> np.ndarray:
            loaded = self.reader.model(when)
            if shape_of(loaded.model) is None:
                return torch.empty(0).numpy()
            examples = self._examples(when, role)
            return mean_states(loaded, examples, lambda tokens: self.reader.count(when, tokens))

        return self._once(("layers", when, role), read)

    def fisher(self, when: str, role: str) -> Sequence[float]:
        """Return of each block the mean of the diagonal of its weights' Fisher information, or nothing."""
        examples = self._examples(when, role)
        return self._kept(
            when, {"what": "fisher", "role": role}, lambda: fisher(self.reader.model(when), examples)
        )

    # -- reading -------------------------------------------------------------------------------------------------

    def _identity(self, when: str) -> JsonObject:
        # Number format and device are those of the run.
        loaded = self.reader.model("before")
        return {
            "model": self.hashes[when],
            "data": self.data_hash,
            "dtype": loaded.dtype,
            "device": loaded.device,
            "max_length": self.reader.length("before"),
        }

    def _once(self, key: tuple[object, ...], read: Callable[[], Value]) -> Value:
        if key not in self._memo:
            self._memo[key] = read()
        return self._memo[key]

    def _kept(self, when: str, what: Mapping[str, object], read: Callable[[], Value]) -> Value:
        """read(), once here and once for the same weights and data in the store."""

        def ask() -> Value:
            if self.store is None:
                return read()
            return score_cache.remember(self.store, self._identity(when) | dict(what), read)

        return self._once((when, *what.values()), ask)

    def _observe(self, when: str) -> list[Observation]:
        if self.store and (found := score_cache.read(self.store, self._identity(when))):
            return found
        loaded = self.reader.model(when)
        chosen = {role: list(rows) for role, rows in self.chosen.items()}
        found = observe(
            loaded.model,
            loaded.tokenizer,
            chosen,
            max_length=self.reader.length(when),
            device=loaded.device,
            progress=lambda fraction: self.reader.progress(f"reading {when}", fraction),
            look=self._keeping(when),
        )
        for role in self.roles:
            self.reader.count(when, sum(len(e.input_ids) + len(e.source) for e in self._examples(when, role)))
        self.reader.count(when, sum(len(loaded.tokenizer(o.prompt + o.text)["input_ids"]) for o in found))
        if self.store:
            score_cache.write(self.store, self._identity(when), found)
        return found

    def _keeping(self, when: str) -> Callable[[lm.Answers], None]:
        """What observe() calls with each batch: the states of the roles in keeps go where _states looks for them."""
        places = [(role, i) for role, rows in self.chosen.items() for i in range(len(rows))]
        kept: dict[str, list[Tensor | None]] = {
            role: [None] * len(rows) for role, rows in self.chosen.items() if role in self.keeps
        }
        self._memo |= {("states", when, role): states for role, states in kept.items()}

        def keep(answers: lm.Answers) -> None:
            for key, states in zip(answers.keys, each(answers), strict=True):
                role, i = places[key]
                if role in kept:
                    kept[role][i] = states

        return keep

    def _examples(self, when: str, role: str) -> list[Example]:
        def read() -> list[Example]:
            return self.reader.encode(when, self.rows(role))

        return self._once(("examples", when, role), read)

    def _states(self, when: str, role: str) -> list[Tensor]:
        """[n_i, d] of each text: what the head gets at its answer positions."""

        def read() -> list[Tensor]:
            return self.reader.read(when, self._examples(when, role), each)

        return self._once(("states", when, role), read)

    def _continuations(self, when: str, role: str) -> list[tuple[list[int], dict[int, list[int]]]]:
        eos = self.reader.tokenizer(when).eos_token_id
        pairs = zip(self.seen(when, role), self._examples(when, role), strict=True)
        texts = [plan(e, [token["rank"] for token in o.tokens], eos) for o, e in pairs]

        def read(tokens: int, fraction: float) -> None:
            self.reader.count(when, tokens)
            self.reader.progress(f"continuing {when}", fraction)

        return continue_all(self.reader.model(when), texts, read)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
