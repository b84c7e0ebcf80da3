"""Retrain: the exact answer to a deletion request, that every other method approximates (Bourtoule et al. 2021, §1).

    θ* = Recipe(D \\ F) from θ_0,   L = NLL(D \\ F) over every token

The bundled model's own recipe (unlearn.models.recipe) from its untrained weights, without every text of the people
to forget: same order of batches, schedule, settings and arithmetic, so that on one machine its weights are those that
the recipe makes, bit by bit. For any other model the training texts are not ours, and it is refused with what it
would cost. Learning rate, epochs and batch size of the run are the recipe's own by default.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, lm
from unlearn.compute.tokens import Batch
from unlearn.data.base import Dataset, Row
from unlearn.methods.base import SIZES, Method
from unlearn.models import recipe
from unlearn.models.catalogue import CATALOGUE
from unlearn.training import processes
from unlearn.training.loop import Phases, Step
from unlearn.training.reference import Reference


def rows_kept(model: str, data: Dataset, method: str) -> tuple[Row, ...]:
    """Return the recipe's whole texts without those of the people to forget. ValueError where the recipe is
    not ours.
    """
    kept = recipe.rows_without(model, data)
    if kept is None:
        raise ValueError(refusal(model, method))
    return kept


def refusal(model: str, method: str = "Retrain") -> str:
    """Return why a model cannot be retrained here, and what it would take: 6 · N · training tokens FLOP."""
    entry = CATALOGUE.get(model)
    title, size = (entry.title, f"{entry.parameters:,}") if entry else (model, "N")
    tokens = entry.training_tokens if entry else None
    if entry and model not in recipe.RECIPES and entry.own_retrain():
        return (
            f"{method}: it goes through the recipe of a bundled Llama model again, and {title} has another one. Its "
            f"exact retrain ships, and a run on all of {entry.data} is compared with it. Choose a method that "
            "approximates it."
        )
    needed = (
        f"6 · {size} · {tokens:.3g} training tokens = {6.0 * entry.parameters * tokens:.2g} FLOP"
        if entry and tokens
        else f"6 · {size} · its training tokens, whose number is not known here"
    )
    return (
        f"{method}: only the bundled model can be trained again without its own forget people; of {title} with these "
        f"rows the recipe is not ours. It would take {needed}. Choose a method that approximates it."
    )


@dataclass(frozen=True, kw_only=True)
class Retrain(Method):
    """The method that trains the model again without the forget texts."""

    name = "retrain"

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        (retain,) = lm.forward(model, batch.retain)
        return {"retain": retain.mean_nll()}

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Carry out the method and yield after each training step."""
        if ref is not None and ref.untouched is not None:
            raise ValueError(
                "Retrain: begins from nothing, so it cannot go on from another run; leave start empty."
            )
        stream = fit.batches
        with processes.jointly(model):
            recipe.restart(model)
        texts = [list(text.input_ids) for text in stream.retain]
        steps = recipe.steps(
            model,
            texts,
            recipe.loss_of(model, stream.pad_id),
            epochs=stream.epochs,
            lr=fit.lr,
            batch=stream.batch_size * stream.accumulation,
            seed=stream.seed,
        )
        for t in processes.in_turn(model, steps):
            yield fit.step(t.step, t.of, {"retain": t.loss}, t.grad_norm, t.lr, t.tokens)

    @property
    def uses_forget(self) -> bool:
        """Return whether a batch needs forget texts."""
        return False

    @property
    def retain_ratio(self) -> float:
        """Return the number of retain texts for each forget text."""
        return 1.0

    def rows(self, model: str, data: Dataset) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Return the (forget, retain) rows that the method trains on."""
        return (), rows_kept(model, data, self.title)

    title = "Retrain"
    paper = "Bourtoule et al. 2021, arXiv 1912.03817"
    sentence = "Trains the model again from nothing, without the texts to forget."
    formula = r"\theta^* = \mathrm{Recipe}(D \setminus F)"
    when = "As the truth that the others are measured against, where the training is in our hands."
    cost = "The whole training: about five minutes here, months of a cluster for a large model."
    risk = "None for forgetting: it is the definition. Only the bundled model can be retrained here."
    forget_terms = ()
    early = False
    tunings = ("full",)
    origins = dict.fromkeys(SIZES, "the bundled recipe's own")
    tuned = {"tiny": {"lr": 2e-3, "epochs": 24, "batch_size": 64}}
    resumes = False
    leans = False
    continues = False
