"""The bench that claims are tested on: unlearning runs and readings, each carried out once and kept by content.

An experiment is many small runs of which only the scores are wanted. So a run here is trained and read in memory, as
execute() does it, without samples, probes and weights on the disk; what came out is one small file, named by
everything that it depends on. Whoever asks for the same again, in another claim or after a kill, gets the file.
Scores are read with the right answer given (no generation): ppl, accuracy, probability, memorised.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from unlearn.data.base import Dataset, Row
from unlearn.disk import write_json
from unlearn.grid import Cell
from unlearn.runs import RunConfig
from unlearn.sweep_record import identity

FORMAT = 1  # raise when what is measured changes
MODEL, DATA = "tiny-authors", "authors"
LIMIT = 60  # texts a role; the forget role is read whole up to FORGET_LIMIT
FORGET_LIMIT = 120
METRICS = ("ppl", "accuracy", "probability", "memorised")
ROLES = ("forget", "retain", "general", "neighbours", "approximate")
BATCH = 64
Rows = Mapping[str, Sequence[Row]]
Seen = Mapping[str, Sequence[Any]]  # role → observations


@dataclass
class Lab:
    """folder: where outcomes are kept. say: called with a line for each thing that has to be computed."""

    folder: Path
    say: Callable[[str], None] = lambda line: None
    computed: int = field(default=0, init=False)
    reused: int = field(default=0, init=False)

    def once(self, what: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """compute(), a plain JSON object, or what it gave for the same `what` before. Non-finite numbers are words."""
        text = json.dumps({"format": FORMAT, **what}, sort_keys=True, default=str)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            self.reused += 1
        except (OSError, ValueError):
            self.say(str(what.get("what", "")))
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, compute())
            found = json.loads(path.read_text(encoding="utf-8"))
            self.computed += 1
        return found

    @cached_property
    def authors(self) -> Dataset:
        from unlearn.data.catalogue import load

        return load(DATA)

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Weights of the bundled model and of its retrain, by content."""
        from unlearn.models import CATALOGUE, weights_hash

        entry = CATALOGUE[MODEL]
        return {
            "before": weights_hash(entry.path(), None),
            "retrained": weights_hash(entry.retrain(), None),
        }

    def reference(self, rows: Rows, when: str = "before") -> dict[str, Any]:
        """{role: scores} of the bundled model (before) or of its exact retrain (retrained)."""
        what = {"what": f"the scores {when}", "model": self.hashes[when], "rows": content(rows)}

        def compute() -> dict[str, Any]:
            loaded = bundled(when)
            return scores_of(read(loaded.model, loaded.tokenizer, rows))

        return self.once(what, compute)

    def trial(
        self,
        config: RunConfig,
        data: Dataset | None = None,
        *,
        roles: Sequence[str] = ROLES,
        every: int = 0,
        also: Mapping[str, Callable[[Seen, Rows, Any], Any]] | None = None,
        watch: Callable[[Seen, Rows, Any], Any] | None = None,
    ) -> dict[str, Any]:
        """One run of the bundled model: {"state", "reason", "seconds", "tokens", "steps", "scores", "curve", also…}.

        every: scores of `roles` after every so many epochs, as "curve". also: further values, each a pure function of
        (observations after, rows, tokenizer), kept under its name; watch: the same at each point of the curve, under
        "watched". seconds: CPU seconds of training alone.
        """
        data = data or self.authors_of(config)
        rows = rows_of(data, roles)
        what = {
            "what": f"{config.method}, lr {config.lr:g}, {config.epochs} epochs, seed {config.seed}",
            "run": identity(config),
            "data": data.hash(),
            "model": self.hashes["before"],
            "roles": list(rows),
            "every": every,
            "also": sorted(also or {}),
        } | ({"watch": f"{watch.__module__}.{watch.__name__}"} if watch else {})

        def compute() -> dict[str, Any]:
            loaded = bundled()
            curve: list[dict[str, Any]] = []

            def look(step: int, per_epoch: int) -> None:
                if every and step % (every * per_epoch) == 0:
                    seen = read(loaded.model, loaded.tokenizer, rows)
                    point = {"epoch": step // per_epoch, "scores": scores_of(seen)}
                    curve.append(point | ({"watched": watch(seen, rows, loaded.tokenizer)} if watch else {}))

            found = train(loaded, config, data, look)
            seen = read(loaded.model, loaded.tokenizer, rows) if found["state"] == "done" else {}
            found |= {"scores": scores_of(seen), "curve": curve}
            return found | {k: fn(seen, rows, loaded.tokenizer) for k, fn in (also or {}).items() if seen}

        return self.once(what, compute)

    def chain(self, config: RunConfig, order: Sequence[int], rows: Rows) -> dict[str, Any]:
        """Deletion requests one after the other, each from what the one before left: {"state", "after": [scores …]}.

        after[k]: {role: scores} of `rows` after k requests, "after"[0] before the first.
        """
        what = {
            "what": f"chain of {config.method} over {','.join(map(str, order))}, seed {config.seed}",
            "run": identity(config),
            "order": list(order),
            "model": self.hashes["before"],
            "data": self.authors.hash(),
            "rows": content(rows),
        }

        def compute() -> dict[str, Any]:
            loaded, original = bundled(), bundled().model
            after = [scores_of(read(loaded.model, loaded.tokenizer, rows))]
            for k, request in enumerate(order):
                data = self.authors.only_requests((request,))
                found = train(loaded, config, data, original=original if k else None)
                if found["state"] != "done":
                    return {"state": "failed", "reason": found["reason"], "after": after}
                after.append(scores_of(read(loaded.model, loaded.tokenizer, rows)))
            return {"state": "done", "reason": "", "after": after}

        return self.once(what, compute)

    def authors_of(self, config: RunConfig) -> Dataset:
        asked = tuple(config.data.get("requests") or ())
        return self.authors.only_requests(asked) if asked else self.authors

    def cell(self, config: RunConfig, data: Dataset | None = None) -> Cell:
        """A trial as a cell of a grid (unlearn.grid), with the scores before it and of the exact retrain."""
        found = self.trial(config, data)
        rows = rows_of(data or self.authors_of(config), ROLES)
        scores = {"before": self.reference(rows), "after": found["scores"]}
        if data is None and not config.data.get("requests"):
            scores["retrained"] = self.reference(rows, "retrained")
        place = {key: getattr(config, key) for key in ("method", "lr", "epochs", "batch_size", "seed")}
        told = {key: found[key] for key in ("state", "reason", "seconds", "tokens")}
        return Cell(**place, **told, scores=scores)


def settings(method: str, *, tuning: str = "full", **changes: Any) -> RunConfig:
    """The method's tuned settings for the bundled model; knobs and run settings in `changes` replace them."""
    from unlearn.methods import method_named

    cls = method_named(method)
    tuning = cls.tuning_for(tuning)
    found = cls.settings("tiny", tuning)
    names = {k.name for k in cls.knobs()}
    knobs = found.pop("knobs") | {k: v for k, v in changes.items() if k in names}
    knobs = cls.from_knobs(knobs).to_json()
    rest = {k: v for k, v in changes.items() if k not in names}
    config = RunConfig(model=MODEL, data={"name": DATA}, method=method, knobs=knobs, tuning=tuning, probes=0)
    return replace(config, **(found | rest))


def bundled(when: str = "before") -> Any:
    """models.Loaded of the bundled model or its retrain, on the CPU: figures must not depend on what else is there."""
    from unlearn.models import CATALOGUE, load

    if when == "retrained":
        return load(str(CATALOGUE[MODEL].retrain()), device="cpu")
    return load(MODEL, device="cpu")


def rows_of(data: Dataset, roles: Sequence[str]) -> dict[str, list[Row]]:
    """The rows that are read: those that no method trains on, at most LIMIT a role, always the same ones."""
    found = {}
    for role in roles:
        rows = list(data.score_rows(role))
        limit = FORGET_LIMIT if role == "forget" else LIMIT
        if len(rows) > limit:
            rows = [rows[i] for i in sorted(Random(0).sample(range(len(rows)), limit))]
        if rows:
            found[role] = rows
    return found


def content(rows: Rows) -> str:
    return hashlib.sha256(repr({role: list(mine) for role, mine in rows.items()}).encode()).hexdigest()[:12]


# -- reading -----------------------------------------------------------------------------------------------------


def read(model: Any, tokenizer: Any, rows: Rows) -> dict[str, list[Any]]:
    """One observation a row, its answer tokens with lp, rank, mu and sigma; nothing is generated."""
    import torch

    from unlearn.data.batches import encode_rows
    from unlearn.lm import collate, forward, top_k
    from unlearn.metrics.base import Observation

    placed = [(role, i, row) for role, mine in rows.items() for i, row in enumerate(mine)]
    examples = encode_rows(tokenizer, [row for *_, row in placed], max_length=512)
    order = sorted(examples, key=lambda e: len(e.input_ids))
    tokens: dict[int, tuple[dict[str, Any], ...]] = {}
    with torch.no_grad():
        for at in range(0, len(order), BATCH):
            (answers,) = forward(model, collate(order[at : at + BATCH], tokenizer.pad_token_id))
            found = {
                k: v.tolist() for k, v in top_k(answers, 1).items() if k in ("lp", "rank", "mu", "sigma")
            }
            each = [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
            start = 0
            for key, count in zip(answers.keys, answers.row_count.tolist(), strict=True):
                tokens[key] = tuple(each[start : start + count])
                start += count
    seen: dict[str, list[Any]] = {role: [] for role in rows}
    for key, (role, i, row) in enumerate(placed):
        seen[role].append(Observation(role, i, row.question, row.prompt, row.answer, "", tokens[key]))
    return seen


def scores_of(seen: Seen) -> dict[str, dict[str, float]]:
    """{role: {"n", ppl, accuracy, probability, memorised}}."""
    from unlearn.evaluate import evaluate
    from unlearn.metrics import CHEAP

    metrics = {name: CHEAP[name] for name in METRICS}
    return evaluate([o for mine in seen.values() for o in mine], metrics) if seen else {}


# -- training ----------------------------------------------------------------------------------------------------


def train(
    loaded: Any,
    config: RunConfig,
    data: Dataset,
    look: Callable[[int, int], None] = lambda step, per_epoch: None,
    original: Any = None,
) -> dict[str, Any]:
    """Unlearn data's forget rows, in place: {"state", "reason", "seconds", "tokens", "steps"}.

    look(step, steps an epoch) is called after each step, its time not counted. original: in a chain of requests the
    model before the first one; then what `loaded` holds is gone on from.
    """
    from unlearn.data.batches import encode_rows
    from unlearn.methods import method_named

    method = method_named(config.method).from_knobs(config.knobs)
    forget, retain = method.rows(config.model, data)
    encoded = encode_rows(loaded.tokenizer, [*forget, *retain], max_length=config.max_length)
    return train_on(
        loaded, config, method, encoded[: len(forget)], encoded[len(forget) :], look, original=original
    )


def train_on(
    loaded: Any,
    config: RunConfig,
    method: Any,
    forget: Sequence[Any],
    retain: Sequence[Any],
    look: Callable[[int, int], None] = lambda step, per_epoch: None,
    original: Any = None,
) -> dict[str, Any]:
    """The same on encoded texts, for models and rows that are not the bundled ones."""
    from unlearn.data.batches import Batches
    from unlearn.reference import Reference
    from unlearn.train import Diverged, Phases, make_optimizer
    from unlearn.tuning import install

    began = time.process_time()
    going_on = replace(config, start="the request before") if original is not None else config
    model = loaded.model = install(loaded.model, going_on, method)
    batches = Batches(
        forget=tuple(forget) if method.uses_forget else (), retain=tuple(retain), batch_size=config.batch_size,
        accumulation=config.accumulation, retain_ratio=method.retain_ratio, epochs=config.epochs, seed=config.seed,
        pad_id=loaded.pad_id, clock=len(forget) or len(retain),
    )  # fmt: skip
    head_moves = config.tuning == "full" and "states" in method.needs_ref.values()
    ref = Reference(model, head_moves=head_moves)
    if original is not None:
        ref.untouched = lambda: _held(original)
    method.prepare(model, ref, batches, loaded.tokenizer)
    fit = Phases(
        model,
        method.stream(batches),
        make_optimizer(model, config.lr),
        lr=config.lr,
        device=loaded.device,
        start=0,
    )
    outcome: dict[str, Any] = {"state": "done", "reason": ""}
    looked, tokens, steps = 0.0, 0, 0
    try:
        for done in method.unlearn(model, ref, fit):
            tokens, steps = done.tokens, done.step
            start = time.process_time()
            look(done.step, batches.steps_per_epoch)
            looked += time.process_time() - start
    except Diverged as error:
        outcome = {"state": "failed", "reason": str(error)}
    return outcome | {"seconds": time.process_time() - began - looked, "tokens": tokens, "steps": steps}


@contextmanager
def _held(model: Any) -> Any:
    yield model


def finite(value: Any) -> float:
    """A number out of a stored outcome, where "inf" and "nan" are words."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
