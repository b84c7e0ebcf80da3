"""Makes the settings of UNDO, the step that follows a finished run, for the command, a sequence and a button."""

from unlearn.methods import UNDO
from unlearn.store.runs import Run, RunConfig
from unlearn.store.shapes import JsonView
from unlearn.work.preflight import model_size

# Settings of the run before that are not those of the step: it distils, and has no rule that ends it.
PLAIN: JsonView = {"accumulation": 1, "sam": 0.0, "stop_at": "", "budget": (), "keep": "last"}


def config_after(
    start: Run, knobs: JsonView | None = None, title: str = "", said: JsonView | None = None
) -> RunConfig:
    """Return the config of UNDO after this run.

    knobs: of UNDO, such as its share. said: settings of a run that take the place of the tuned ones. ValueError for a
    run that keeps no weights or is of a kind that cannot be merged.
    """
    theirs = start.config
    if start.state not in ("done", "stopped"):
        raise ValueError(f"undo: {start.id} is {start.state}; wait until it is done, or choose another run.")
    check_tuning(theirs.tuning, start.id)
    tuned = UNDO.settings(model_size(theirs.model), "full", theirs.model)
    own = UNDO.from_knobs({**tuned.pop("knobs"), **(knobs or {})}).to_json()
    step = {"method": UNDO.name, "knobs": own, "tuning": "full", "start": start.id}
    name = {"title": title or f"UNDO after {start.title}"}
    return RunConfig.from_json(theirs.to_json() | {**PLAIN} | tuned | {**(said or {})} | step | name)


def check_tuning(tuning: str, run: str) -> None:
    """Raise ValueError where what a run trains cannot be merged into the weights."""
    if tuning not in ("full", "lora"):
        raise ValueError(
            f"undo: {run} trained {tuning}, which cannot be merged into the weights; choose a run with tuning full or "
            "lora."
        )
