"""Fills what a file of settings leaves unsaid with the method's tuned settings, and checks all that it says."""

from unlearn.methods import method_named
from unlearn.store.config import RunConfig
from unlearn.store.shapes import JsonObject
from unlearn.work.preflight import tuned_for


def whole(given: object) -> RunConfig:
    """Return the settings that a file states, completed with what the method was tuned to for this model.

    given: what the file holds. ValueError names the setting that is wrong, and an unknown method or knob.
    """
    # It names unknown and missing fields, and checks the values.
    stated = RunConfig.from_json(given)
    assert isinstance(given, dict)
    method = method_named(stated.method)
    said = {name: str(given.get(name) or "") for name in ("tuning", "prompt")}
    tuned = tuned_for(method, stated.model, **said)
    knobs = method.from_knobs({**tuned.pop("knobs"), **stated.knobs}).to_json()
    # An empty tuning or format is none that is said.
    unsaid: JsonObject = {name: value for name, value in tuned.items() if name not in given or name in said}
    return RunConfig.from_json(given | unsaid | {"knobs": knobs})
