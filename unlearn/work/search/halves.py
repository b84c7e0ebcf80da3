"""Scores a trial on two halves of its rows: one that the search goes by, and one that takes no part in the choice.

Rows about one subject (a country, an author) stay together, since what is learnt of one of them tells of the others.
The rows are those that the run scores anyway; what was observed of them is read from where the run kept it.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearn.compute.intervals import interval
from unlearn.data.base import SPLIT_FROM, Row
from unlearn.measure import score_cache
from unlearn.measure.evaluate import evaluate, rows_to_score
from unlearn.metrics import CHEAP, Observation
from unlearn.metrics.base import mean
from unlearn.metrics.memory.nll import text_nll
from unlearn.models.catalogue import exact_retrain
from unlearn.models.identity import retrain_hash
from unlearn.models.reading import rows_asked
from unlearn.results.grid import Cell, utility
from unlearn.results.search.choice import CHOSEN, REPORTED
from unlearn.store.shapes import JsonObject
from unlearn.work.execute import Finished
from unlearn.work.known import identity_of_scores, observe_places

NO_TARGET = (
    "search: there is no target, since the data has no rows never seen (role approximate), and no exact retrain "
    "without these rows is known; give --target, such as 0.1, or --retrained MODEL."
)
# The metrics that a search reads.
ASKED = {name: CHEAP[name] for name in ("probability", "rougeL", "exact", "ppl")}
PERPLEXITY = {"ppl": CHEAP["ppl"]}
Places = Mapping[str, frozenset[int]]


@dataclass(frozen=True)
class Seen:
    """What one run's models said of the scored rows: {when: observations}, and which rows the search goes by.

    same: whether there are too few forget rows to be halved, so that all serve for both.
    """

    found: Mapping[str, Sequence[Observation]]
    first: Places
    same: bool

    def half(self, when: str, name: str) -> list[Observation]:
        """Return the observations of one half. Rows that were never learnt have no halves."""
        return [
            one
            for one in self.found.get(when, ())
            if self.same
            or one.role == "approximate"
            or (one.index in self.first[one.role]) == (name == CHOSEN)
        ]

    def scores(self, when: str, name: str) -> JsonObject:
        """Return {"forget", "utility", "n", "interval", "right", "general"} of one model on one half."""
        mine = self.half(when, name)
        return {
            **likely(mine, "forget"),
            "utility": _utility(mine, self.half("before", name)),
            **_beside(mine),
        }


def likely(observations: Sequence[Observation], role: str) -> JsonObject:
    """Return {role: mean over its rows of exp(-S/n), "n": rows, "interval": its 95 % interval}."""
    values = [math.exp(-text_nll(one)) for one in observations if one.role == role]
    if not values:
        return {role: math.nan, "n": 0, "interval": (math.nan, math.nan)}
    return {role: mean(values), "n": len(values), "interval": interval(values)}


def _utility(observations: Sequence[Observation], before: Sequence[Observation]) -> float:
    """The utility of unlearn.results.grid; where only plain texts are kept, whose answers nobody asks for, the mean
    of exp(-S/n) over them.
    """
    scores = {"before": evaluate(before, PERPLEXITY), "after": evaluate(observations, ASKED)}
    value = utility(Cell(method="", lr=0.0, epochs=0, batch_size=0, seed=0, scores=scores))
    if math.isfinite(value):
        return value
    parts = [float(likely(observations, role)[role]) for role in ("retain", "general", "neighbours")]
    known = [part for part in parts if math.isfinite(part)]
    return mean(known) if known else math.nan


def _beside(observations: Sequence[Observation]) -> JsonObject:
    """What a reader asks next: the share of forget answers that are right, and the perplexity of general texts."""
    scores = evaluate(observations, ASKED)
    found = {"right": scores.get("forget", {}).get("exact"), "general": scores.get("general", {}).get("ppl")}
    return {name: value for name, value in found.items() if value is not None}


def halves(chosen: Mapping[str, Sequence[Row]]) -> tuple[Places, bool]:
    """Return ({role: places of the first half}, whether there are too few forget rows for halves).

    The same rows always give the same halves.
    """
    first = {role: _half(rows) for role, rows in chosen.items()}
    whole = len(chosen["forget"])
    same = whole < SPLIT_FROM or len(first["forget"]) in (0, whole)
    return first, same


def _half(rows: Sequence[Row]) -> frozenset[int]:
    about: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        about.setdefault(row.subject or f"row {place}", []).append(place)
    subjects = sorted(about)
    random.Random(0).shuffle(subjects)
    return frozenset(place for subject in subjects[::2] for place in about[subject])


def seen(finished: Finished, roots: Sequence[Path] | None) -> Seen:
    """Return what the models of a run that has just ended said of its rows.

    ValueError where the store could not keep what its models said before or retrained.
    """
    from unlearn.models import tuning

    run, loaded = finished.run, finished.loaded
    data = rows_asked(run, roots)
    length = loaded.fit_length(run.config.max_length)
    chosen = rows_to_score(data)
    identity = identity_of_scores(loaded, data, length)
    store = run.path.parent
    after = score_cache.read(store, identity | {"model": tuning.trained_hash(run, loaded.hash)})
    if after is None:
        # What is not finite is not kept.
        places = {role: range(len(rows)) for role, rows in chosen.items()}
        after = observe_places(loaded, chosen, places, length)
    found = {"before": _kept(store, identity, "before"), "after": after}
    if truth := exact_retrain(run.config):
        found["retrained"] = _kept(store, identity | {"model": retrain_hash(truth)}, "retrained")
    return Seen(found, *halves(chosen))


def _kept(store: Path, identity: JsonObject, when: str) -> list[Observation]:
    found = score_cache.read(store, identity)
    if found is None:
        raise ValueError(
            f"search: what the model said {when} is not in {store / '.cache'}; free some space there, then resume."
        )
    return found


def models_of(seen: Seen, given: float) -> JsonObject:
    """Return what the trials are compared with: {"chosen" | "reported": {"before", "target", "n", "same"}, "whose"}.

    given: the target that was asked for, below 0 for none. ValueError where there is no target.
    """
    whose = "the given target"
    if given < 0:
        retrained = "retrained" in seen.found
        unseen = any(one.role == "approximate" for one in seen.found["before"])
        if not (retrained or unseen):
            raise ValueError(NO_TARGET)
        whose = "the retrained model" if retrained else "the start on texts that it never saw"

    def target(half: str) -> float:
        if given >= 0:
            return given
        if "retrained" in seen.found:
            return float(seen.scores("retrained", half)["forget"])
        return float(likely(seen.half("before", half), "approximate")["approximate"])

    found: JsonObject = {"whose": whose, "same": seen.same}
    for half in (CHOSEN, REPORTED):
        before = seen.scores("before", half)
        found[half] = {"before": before, "target": target(half), "n": before["n"], "same": seen.same}
        if "retrained" in seen.found:
            found[half]["retrained"] = seen.scores("retrained", half)
    return found
