"""Compares the cost of a run with that of retraining, in tokens, FLOPs and measured seconds.

A trained token costs 6·N FLOPs (2 forward, 4 backward; Kaplan et al. 2020, arXiv 2001.08361), N the parameters, so
the ratio of FLOPs is the ratio of trained tokens. No torch: pages and reports call this too.
"""

import json
from pathlib import Path

from unlearn.models.load import CATALOGUE
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

# The smallest and the largest number of training tokens that a person may enter.
LOW, HIGH = 1e3, 1e18
FORMULA = "6 · N · training tokens of retraining ÷ (6 · N · tokens of this run)"


def retraining(
    parameters: int,
    results: JsonView,
    *,
    recipe: Path | None = None,
    training_tokens: float | None = None,
) -> JsonObject:
    """Return the ratios of retraining to the run, as far as both costs are known.

    It is empty where nothing is known, or the run read no token.

    results: the run's results.json. recipe: folder of the retrained model, whose recipe.json was measured.
    training_tokens: of the model's pre-training, from the catalogue or entered by a person.
    """
    measured = _recipe(recipe)
    needed = measured.get("tokens_trained", training_tokens)
    tokens = results.get("tokens") or 0
    if not needed or not tokens:
        return {}
    size = measured.get("parameters", parameters)
    found = {
        "kind": "measured" if measured else "computed",
        "tokens": needed,
        "flops": 6.0 * size * needed,
        "token_ratio": needed / tokens,
        "flops_ratio": 6.0 * size * needed / (6.0 * parameters * tokens),
        "formula": f"{FORMULA} = 6 · {size:,} · {needed:,.0f} ÷ (6 · {parameters:,} · {tokens:,})",
    }
    seconds = sum(results.get("phases", {}).get(name, 0.0) for name in ("reference", "training"))
    if measured.get("seconds") and seconds > 0:
        found |= {
            "seconds": measured["seconds"],
            "seconds_ratio": measured["seconds"] / seconds,
            "seconds_note": "seconds of the recipe were measured when the model was made, maybe on another machine",
        }
    return found


def of_model(name: str, results: JsonView, training_tokens: float | None = None) -> JsonObject:
    """Return retraining() with what the catalogue knows of this model, or else with the count that a person
    gives.

    It is empty where there is neither.
    """
    entry = CATALOGUE.get(name)
    if entry is None:
        return retraining(results.get("parameters") or 0, results, training_tokens=training_tokens)
    recipe = entry.own_retrain()
    parameters = results.get("parameters") or entry.parameters
    return retraining(parameters, results, recipe=recipe, training_tokens=entry.training_tokens)


def of_run(run: Run) -> JsonObject:
    """Return what the run's results say of retraining, or else what follows from the count that a person
    entered for it.
    """
    results = run.results()
    if known := results.get("retraining"):
        return known
    # An imported run may hold anything.
    entered = run.meta.get("training_tokens")
    good = isinstance(entered, (int, float)) and LOW <= entered <= HIGH
    return of_model(run.config.model, results, entered if good else None) if results else {}


def is_known(model: str) -> bool:
    """Return whether the catalogue knows what retraining this model takes, so that nobody needs to enter it."""
    entry = CATALOGUE.get(model)
    return bool(entry and (entry.own_retrain() or entry.training_tokens))


def enter(run: Run, training_tokens: float) -> None:
    """Keep with the run how many tokens its model was trained on. ValueError as in check()."""
    check(run.config.model, training_tokens)
    run.set_meta(training_tokens=float(training_tokens))


def check(model: str, training_tokens: float) -> None:
    """Raise ValueError where the catalogue already knows what training this model took, and for an absurd
    number.
    """
    if is_known(model):
        raise ValueError(f"cost: what training {model} took is known; leave its tokens out.")
    if not LOW <= training_tokens <= HIGH:
        raise ValueError(
            f"cost: training tokens must lie in [{LOW:g}, {HIGH:g}], got {training_tokens:g}; a model of a billion "
            "parameters has usually read 1e11 to 1e13."
        )


def _recipe(folder: Path | None) -> JsonObject:
    try:
        return json.loads((folder / "recipe.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return {}
