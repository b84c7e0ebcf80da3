"""Finds settings for several formats by a short walk, on the half of the countries that settings are tuned on.

The walk begins with the settings that the method has for one format. It halves the learning rate as long as that helps,
or else doubles it; then it doubles what counts for keeping, or else halves it. Each step is known from what is
recorded, so that a walk that was cut goes on where it was.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from bench.chat.rows import KEPT, LEFT, MODEL, collapsed, keeps, leaks, same, settings_of
from unlearn.methods import METHODS
from unlearn.models.catalogue import CATALOGUE
from unlearn.store.config import RunConfig

# The methods that are tried, what promises most first.
ORDER = ("whp", "undial", "npo", "simnpo", "idkdpo", "gd", "wga", "satimp", "altpo", "me")
KNOB = "retain_weight"
SEED = 0


def score(row: Mapping[str, Any]) -> tuple[bool, float, float]:
    """Return how far a run is from the aim, the best one least: in its worst format of each side.

    First comes a model that did not collapse, then the least that is lacking of the aim, then what is left and lost.
    """
    left, kept = max(leaks(row)), min(1.0, *keeps(row))
    return collapsed(row), max(0.0, left - LEFT) + max(0.0, KEPT - kept), left + 1 - kept


def best(method: str, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the best of the method's runs on the half that settings are tuned on. An earlier one wins a tie."""
    return min(tried(method, rows), key=score, default=None)


def tried(method: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the method's runs on the half that settings are tuned on, the first ones first."""
    return [row for row in rows if (row["half"], row["method"], row["seed"]) == ("tune", method, SEED)]


@cache
def trial(method: str, factor: float, weight: float) -> RunConfig:
    """Return the method's settings for one format with its rate and what counts for keeping times these factors."""
    entry = CATALOGUE[MODEL]
    found = METHODS[method].settings(entry.size, METHODS[method].tuning_for(entry.tuning), MODEL)
    words = f"{method} --lr {found['lr'] * factor:.4g} --epochs {found['epochs']} --batch-size {found['batch_size']}"
    for name, value in found["knobs"].items():
        words += f" --set {name}={value * weight if name == KNOB else value}"
    return settings_of(words, SEED)


def following(method: str, rows: Sequence[Mapping[str, Any]]) -> RunConfig | None:
    """Return the next trial of the method, or None at the end of its walk. rows: all that is recorded."""
    known = {same(row): row for row in rows}

    def at(factor: float, weight: float) -> Mapping[str, Any] | None:
        return known.get(same({"half": "tune", **trial(method, factor, weight).to_json()}))

    def better(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        return score(one) < score(other)

    taken = (1.0, 1.0)
    for steps in (((0.5, 1.0), (0.25, 1.0)), ((2.0, 1.0),), ((1.0, 2.0),), ((1.0, 0.5),)):
        if (now := at(*taken)) is None:
            return trial(method, *taken)
        # A second direction is tried only where the first did not help.
        side = 0 if steps[0][1] == 1.0 else 1
        if steps[0] in ((2.0, 1.0), (1.0, 0.5)) and taken[side] != 1.0:
            continue
        begun = taken
        for factor, weight in steps:
            place = (begun[0] * factor, begun[1] * weight)
            if (found := at(*place)) is None:
                return trial(method, *place)
            if not better(found, now):
                break
            taken, now = place, found
    return None
