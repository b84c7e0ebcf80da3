"""Records what a run began with, and checks that it is the same when the run is resumed.

Its rows lie in inputs/; one `inputs` event says their hash, the model's identity, and how this machine computes:
the library for products and the number of threads. With the same seed these give the same bits in every process.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.data import inputs
from unlearn.data.base import Dataset
from unlearn.measure.evaluate import rows_to_score
from unlearn.models.catalogue import allow_model
from unlearn.models.identity import check_same, hash_before, identity_of, retrain_identity
from unlearn.models.load import named_hash
from unlearn.models.reading import fit_of, rows_kept
from unlearn.store.runs import Run, RunConfig
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


def began_with(run: Run) -> JsonObject:
    """Return the run's first `inputs` event.

    It is empty before it was written, and in old runs that did not record it.
    """
    return next(iter(run.events("inputs")), {})


def rows_of(run: Run, roots: Sequence[Path] | None) -> Dataset:
    """Return the run's rows: its own where it has begun, or else what its settings mean now.

    The rows that are read are then kept in the run.
    """
    data = inputs.dataset_of(run, roots=roots, fit=fit_of(run.config))
    if not (run.path / inputs.FILE).is_file():
        _check_told(run, data)
        inputs.keep(run, data)
    return data


def settle(run: Run, loaded: "Loaded", data: Dataset, small: bool) -> str:
    """Write what the run begins with, or check that it is the same again.

    Then torch computes as it did before.

    loaded: its hash is that of what was loaded. Returns a sentence where this machine cannot compute as the one that
    the run began on. ValueError for another model.
    """
    from unlearn.compute import products, threads
    from unlearn.models.machine import choose_products

    began = began_with(run)
    model = identity_of(run.config.model, loaded.hash, run.config.adapter) | retrain_identity(run.config)
    check_same(run.config.model, began, model)
    threads.choose_threads(small, began.get("threads", 0))
    told = choose_products(began.get("products", ""))
    if not began:
        same = {"products": products.library(), "threads": threads.threads()}
        run.append("inputs", rows=inputs.rows_hash(data), **model, **same)
    return told


def check_resume(run: Run, roots: Sequence[Path] | None) -> None:
    """Raise ValueError for what is known before anything is loaded: other rows in the run, or another model
    in its folder.
    """
    config, began = run.config, began_with(run)
    allow_model(config.model, roots)
    allow_model(config.retrained, roots, "retrained")
    if (run.path / inputs.FILE).is_file():
        rows_kept(run, roots)
    weights = named_hash(config.model, config.adapter)
    if weights and (start := run.start()):
        weights = hash_before(config, start, weights)
    check_same(
        config.model, began, identity_of(config.model, weights, config.adapter) | retrain_identity(config)
    )


def check_start_rows(config: RunConfig, start: Run, data: Dataset) -> None:
    """Raise ValueError where the run that this one continues had other rows under the same name."""
    theirs, ours = inputs.known_hash(start), inputs.rows_hash(data)
    if theirs and dict(start.config.data) == dict(config.data) and theirs != ours:
        raise ValueError(
            f"run: start {start.id} unlearned other rows of the same data (hash {theirs}, now {ours}), so this would "
            "be no going on with it; put the data back as it was, or give the new rows a file of another name."
        )


def _check_told(run: Run, data: Dataset) -> None:
    """ValueError where a run that keeps no rows scored others before it was cut short than would be scored now."""
    chosen = rows_to_score(data)
    for sample in run.samples():
        role, at = sample["role"], sample["index"]
        now = [(row.prompt, row.target) for row in chosen.get(role, ())[at : at + 1]]
        if sample["when"] == "before" and now != [(sample["prompt"], sample["answer"])]:
            raise ValueError(
                f"run: {run.id} began with other rows than its settings now mean (row {at + 1} of the role {role} that "
                "is scored); put the data back as it was, or start a new run."
            )
