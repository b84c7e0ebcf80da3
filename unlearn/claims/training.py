"""Trains for the claims' experiments: on the CPU and in memory, without samples, probes and disk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.data.base import Dataset, Row
from unlearn.methods import method_named
from unlearn.models.catalogue import CATALOGUE
from unlearn.models.load import load
from unlearn.store.config import RunConfig
from unlearn.training.loop import Diverged

if TYPE_CHECKING:
    from unlearn.compute.lazy import Model
    from unlearn.methods.base import Method
    from unlearn.models.load import Loaded
    from unlearn.work.session import Session

MODEL, DATA = "tiny-authors", "authors"
Look = Callable[[int, int], None]


def look_away(step: int, per_epoch: int) -> None:
    """Do nothing after a step. This is the default where an experiment reads nothing on the way."""


def retrain_folder() -> Path:
    """Return the folder of the bundled model's exact retrain."""
    retrain = CATALOGUE[MODEL].retrain
    assert retrain is not None, "the bundled model has one"
    return retrain()


def settings(method: str, **changes: object) -> RunConfig:
    """Return the method's tuned settings for the bundled model.

    Knobs and run settings in `changes` replace them.
    """
    cls = method_named(method)
    tuning = cls.tuning_for(str(changes.pop("tuning", "full")))
    found = cls.settings("tiny", tuning)
    names = {k.name for k in cls.knobs()}
    knobs = found.pop("knobs") | {k: v for k, v in changes.items() if k in names}
    knobs = cls.from_knobs(knobs).to_json()
    rest = {k: v for k, v in changes.items() if k not in names}
    fixed = {"model": MODEL, "method": method, "knobs": knobs, "tuning": tuning}
    return RunConfig.from_json({"data": {"name": DATA}, "probes": 0} | found | rest | fixed)


def bundled(when: str = "before") -> "Loaded":
    """Return the models.Loaded of the bundled model or its retrain, on the CPU.

    So no figure depends on other devices of the machine.
    """
    if when == "retrained":
        return load(str(retrain_folder()), device="cpu")
    return load(MODEL, device="cpu")


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    state is done or failed, seconds are CPU seconds, and tokens and steps are those trained on.
    """

    state: str
    reason: str
    seconds: float
    tokens: int
    steps: int


def train(
    loaded: "Loaded",
    config: RunConfig,
    data: Dataset,
    look: Look = look_away,
    original: "Model | None" = None,
) -> Trained:
    """Unlearn the data's forget rows in place and return what the training took.

    look(step, steps an epoch) is called after each step, its time not counted. original: in a chain of requests the
    model before the first one; then what `loaded` holds is gone on from.
    """
    from unlearn.work.session import session_of

    return _carry_out(lambda: session_of(loaded, config, data, original=original), look)


def train_on(
    loaded: "Loaded", config: RunConfig, method: "Method", forget: Sequence[Row], retain: Sequence[Row]
) -> Trained:
    """Train on these rows as train() does, for models and rows that are not the bundled ones."""
    from unlearn.work.session import Session

    return _carry_out(lambda: Session(loaded, config, method, forget, retain), look_away)


def _carry_out(begin: "Callable[[], Session]", look: Look) -> Trained:
    began = time.process_time()
    session = begin()
    state, reason = "done", ""
    looked, tokens, steps = 0.0, 0, 0
    try:
        for done in session:
            tokens, steps = done.tokens, done.step
            start = time.process_time()
            look(done.step, session.batches.steps_per_epoch)
            looked += time.process_time() - start
    except Diverged as error:
        state, reason = "failed", str(error)
    return Trained(state, reason, time.process_time() - began - looked, tokens, steps)
