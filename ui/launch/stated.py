"""Fills what a file of settings leaves unsaid with the method's tuned settings, and checks all that it says."""

from unlearn.methods import method_named
from unlearn.models.catalogue import default_prompt
from unlearn.store.config import RunConfig
from unlearn.store.shapes import JsonObject
from unlearn.work.preflight import default_tuning, model_size


def whole(given: object) -> RunConfig:
    """Return the settings that a file states, completed with what the method was tuned to for this model.

    given: what the file holds. ValueError names the setting that is wrong, and an unknown method or knob.
    """
    # It names unknown and missing fields, and checks the values.
    stated = RunConfig.from_json(given)
    assert isinstance(given, dict)
    method = method_named(stated.method)
    tuning = str(given.get("tuning") or method.tuning_for(default_tuning(stated.model)))
    prompt = str(given.get("prompt") or default_prompt(stated.model))
    tuned = method.settings(model_size(stated.model), tuning, stated.model, prompt) | {"prompt": prompt}
    knobs = method.from_knobs({**tuned.pop("knobs"), **stated.knobs}).to_json()
    unsaid: JsonObject = {name: value for name, value in tuned.items() if name not in given}
    return RunConfig.from_json(given | unsaid | {"tuning": tuning, "knobs": knobs})
