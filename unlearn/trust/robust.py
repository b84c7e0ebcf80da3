"""Unlearned models of a world, and what two attacks make of every metric: relearning, and weights of four bits.

A metric that a little practice or rounding moves much, while the exact retrain does not move with it, had not told what
was in the model. Both attacks are done to the unlearned model and to the retrain; unlearn.results.trust compares.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.attacks.quantise import merged_copy, with_weights
from unlearn.attacks.swept import nf4
from unlearn.methods import method_named
from unlearn.models.load import in_memory
from unlearn.store.shapes import JsonObject
from unlearn.training.loop import Diverged
from unlearn.trust import pool
from unlearn.trust.scoring import known, scores
from unlearn.trust.world import Lesson, World, copied, taught
from unlearn.work.session import forget

if TYPE_CHECKING:
    from unlearn.compute.lazy import Model
    from unlearn.models.load import Loaded

METHODS = ("npo", "gd", "undial", "simnpo", "kl", "wga", "idkdpo", "adversarial")
RETRAINED = "retrained"
# A model of a tenth of the bundled one's size takes larger steps than that one's tuned rates.
FASTER = 2.5
# More than the pool has: with three, then with six, whether one metric is the most robust was open. The interval of the
# six says that fifteen tell such a lead as theirs.
WORLDS = (*pool.WORLDS, *range(3, 15))
# All forget facts are practised once, as the published robustness was measured.
PRACTICE = Lesson(1e-3, 1)


@dataclass(frozen=True)
class Trial:
    """One method on one world, or the exact retrain of a world, which no method made."""

    world: int
    method: str

    @property
    def name(self) -> str:
        """Return the name of its row in the record."""
        return f"{self.method}, world {self.world}"


def trials() -> Iterator[Trial]:
    """Return all trials, the retrains first, then one method after the other over all worlds."""
    for method in (RETRAINED, *METHODS):
        for world in WORLDS:
            yield Trial(world, method)


def unlearned(world: World, trial: Trial) -> "Loaded":
    """Return the model that the method leaves of the world's model, at its tuned settings but a larger rate."""
    if trial.method == RETRAINED:
        return world.retrained
    model = copied(world.full)
    method = method_named(trial.method)
    tuned = method.settings("tiny", "full", "tiny-authors")
    session = forget(
        model,
        forget=world.data.rows("forget"),
        retain=world.data.fit_rows("retain"),
        method=method.from_knobs(tuned["knobs"]),
        tuning="full",
        lr=tuned["lr"] * FASTER,
        epochs=tuned["epochs"],
        batch_size=tuned["batch_size"],
        seed=trial.world,
    )
    for _ in session:
        pass
    session.model.requires_grad_(False).eval()
    return model


def in_four_bits(model: "Model") -> "Model":
    """Return a copy of the model with the weights of its linear maps in NF4."""
    copy = merged_copy(model)
    with_weights(copy, lambda _, weight: nf4.rounded(weight))
    return copy


def measure(world: World, trial: Trial, folder: Path) -> JsonObject:
    """Return every metric before and after each attack, and what the model kept of the rest.

    A method that diverges has no scores, and its reason.
    """
    try:
        model = unlearned(world, trial)
    except Diverged as error:
        return {"failed": str(error)}
    practised = taught(copied(model), world.data.rows("forget"), PRACTICE, trial.world)
    small = in_memory(in_four_bits(model.model), model.tokenizer, "made here")
    rest = world.data.score_rows("retain")
    return {
        "kept": known(model, rest) / max(known(world.full, rest), 1e-9),
        "knows": known(model, world.data.rows("forget")),
        "before": scores(world, trial.name, model, folder),
        "relearnt": scores(world, f"{trial.name}, relearnt", practised, folder),
        "rounded": scores(world, f"{trial.name}, rounded", small, folder),
    }
