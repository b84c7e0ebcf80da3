"""Unlearning in memory, as execute() does it: the same method, stream and loop, without samples, probes and disk."""

import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from unlearn.data.base import Dataset
from unlearn.store.runs import RunConfig

MODEL, DATA = "tiny-authors", "authors"


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
    from unlearn.models.load import CATALOGUE, load

    if when == "retrained":
        return load(str(CATALOGUE[MODEL].retrain()), device="cpu")
    return load(MODEL, device="cpu")


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
    from unlearn.methods import method_named
    from unlearn.training.batches import encode_rows

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
    from unlearn.models.tuning import install
    from unlearn.training.batches import batches_of
    from unlearn.training.loop import Diverged, Phases, make_optimizer
    from unlearn.training.reference import Reference

    began = time.process_time()
    going_on = replace(config, start="the request before") if original is not None else config
    model = loaded.model = install(loaded.model, going_on, method)
    batches = batches_of(config, method, forget, retain, loaded.pad_id)
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
