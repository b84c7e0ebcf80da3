"""Asks a model, before a run, whether it knows what it is to forget: up to 25 forget rows in the run's format.

The answers are part of "scoring before" and kept by content, so that the run that follows does not ask them again.
A question counts as answered where the greedy answer holds half of the true one's words (ROUGE-L recall). A plain
text counts where the model continues it so, or where its tokens are more than twice as likely as those of texts of
the same length that it was not told to forget: the approximate role's, else the general, else the retain role's.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.compute import libraries, memory, threads
from unlearn.data.base import Dataset, Row
from unlearn.data.catalogue import from_config
from unlearn.data.prompts import asked_in
from unlearn.measure import score_cache
from unlearn.measure.evaluate import observe, rows_to_score
from unlearn.measure.formats import RIGHT, some
from unlearn.metrics import Observation
from unlearn.metrics.memory.rouge import rouge_l
from unlearn.models.catalogue import allow_model
from unlearn.models.identity import hash_before
from unlearn.models.load import SMALL
from unlearn.models.reading import as_read
from unlearn.results.conclusion import FEW, KNOWN
from unlearn.store.config import RunConfig
from unlearn.store.runs import RunStore
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# Where texts are taken from to compare a text with.
OTHERS = ("approximate", "general", "retain")
TIMES = 2.0
EXAMPLES = 3
FIRST = {"asked": "before the run"}
# What counts, said wherever the examples are shown, since it is less than the whole answer.
RULE = "An answer counts when it holds at least half of the right one's words."
RULE_OF_TEXTS = (
    "A text counts when the model goes on with half of its words, or finds it far likelier than other texts."
)


@dataclass(frozen=True)
class Known:
    """How many of the asked rows the model answers.

    examples: question, what it said, and the right answer. rule: what counts as answered, in a sentence.
    """

    asked: int
    answered: int
    examples: tuple[dict[str, str], ...]
    rule: str = RULE

    @property
    def share(self) -> float:
        """Return the share of the asked rows that the model answers."""
        return self.answered / self.asked

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to forget, as far as these rows tell."""
        return self.asked >= FEW and self.share < KNOWN

    def words(self) -> str:
        """Say it in a sentence."""
        told = f"It answers {self.answered} of {self.asked} of these today"
        return f"{told}: there is nothing to forget." if self.nothing else f"{told}."

    def to_json(self) -> JsonObject:
        """Return the plain values that `run --check --json` prints."""
        return {
            "asked": self.asked,
            "answered": self.answered,
            "share": self.share,
            "examples": list(self.examples),
        }


def known(
    config: RunConfig,
    store: RunStore,
    roots: Sequence[Path] | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Known:
    """Load the model that a run of this config begins with, and ask it. ValueError for what cannot be read."""
    libraries.ready()
    from unlearn.models import tuning

    allow_model(config.model, roots)
    start = store.get(config.start) if config.start else None
    rows = as_read(from_config(dict(config.data), roots), config)
    data = asked_in(rows, config.prompt, config.system)
    chosen = rows_to_score(data)
    loaded = tuning.starting_model(config, start)
    loaded.hash = hash_before(config, start, loaded.hash)
    threads.choose_threads(loaded.parameters < SMALL or loaded.device != "cpu")
    length = loaded.fit_length(config.max_length)
    identity = identity_of_scores(loaded, data, length)
    places = _places(chosen)
    found = score_cache.read(store.root, identity | FIRST)
    if found is None:
        whole = score_cache.read(store.root, identity)
        found = [one for one in whole or () if one.index in places.get(one.role, ())]
    if not found:
        found = observe_places(loaded, chosen, places, length, progress=progress)
        # A store that is not there yet is made for a run alone, not for a refusal.
        if store.root.is_dir() or not judged(found).nothing:
            score_cache.write(store.root, identity | FIRST, found)
    memory.give_back()
    return judged(found)


def identity_of_scores(loaded: "Loaded", data: Dataset, max_length: int) -> JsonObject:
    """What the answers of a model to the rows of a run depend on: the name under which they are kept."""
    return {
        "model": loaded.hash,
        "data": data.hash(),
        "dtype": loaded.dtype,
        "device": loaded.device,
        "max_length": max_length,
    }


def observe_places(
    loaded: "Loaded",
    chosen: Mapping[str, Sequence[Row]],
    places: Mapping[str, Sequence[int]],
    max_length: int,
    *,
    progress: Callable[[float], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
    brief: Collection[str] = (),
) -> list[Observation]:
    """Observe these places of each role's rows alone. Each observation keeps its place. brief: as of observe()."""
    picked = {role: [chosen[role][i] for i in mine] for role, mine in places.items() if mine}
    found = observe(
        loaded.model,
        loaded.tokenizer,
        picked,
        max_length=max_length,
        device=loaded.device,
        progress=progress,
        check=check,
        brief=brief,
    )
    return [replace(one, index=places[one.role][one.index]) for one in found]


def judged(found: Sequence[Observation]) -> Known:
    """Count what was answered of the forget rows among these."""
    asked = [one for one in found if one.role == "forget"]
    others = [one for one in found if one.role != "forget"]
    hits = [_answered(one, others) for one in asked]
    # What is not known says more, where there is such.
    order = sorted(range(len(asked)), key=lambda i: hits[i])
    examples = tuple(
        {
            "question": asked[i].question or asked[i].prompt,
            "said": asked[i].text.strip(),
            "answer": asked[i].answer.strip(),
        }
        for i in order[:EXAMPLES]
    )
    kinds = {bool(one.question): RULE if one.question else RULE_OF_TEXTS for one in asked}
    return Known(
        len(asked), sum(hits), examples, " ".join(kinds[kind] for kind in sorted(kinds, reverse=True))
    )


def _answered(one: Observation, others: Sequence[Observation]) -> bool:
    if rouge_l(one) >= RIGHT:
        return True
    if one.question or not others:
        return False
    near = sorted(others, key=lambda other: abs(len(other.tokens) - len(one.tokens)))[:5]
    usual = sum(map(_likely, near)) / len(near)
    return _likely(one) > TIMES * usual


def _likely(one: Observation) -> float:
    """Mean probability of its tokens."""
    return sum(math.exp(float(token["lp"])) for token in one.tokens) / len(one.tokens)


def _places(chosen: Mapping[str, Sequence[Row]]) -> dict[str, list[int]]:
    """Which of the scored rows are asked first: of the forget rows, and where those are texts, of others."""
    places = {"forget": some(range(len(chosen["forget"])))}
    if any(not row.question for row in chosen["forget"]):
        texts = {
            role: [i for i, row in enumerate(chosen.get(role, ())) if not row.question] for role in OTHERS
        }
        role = next((role for role in OTHERS if texts[role]), "")
        if role:
            places[role] = some(texts[role])
    return places


def kept_before(store: Path, identity: JsonView) -> list[Observation]:
    """Return the answers that were asked before the run, or none where it was not asked."""
    return score_cache.read(store, {**identity, **FIRST}) or []
