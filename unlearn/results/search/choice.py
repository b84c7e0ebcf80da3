"""Says what came of a search: how good each trial is, which is the best, the front, and a sentence.

Two numbers judge a trial, each on the half of the rows that the search goes by ("chosen") and on the other half,
which took no part in the choice ("reported"):

    distance  |p - p*|, p the mean over forget rows of exp(-S/n), p* the target's: that of the retrained model, else
              the start's on texts that it never saw, else the one that was given
    kept      utility after ÷ before, utility as in unlearn.results.grid
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.methods import method_named
from unlearn.results.compare import Written, number
from unlearn.results.conclusion import percent
from unlearn.results.grid import pareto
from unlearn.results.pace import duration
from unlearn.results.search.record import SearchConfig, SearchRecord, Trial
from unlearn.store.disk import json_safe
from unlearn.store.shapes import JsonObject, JsonView

CHOSEN, REPORTED = "chosen", "reported"
# With both aims a trial must go this share of the way from the start to the target: what forgets nothing keeps all.
WAY = 0.5


@dataclass(frozen=True)
class Judged:
    """A trial with its two numbers on one half of the rows. Both are nan where it has no scores."""

    trial: Trial
    distance: float
    kept: float

    @property
    def finite(self) -> bool:
        """Return whether both numbers are there."""
        return math.isfinite(self.distance + self.kept)


def judge(trial: Trial, models: JsonView, half: str = CHOSEN) -> Judged:
    """Return the trial with its distance to the target and the share of utility that it kept, on one half."""
    scores: JsonView = getattr(trial, half)
    known = models.get(half, {})
    before = number(known.get("before", {}).get("utility"))
    distance = abs(number(scores.get("forget")) - number(known.get("target")))
    return Judged(trial, distance, number(scores.get("utility")) / before if before > 0 else math.nan)


def judged(trials: Sequence[Trial], models: JsonView, half: str = CHOSEN) -> list[Judged]:
    """Return every trial that was carried out to its end, judged on one half."""
    found = [judge(trial, models, half) for trial in trials if trial.state == "done"]
    return [one for one in found if one.finite]


def front(trials: Sequence[Trial], models: JsonView) -> list[Judged]:
    """Return the trials that no other beats in both numbers, the nearest to the target first."""
    known = judged(trials, models)
    best = [known[i] for i in pareto([(-one.distance, one.kept) for one in known])]
    return sorted(best, key=lambda one: (one.distance, -one.kept))


def best(trials: Sequence[Trial], models: JsonView, config: SearchConfig) -> Judged | None:
    """Return the trial to take, or None before one has ended.

    Among those that keep enough it is the nearest to the target (aim keep: among those near enough the one that keeps
    most). Where none is inside the budget, it is the one that misses it least. With both aims a trial must also go half
    of the way to the target, and what it lacks of that counts like what it lacks of the utility.
    """
    known = judged(trials, models)
    if config.aim == "keep":
        return min(
            known,
            key=lambda one: (max(0.0, one.distance - config.within), -one.kept, one.distance),
            default=None,
        )

    def lacking(one: Judged) -> float:
        short = max(0.0, config.kept - one.kept)
        return short + (max(0.0, left(one, models) - (1 - WAY)) if config.aim == "both" else 0.0)

    return min(known, key=lambda one: (lacking(one), one.distance, -one.kept), default=None)


def left(one: Judged, models: JsonView) -> float:
    """Return the distance to the target as a share of the start's, 0 where the start is at the target."""
    known = models.get(CHOSEN, {})
    start = abs(number(known.get("before", {}).get("forget")) - number(known.get("target")))
    return one.distance / start if start > 0 else 0.0


def inside(one: Judged, config: SearchConfig, models: JsonView) -> bool:
    """Return whether a trial keeps enough. With both aims it must also go half of the way to the target; with aim keep
    it must be near enough to that.
    """
    if config.aim == "keep":
        return one.distance <= config.within
    return one.kept >= config.kept and (config.aim != "both" or left(one, models) <= 1 - WAY)


def shipped(trials: Sequence[Trial], method: str) -> Trial | None:
    """Return the trial of the method's own tuned settings, which is made first. None where it is not there."""
    return next((trial for trial in trials if trial.method == method and trial.shipped), None)


def sentence(record: SearchRecord) -> str:
    """Return what came of the search in words, as sentences() has them."""
    return " ".join(sentences(record))


def sentences(record: SearchRecord) -> list[str]:
    """Return what came of the search: first what the chosen settings do on rows that took no part in the choice, then
    which they are, and the shipped settings beside them.
    """
    trials, models, config = record.trials(), record.models(), record.config
    taken = best(trials, models, config)
    if taken is None:
        return ["No setting has been tried to its end yet."]
    early = sum(trial.state == "pruned" for trial in trials)
    ruined = sum(trial.state == "diverged" for trial in trials)
    parts = [f"{early} given up early"] * bool(early) + [f"{ruined} diverged"] * bool(ruined)
    settings = "settings" if len(trials) > 1 else "setting"
    tried = f"{len(trials)} {settings} tried in {duration(record.spent())}" + (
        f" ({', '.join(parts)})" if parts else ""
    )
    name = method_named(taken.trial.method).title
    values = ", ".join(f"{label(one)} {shown(value)}" for one, value in taken.trial.settings.items())
    said = [_reported(taken.trial, models), f"{tried}. {_why(taken, config, models)}: {name} with {values}."]
    own = shipped(trials, taken.trial.method)
    if own is None:
        return said
    if own == taken.trial:
        return [*said, "These are the settings that ship with the method; the search found none better."]
    beside = judge(own, models, REPORTED)
    if not beside.finite:
        return [*said, f"The settings that ship with the method ended early ({own.state})."]
    return [
        *said,
        f"The settings that ship with the method: probability {share(own.reported['forget'])}, "
        f"{share(beside.kept)} of the utility kept.",
    ]


def _why(taken: Judged, config: SearchConfig, models: JsonView) -> str:
    if config.aim == "keep":
        if inside(taken, config, models):
            return f"Keeps most among those within {config.within:g} of the target"
        return f"None comes within {config.within:g} of the target; nearest is"
    if inside(taken, config, models):
        return f"Nearest to the target among those that keep {share(config.kept)} of the utility"
    if config.aim == "both":
        enough = f"keeps {share(config.kept)} of the utility and goes half of the way to the target"
        return f"None {enough}; nearest to both is"
    return f"None keeps {share(config.kept)} of the utility; most is kept by"


def _reported(trial: Trial, models: JsonView) -> str:
    known = models.get(REPORTED, {})
    one = judge(trial, models, REPORTED)
    around = trial.reported.get("interval")
    spread = f" (95 % interval {share(around[0])} to {share(around[1])})" if around else ""
    rows = f"the {known.get('n', 0)} forget rows that took no part in the choice"
    if known.get("same"):
        rows = f"the same {known.get('n', 0)} forget rows that it was chosen on"
    return (
        f"On {rows} the right answers have a mean probability of {share(trial.reported.get('forget'))}"
        f"{spread}; {models.get('whose', 'the target')} {share(known.get('target'))}, before "
        f"{share(known.get('before', {}).get('forget'))}. {share(one.kept)} of the utility is kept."
    )


def share(value: Written) -> str:
    """Return a share as per cent, as every page writes it."""
    known = number(value)
    return percent(known) if math.isfinite(known) else "an unknown share"


def label(name: str) -> str:
    """Return what a person calls a setting."""
    return {"lr": "learning rate", "lora_rank": "LoRA rank"}.get(name, name.replace("_", " "))


def shown(value: object) -> str:
    """Return a setting's value as a person writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def row(one: Judged, models: JsonView, config: SearchConfig) -> JsonObject:
    """Return one trial as JSON values: its settings, its numbers on both halves, and its runs."""
    trial = one.trial
    there = judge(trial, models, REPORTED)
    return {
        "trial": trial.number,
        "method": trial.method,
        "settings": dict(trial.settings),
        "shipped": trial.shipped,
        "state": trial.state,
        "distance": one.distance,
        "kept": one.kept,
        "inside": one.finite and inside(one, config, models),
        "reported": {"distance": there.distance, "kept": there.kept, **trial.reported},
        "seconds": trial.seconds,
        "runs": list(trial.runs),
    }


def everything(record: SearchRecord) -> JsonObject:
    """Return the whole search as JSON values: config, models, trials, best, front, sentence."""
    trials, models, config = record.trials(), record.models(), record.config
    taken = best(trials, models, config)
    known = {name: models[name] for name in (CHOSEN, REPORTED, "whose", "by") if name in models}
    command = ""
    if taken is not None:
        run = config.run(taken.trial.method, taken.trial.settings, config.seeds[0])
        command = run.command()
    value = {
        "config": config.to_json(),
        "models": known,
        "trials": [row(judge(trial, models), models, config) for trial in trials],
        "best": row(taken, models, config) | {"command": command} if taken else None,
        "front": [one.trial.number for one in front(trials, models)],
        "sentence": sentence(record),
    }
    return dict(json_safe(value))
