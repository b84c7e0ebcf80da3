"""Watches the runs of a trial: when one is hopeless, how it ended, how long it took, and what several seeds came to."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from unlearn.data.base import Dataset
from unlearn.methods import method_named
from unlearn.results.compare import number as as_number
from unlearn.results.search import pruning
from unlearn.store.config import RunConfig
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.work.sweep import DIVERGED

# A run that has no stop rule of its own gets one that ends nothing but what is ruined anyway, so that it is read.
READ = {"retain": "retain=0.01", "general": "general-ppl=100"}
PRUNED = "given up early: behind the middle of the earlier trials in both aims"


def read_while_training(config: RunConfig, data: Dataset) -> RunConfig:
    """Return the config with a budget, so that a few rows are read while it trains, where its method and rows allow it.

    A run with a stop rule of its own keeps it, as far as it reads what is to be kept.
    """
    role = next((role for role in READ if data.score_rows(role)), "")
    if not role or not method_named(config.method).early or config.budget:
        return config
    return replace(config, budget=(READ[role],))


class Watch:
    """Reads a run's scores while it trains, and says when it is hopeless. curve: what it has read.

    target: what the forget rows' mean probability should come to, or nan where that is not known yet.
    """

    def __init__(self, run: Run, earlier: Sequence[Sequence[pruning.Point]], target: float) -> None:
        self.earlier, self.target, self.hopeless = earlier, target, False
        self.curve = [point for event in run.events("watch") if (point := _point(run, event))]
        run.listeners.append(lambda event: self.hear(run, event))

    def hear(self, run: Run, event: JsonView) -> None:
        """Take in one event of the run."""
        if event["kind"] == "watch" and (point := _point(run, event)):
            self.curve.append(point)
            self.hopeless = self.hopeless or pruning.hopeless(point, self.earlier, self.target)


def _point(run: Run, event: JsonView) -> pruning.Point | None:
    """What a reading says, or None where it says nothing."""
    steps, spent = run.events("step"), event.get("spent", {})
    forget, general = as_number(event.get("forget")), as_number(spent.get("general-ppl"))
    kept = as_number(spent["retain"]) if "retain" in spent else 1 / general if general > 0 else math.nan
    return (event["step"] / steps[-1]["of"], forget, kept) if steps and math.isfinite(forget + kept) else None


def outcome(run: Run, watch: Watch) -> tuple[str, str]:
    """Return (state of the trial, reason) of a run that has ended."""
    if watch.hopeless and run.state == "stopped":
        with contextlib.suppress(OSError):
            run.append("note", text=PRUNED)
        return "pruned", PRUNED
    if run.state == "failed":
        diverged = run.events("state")[-1].get("error") == DIVERGED
        return "diverged" if diverged else "failed", run.reason
    return "done", ""


def seconds_of(run: Run) -> float:
    """Return the seconds for which a run was carried out, over all its executions as far as they are known."""
    states = run.events("state")
    began, total = 0.0, 0.0
    for event in states:
        if event["state"] == "running":
            began = event["time"]
        elif began:
            total, began = total + event["time"] - began, 0.0
    return float(total)


def means(found: Sequence[Mapping[str, object]]) -> JsonObject:
    """Return the mean of each score over the seeds. A count is that of the first, and an interval is left out."""
    if len(found) == 1:
        return dict(found[0])
    whole = dict(found[0])
    for name, value in whole.items():
        if name not in ("n", "interval") and isinstance(value, (int, float)):
            whole[name] = math.fsum(float(str(one[name])) for one in found) / len(found)
    whole.pop("interval", None)
    return whole | {"seeds": len(found)}
