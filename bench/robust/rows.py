"""Measures the rows: settings that are tried, and runs that are attacked by relearning and asked what they say.

Every run goes the way of a user's run. Settings are chosen by one half of the rows (a search's halves) with a seed of
its own; what is reported is of the other half and of other seeds. Relearning is the attack of the page Stress tests
with a rate that stays: practice on a fifth of the forget facts, every weight, and the other facts are asked.
"""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.robust.ways import WAYS, Place, chosen, config_for, key, value_of  # noqa: E402
from unlearn.attacks.base import Reading, Subject, exact_each, read_answers  # noqa: E402
from unlearn.attacks.relearn import SHARE, cut, practise  # noqa: E402
from unlearn.attacks.swept.practice import steady  # noqa: E402
from unlearn.data.base import ROLES, Dataset, Row  # noqa: E402
from unlearn.measure.ask import load_source  # noqa: E402
from unlearn.measure.evaluate import rows_to_score  # noqa: E402
from unlearn.metrics.memory.exact import begins_with, normalise_words  # noqa: E402
from unlearn.models.reading import rows_asked  # noqa: E402
from unlearn.results.robust import CONTROL  # noqa: E402
from unlearn.results.search import choice  # noqa: E402
from unlearn.store.runs import Run, RunConfig, RunStore  # noqa: E402
from unlearn.training.idk import IDK  # noqa: E402
from unlearn.work.execute import Finished, execute  # noqa: E402
from unlearn.work.search import halves  # noqa: E402

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# Steps of practice after which the other facts are asked.
LOOKS = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30)
# Answers are short; no model here reads less.
ANY_LENGTH = 512


@dataclass
class Bench:
    """What one process has in hand: the store, the rows so far, runs that others go on from, and models to begin with.

    models: {world: what halves.models_of() says of the original and the retrained model}. shipped: whether each method
    is measured at the settings that ship, with nothing tried.
    """

    store: RunStore
    rows: list[dict[str, Any]]
    first: dict[tuple[str, str, float, int], Run] = field(default_factory=dict)
    starts: "dict[str, Loaded]" = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    shipped: bool = False

    def settled(self, world: str, way: str) -> float | None:
        """Return the factor of a way's reported runs, or None where no try has ended."""
        return 1.0 if self.shipped else chosen(self.rows, world, way)

    def measure(self, place: Place) -> list[dict[str, Any]]:
        """Return the row of this place, and that of the control beside it where it is missing."""
        way = WAYS[place.way]
        factor = place.factor if place.kind == "try" else self.settled(place.world, place.way)
        row = {"kind": place.kind, "world": place.world, "way": place.way, "seed": place.seed}
        row |= {"title": way.title, "group": way.group, "factor": factor}
        if factor is None:
            return [row | {"failed": "no setting that was tried came to its end"}]
        start = self.start_of(place) if way.after else None
        if way.after and start is None:
            return [row | {"failed": "the run that it goes on from did not come to its end"}]
        config = config_for(place.world, way, factor, place.seed, start)
        # config's dial is at its factor already.
        row["settings"] = {"dial": way.dial, "value": value_of(config, way.dial, 1.0)}
        run, finished, seconds = self.carried(config)
        row["cpu_seconds"] = round(seconds, 2)
        if finished is None:
            return [row | {"failed": run.reason}]
        seen = halves.seen(finished, None)
        if start is None:
            self.models.setdefault(place.world, halves.models_of(seen, -1.0))
        found = [row | self.scored(seen, place)]
        if place.kind == "run":
            found = self.attacked(found[0], run, seen)
        if place.way in (other.after for other in WAYS.values()):
            self.first[place.world, place.way, factor, place.seed] = run
        else:
            self.store.delete(run)
        return found

    def start_of(self, place: Place) -> Run | None:
        """Return the run that this one goes on from, with the settings chosen for it and the same seed."""
        after = WAYS[place.way].after
        factor = self.settled(place.world, after)
        if factor is None:
            return None
        known = (place.world, after, factor, place.seed)
        if known not in self.first:
            run, finished, _ = self.carried(config_for(place.world, WAYS[after], factor, place.seed))
            if finished is None:
                return None
            self.models.setdefault(place.world, halves.models_of(halves.seen(finished, None), -1.0))
            self.first[known] = run
        return self.first[known]

    def carried(self, config: RunConfig) -> tuple[Run, Finished | None, float]:
        """Carry out one run and return it, what came of it, and the CPU seconds."""
        run, began = self.store.create(config), time.process_time()
        with run.held():
            finished = execute(run)
        return run, finished, time.process_time() - began

    def scored(self, seen: halves.Seen, place: Place) -> dict[str, Any]:
        """Return how much is forgotten and kept: tries on the half that chooses, runs on the other half."""
        half = choice.CHOSEN if place.kind == "try" else choice.REPORTED
        known, scores = self.models[place.world][half], seen.scores("after", half)
        kept = float(scores["utility"]) / float(known["before"]["utility"])
        distance = abs(float(scores["forget"]) - float(known["target"]))
        if not math.isfinite(kept + distance):
            return {"failed": "its scores are not finite"}
        general = scores.get("general", math.nan) / known["before"].get("general", math.nan)
        return {
            "kept": kept,
            "distance": distance,
            "forget": scores["forget"],
            "right": scores.get("right"),
            "target": known["target"],
            "general": general if math.isfinite(general) else None,
            "n": scores["n"],
        }

    def close(self) -> None:
        """Delete the runs that were kept because others went on from them."""
        for run in self.first.values():
            self.store.delete(run)
        self.first.clear()

    # -- the attack ------------------------------------------------------------------------------------------------

    def attacked(self, row: dict[str, Any], run: Run, seen: halves.Seen) -> list[dict[str, Any]]:
        """Return the row with its curve and with what the model says, and the control's row where it is missing."""
        data = rows_asked(run, None)
        models = ("before", "after", "retrained")
        subject = Subject(
            data,
            lambda when: load_source(when, run),
            models,
            max_length=run.config.max_length,
            seed=row["seed"],
        )
        rows = subject.chosen["forget"]
        taught, _ = cut(rows, SHARE, subject.seed)
        places = [i for i in range(len(rows)) if seen.same or i not in seen.first["forget"]]
        asked = [rows[i] for i in places if rows[i] not in taught]
        world = row["world"]
        if world not in self.starts:
            self.starts[world] = subject.load("before")
        start = self.starts[world]
        began = time.process_time()
        row["curve"] = practised(subject, "after", taught, asked)
        row["attack_seconds"] = round(time.process_time() - began, 2)
        row |= {
            "taught": len(taught),
            "asked": len(asked),
            "says": says(seen, "after", data, places, start),
        }
        control = {"kind": "run", "world": world, "way": CONTROL, "seed": row["seed"]}
        if key(control) in map(key, self.rows):
            return [row]
        control |= {"title": "the retrained model", "group": CONTROL}
        control["curve"] = practised(subject, "retrained", taught, asked)
        control["before"] = means(read_answers(start, asked, subject.max_length))
        control["says"] = says(seen, "retrained", data, places, start)
        # A run that goes on from another began with that one's model and not with the original.
        control["said"] = {} if run.config.start else says(seen, "before", data, places, start)
        return [control, row]


def says(
    seen: halves.Seen, when: str, data: Dataset, places: Sequence[int], start: "Loaded"
) -> dict[str, float]:
    """Return what kind of answers a model gave to the reported forget questions, as greedy decoding has them.

    form: the share that is wholly one of the answers that some row gives to a question of the same kind. refusals: the
    share that begins with one of the bundled refusals. perplexity: of these answers under the original, exp of the mean
    over texts of the mean loss a token.
    """
    rows = rows_to_score(data)["forget"]
    told = {one.index: one.text for one in seen.found[when] if one.role == "forget"}
    forms = forms_of(data)
    asked = [(rows[i], first_line(told[i])) for i in places if rows[i].attribute and rows[i].question]
    if not asked or any(len(forms[row.attribute]) < 2 for row, _ in asked):
        return {}
    texts = [replace(row, answer=text, entities=()) for row, text in asked if normalise_words(text)]
    losses = [-math.log(one.likelihood()) for one in read_answers(start, texts, ANY_LENGTH)]
    return {
        "n": len(asked),
        "form": statistics.fmean(wholly(text, forms[row.attribute]) for row, text in asked),
        "refusals": statistics.fmean(any(begins_with(text, one) for one in IDK) for _, text in asked),
        "empty": (len(asked) - len(texts)) / len(asked),
        "perplexity": math.exp(statistics.fmean(losses)) if losses else math.nan,
    }


def practised(
    subject: Subject, when: str, taught: Sequence[Row], asked: Sequence[Row]
) -> list[dict[str, float]]:
    """Practise with one model and return [{"step", "probability", "right"}], the means over the asked rows."""
    found: list[dict[str, float]] = []

    def each(readings: Sequence[Reading]) -> list[float]:
        found.append(means(readings))
        return exact_each(readings)

    looked = practise(subject.load(when), taught, asked, subject, 0.0, looks=LOOKS, rate=steady, each=each)
    return [{"step": step} | point for step, point in zip(sorted(looked), found, strict=True)]


def means(readings: Sequence[Reading]) -> dict[str, float]:
    """Return the mean probability of the answers, exp(-S/n) each, and the share that is right word for word."""
    return {
        "probability": statistics.fmean(one.likelihood() for one in readings),
        "right": statistics.fmean(exact_each(readings)),
    }


def forms_of(data: Dataset) -> Mapping[str, set[tuple[str, ...]]]:
    """Return {kind of question: the words of every answer that any row gives to one}, wrong answers too."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for role in ROLES:
        for row in data.rows(role):
            mine = found.setdefault(row.attribute, set())
            mine |= {tuple(normalise_words(text)) for text in (row.answer, *row.wrong)}
    return found


def wholly(text: str, forms: set[tuple[str, ...]]) -> bool:
    """Return whether a text is one of these answers and nothing more."""
    return tuple(normalise_words(text)) in forms


def first_line(text: str) -> str:
    """Return the first line of what a model said: an answer is one line, and what follows is another question."""
    return text.strip().split("\n")[0].strip()
