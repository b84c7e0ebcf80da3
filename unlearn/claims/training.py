"""Trains for the claims' experiments: on the CPU and in memory, without samples, probes and disk."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
# What is called after a step, with its number and the steps of an epoch. Training ends where it returns True.
Look = Callable[[int, int], bool | None]


@dataclass(frozen=True)
class World:
    """A model that claims are tested on, with the dataset that it was taught.

    requests: the dataset whose parts arrive as deletion requests. size, tuning: which of a method's tuned settings it
    takes. fixed: run settings that all its runs share. rates: by what the learning rates that were chosen for the
    bundled model are multiplied.
    """

    model: str
    data: str
    requests: str
    size: str
    tuning: str
    fixed: Mapping[str, object] = field(default_factory=dict)
    rates: float = 1.0

    @property
    def retrain(self) -> Path:
        """Return the folder of the model that was taught the same without the dataset's rows to forget."""
        entry = CATALOGUE[self.model]
        found = entry.retrain or entry.retrained.get(self.data)
        assert found is not None, "every world has an exact retrain"
        return found()


TINY = World(MODEL, DATA, DATA, "tiny", "full")
# A LoRA takes larger steps than all weights of the bundled model do.
TOFU = World("smollm2-tofu", "tofu-forget01", "tofu-forget10", "small", "lora", {"prompt": "chat"}, rates=5.0)
WORLDS = {world.model: world for world in (TINY, TOFU)}


def look_away(step: int, per_epoch: int) -> None:
    """Do nothing after a step. This is the default where an experiment reads nothing on the way."""


def settings(method: str, world: World = TINY, /, **changes: object) -> RunConfig:
    """Return the method's tuned settings for the model of this world.

    Knobs and run settings in `changes` replace them.
    """
    cls = method_named(method)
    tuning = cls.tuning_for(str(changes.pop("tuning", world.tuning)))
    found = cls.settings(world.size, tuning, world.model)
    names = {k.name for k in cls.knobs()}
    knobs = found.pop("knobs") | {k: v for k, v in changes.items() if k in names}
    knobs = cls.from_knobs(knobs).to_json()
    rest = {k: v for k, v in changes.items() if k not in names}
    fixed = {"model": world.model, "method": method, "knobs": knobs, "tuning": tuning} | dict(world.fixed)
    return RunConfig.from_json({"data": {"name": world.data}, "probes": 0} | found | rest | fixed)


def bundled(when: str = "before", world: World = TINY) -> "Loaded":
    """Return the models.Loaded of the world's model or its retrain, on the CPU.

    So no figure depends on other devices of the machine.
    """
    folder = str(world.retrain) if when == "retrained" else world.model
    return load(folder, device="cpu", tuning=world.tuning)


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

    look(step, steps an epoch) is called after each step, its time not counted, and may end the training. original: in
    a chain of requests the model before the first one; then what `loaded` holds is gone on from.
    """
    from unlearn.work.session import session_of

    return _carry_out(lambda: session_of(loaded, config, data, original=original), look)


def train_on(
    loaded: "Loaded",
    config: RunConfig,
    method: "Method",
    forget: Sequence[Row],
    retain: Sequence[Row],
    look: Look = look_away,
) -> Trained:
    """Train on these rows as train() does, for models and rows that are not the bundled ones."""
    from unlearn.work.session import Session

    return _carry_out(lambda: Session(loaded, config, method, forget, retain), look)


def _carry_out(begin: "Callable[[], Session]", look: Look) -> Trained:
    began = time.process_time()
    session = begin()
    state, reason = "done", ""
    looked, tokens, steps = 0.0, 0, 0
    try:
        for done in session:
            tokens, steps = done.tokens, done.step
            start = time.process_time()
            enough = look(done.step, session.batches.steps_per_epoch)
            looked += time.process_time() - start
            if enough:
                break
    except Diverged as error:
        state, reason = "failed", str(error)
    return Trained(state, reason, time.process_time() - began - looked, tokens, steps)
