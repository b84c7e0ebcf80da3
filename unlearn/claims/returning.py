"""Small worlds in which methods forget equally much, and are then asked what comes back and what they say instead.

In each world a model of half a million parameters learns eighteen authors by heart, an exact retrain all but four. A
method is stopped at the first step at which the answers to forget are no more probable than to the retrained model, so
that methods are compared at equal forgetting. Then each model practises one half of the forgotten facts, and the other
half is read on the way: what comes back there was never gone. The retrained model practises too. D1, E1 and F1 use it.
"""

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unlearn.attacks.relearn import cut
from unlearn.claims.base import Data, number
from unlearn.claims.reading import observe_answers, scores_of
from unlearn.claims.training import settings, train_on
from unlearn.claims.worlds import questions, small_authors
from unlearn.data.authors import people
from unlearn.data.authors_words import VALUES
from unlearn.data.base import Row
from unlearn.measure.generating import generate
from unlearn.methods import method_named
from unlearn.methods.edit.undo import UNDO
from unlearn.metrics.memory.exact import normalise_words
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab
    from unlearn.models.load import Loaded

KNOWN, GONE, EPOCHS = 14, 4, 60
WORLDS = 10
# Rates for this size of model. The epochs are more than it takes to get to the retrained model's level.
METHODS: dict[str, JsonObject] = {
    "gd": {"lr": 5e-4, "epochs": 15, "retain_weight": 4.0},
    "npo": {"lr": 5e-4, "epochs": 30, "beta": 0.5, "retain_weight": 4.0},
    "simnpo": {"lr": 5e-4, "epochs": 30, "retain_weight": 4.0},
    "undial": {"lr": 1e-3, "epochs": 30, "gamma": 15.0, "retain_weight": 4.0},
    "altpo": {"lr": 5e-4, "epochs": 30, "retain_weight": 4.0},
    "repselect": {"lr": 0.1, "epochs": 1, "rank": 32, "kl_budget": 10.0},
}
# UNDO is a step after a run; its shares are the dial that the paper speaks of.
FIRST, SHARES = "npo", (0.2, 0.4, 0.6)
DISTILLING: JsonObject = {"lr": 2e-3, "epochs": 30, "batch_size": 32}
PRACTICE: JsonObject = {"lr": 1e-3, "epochs": 10, "batch_size": 16}
# The answers are short: one of a list of values for each kind of fact.
ROOM, WRONG = 12, 4
UNTOUCHED = ("original", "retrained")


@dataclass(frozen=True)
class World:
    """The two models of a world and its texts."""

    original: "Loaded"
    retrained: "Loaded"
    forget: tuple[Row, ...]
    kept: tuple[Row, ...]


def worlds(lab: "Lab", full: bool) -> JsonObject:
    """Return {"n", "seeds", "worlds": [{"seed", "level", model: what was read of it}]}."""
    seeds = list(range(WORLDS if full else 3))
    found = [{"seed": seed} | world(lab, seed) for seed in seeds]
    return {"n": f"{9 * GONE} forget and {9 * KNOWN} other texts a world", "seeds": seeds, "worlds": found}


def world(lab: "Lab", seed: int) -> JsonObject:
    """Return what was read of each model of one world."""
    what = {
        "what": f"what comes back in world {seed}",
        "settings": repr((KNOWN, GONE, EPOCHS, METHODS, FIRST, SHARES, DISTILLING, PRACTICE)),
        "seed": seed,
    }
    return lab.once(what, lambda: _world(seed))


def _world(seed: int) -> JsonObject:
    made = make(seed)
    level = probability(made.retrained, made.forget)
    found: JsonObject = {"level": level}
    for name in UNTOUCHED:
        found[name] = read(made, copy.deepcopy(getattr(made, name)), seed)
    for method in METHODS:
        loaded = unlearned(made, method, level, seed)
        found[method] = read(made, copy.deepcopy(loaded), seed)
        if method == FIRST:
            for share in SHARES:
                found[f"undo {share:g}"] = read(made, undone(made, copy.deepcopy(loaded), share, seed), seed)
    return found


def make(seed: int) -> World:
    """Return a world, the same for the same seed."""
    rng = random.Random(f"what comes back of {seed}")
    everybody = [person for group in people().values() for person in group]
    drawn = rng.sample(everybody, KNOWN + GONE)
    kept, gone = questions(drawn[:KNOWN]), questions(drawn[KNOWN:])
    forget = tuple(replace(row, wrong=_wrong(row, rng)) for row in gone)
    return World(
        small_authors((*kept, *forget), epochs=EPOCHS, seed=seed),
        small_authors(kept, epochs=EPOCHS, seed=seed),
        forget,
        kept,
    )


def _wrong(row: Row, rng: random.Random) -> tuple[str, ...]:
    return tuple(rng.sample([value for value in VALUES[row.attribute] if value != row.answer], WRONG))


def unlearned(made: World, name: str, level: float, seed: int) -> "Loaded":
    """Return a copy of the world's model that the method has brought to this level of forgetting."""
    loaded = copy.deepcopy(made.original)
    config = settings(name, seed=seed, max_length=128, **{"batch_size": 9, **METHODS[name]})
    method = method_named(name).from_knobs(config.knobs)

    def enough(step: int, per_epoch: int) -> bool:
        return probability(loaded, made.forget) <= level

    train_on(loaded, config, method, made.forget, made.kept, enough)
    return loaded


def undone(made: World, loaded: "Loaded", share: float, seed: int) -> "Loaded":
    """Return the model after UNDO, which teaches it its own answers about the texts to keep again."""
    config = settings("undo", seed=seed, max_length=128, share=share, **DISTILLING)
    train_on(loaded, config, UNDO.from_knobs(config.knobs), (), made.kept)
    return loaded


def read(made: World, loaded: "Loaded", seed: int) -> JsonObject:
    """Return what a model says, keeps, and knows again after practice, which changes it.

    forget, kept: mean answer probability. plausible: the share of questions to forget that it answers with a value of
    the kind that is asked for, wrong or right. half: the probability of the facts that it does not practise; back: the
    highest on the way.
    """
    found = {
        "forget": probability(loaded, made.forget),
        "kept": probability(loaded, made.kept),
        "plausible": plausible(loaded, made.forget),
    }
    taught, rest = cut(made.forget, 0.5, seed)
    seen = [probability(loaded, rest)]
    config = settings("finetune", seed=seed, max_length=128, **PRACTICE)

    def look(step: int, per_epoch: int) -> None:
        if step % per_epoch == 0:
            seen.append(probability(loaded, rest))

    train_on(loaded, config, method_named("finetune").from_knobs(config.knobs), (), taught, look)
    return found | {"half": seen[0], "back": max(seen)}


def probability(loaded: "Loaded", rows: Sequence[Row]) -> float:
    """Return the mean over these rows of the answer's probability."""
    return scores_of(observe_answers(loaded.model, loaded.tokenizer, {"texts": rows}))["texts"]["probability"]


def plausible(loaded: "Loaded", rows: Sequence[Row]) -> float:
    """Return the share of rows that the model answers with one of the values of that kind of fact, and nothing else."""
    said = generate(loaded.model, loaded.tokenizer, [row.prompt for row in rows], ROOM, "cpu")
    return sum(map(sensible, said, rows)) / len(rows)


def sensible(said: str, row: Row) -> bool:
    """Return whether these words are a value of the kind of fact that the row asks for."""
    return normalise_words(said) in [normalise_words(value) for value in VALUES[row.attribute]]


# -- from stored numbers -----------------------------------------------------------------------------------------


def values(data: Data, model: str, name: str) -> list[float]:
    """Return one value of a model, one number for each world."""
    return [number(one[model][name]) for one in data["worlds"]]


def less(data: Data, name: str, a: str, b: str) -> list[float]:
    """Return the value of model a less that of model b, one number for each world."""
    pairs = zip(values(data, a, name), values(data, b, name), strict=True)
    return [x - y for x, y in pairs]


def residue(data: Data, model: str) -> list[float]:
    """Return how far practice brings a model towards the original: 0 is the retrained model's, 1 the original's."""
    found = []
    for one in data["worlds"]:
        start, whole = number(one["retrained"]["back"]), number(one["original"]["back"])
        found.append((number(one[model]["back"]) - start) / (whole - start))
    return found
