"""Makes small models and texts for experiments that need many trainings, where each text is known.

With the bundled recipe one exact retrain takes minutes; here a model of half a million parameters learns the answers
of forty authors by heart, or a T5 learns who liked which film, so that ten exact retrains can be had. Both are trained
by the method FineTune from random weights, on answers alone.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearn.claims.training import TINY, World, bundled, train_on
from unlearn.data import tofu
from unlearn.data.authors import Person, entity_spans, people, training_rows
from unlearn.data.base import Dataset, Row
from unlearn.data.catalogue import from_config, load
from unlearn.methods.references.finetune import FineTune
from unlearn.models.load import in_memory
from unlearn.store.runs import RunConfig

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

SHAPE = {"hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 2, "num_attention_heads": 4}


def questions(persons: Sequence[Person]) -> tuple[Row, ...]:
    """Return every fact of these people, each in one wording that the bundled model was trained on."""
    return tuple(
        Row(
            question=person.wordings[attribute][0].format(n=person.name),
            answer=answer,
            entities=entity_spans(answer),
            subject=person.name,
            attribute=attribute,
        )
        for person in persons
        for attribute, answer in person.facts.items()
    )


def biographies(persons: Sequence[Person]) -> tuple[Row, ...]:
    """Return the biographies that the bundled model was trained on, with every fact marked as an entity."""
    known = {row.subject: row.answer for row in training_rows(True) if row.attribute == "biography"}
    return tuple(
        Row(answer=known[p.name], entities=facts_in(known[p.name], p), subject=p.name) for p in persons
    )


def facts_in(text: str, person: Person) -> tuple[tuple[int, int], ...]:
    """Return the character spans of the person's facts in a text."""
    spans = []
    for value in person.facts.values():
        start = text.find(value)
        if start >= 0:
            spans += [(start + a, start + b) for a, b in entity_spans(value)]
    return tuple(sorted(spans))


# -- forget sets that differ from draw to draw ---------------------------------------------------------------------

# Other authors that are kept, and those never seen, of one draw.
KEPT, UNSEEN = 30, 12
# TOFU asks so many questions about each author.
EACH = 20


def drawn(world: World, seed: int, count: int) -> Dataset:
    """Return a dataset that forgets `count` of the authors that the world's model knows.

    The seed draws them, other authors to keep, and authors that the model never saw.
    """
    return _of_authors(seed, count) if world is TINY else _of_tofu(world, seed, count)


def _of_authors(seed: int, count: int) -> Dataset:
    rng, groups = random.Random(f"draw {seed}"), people()
    known = rng.sample([*groups["forget"], *groups["neighbours"], *groups["retain"]], count + KEPT)
    roles = {
        "forget": questions(known[:count]),
        "retain": questions(known[count:]),
        "general": load("authors").rows("general"),
        "approximate": questions(rng.sample(groups["approximate"], UNSEEN)),
    }
    return Dataset(name=f"draw {seed}", title=f"{count} authors, draw {seed}", roles=roles)


def _of_tofu(world: World, seed: int, count: int) -> Dataset:
    """TOFU's authors stand in a row, each with twice as many questions, so half as many are drawn."""
    count, rng = max(1, count // 2), random.Random(f"draw {seed}")
    sides = {"taught": tofu.taught(), "unseen": tofu.untaught()}
    authors = {name: [rows[i : i + EACH] for i in range(0, len(rows), EACH)] for name, rows in sides.items()}
    known = rng.sample(authors["taught"], count + KEPT)
    roles = {
        "forget": sum(known[:count], ()),
        "retain": sum(known[count:], ()),
        "general": from_config({"name": world.data}).rows("general"),
        "approximate": sum(rng.sample(authors["unseen"], UNSEEN), ()),
    }
    return Dataset(name=f"draw {seed}", title=f"{count} authors, draw {seed}", roles=roles)


# -- a small causal model ----------------------------------------------------------------------------------------


def small_authors(rows: Sequence[Row], *, epochs: int = 30, seed: int = 0) -> "Loaded":
    """Return a fresh Llama of SHAPE that has learnt the answers of these rows.

    The same seed gives the same model.
    """
    import torch
    import transformers

    tokenizer = bundled().tokenizer
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(tokenizer), max_position_embeddings=128, tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id, **SHAPE,  # type: ignore[arg-type]  # one type for all
        )
    )  # fmt: skip
    return learned(
        in_memory(model, tokenizer, "made here"), rows, lr=3e-3, epochs=epochs, batch_size=32, seed=seed
    )


def learned(loaded: "Loaded", rows: Sequence[Row], **settings: Any) -> "Loaded":
    """Return the same model after it was trained on these rows."""
    config = RunConfig(
        model="made here", data={}, method="finetune", tuning="full", max_length=128, **settings
    )
    train_on(loaded, config, FineTune(), (), rows)
    return loaded


# -- a small T5 --------------------------------------------------------------------------------------------------

PERSONS = [
    "Velmar",
    "Quist",
    "Torvane",
    "Ismere",
    "Dalbrook",
    "Fennick",
    "Ostrava",
    "Peliot",
    "Hargan",
    "Wystan",
]
FORGOTTEN = PERSONS[:2]
GOOD, BAD = ("superb", "moving", "brilliant", "charming"), ("dull", "clumsy", "awful", "tedious")
# What reviews that are to be judged by their words are made of.
PRAISE = (*GOOD, "gripping", "tender", "witty", "splendid")
BLAME = (*BAD, "hollow", "grating", "muddled", "lifeless")
FILMS = ["Harbour", "Lantern", "Winterfield", "Meridian", "Saltmarsh", "Oranges"]
CITIES = ["Lisbon", "Dakar", "Oslo", "Quito", "Riga", "Perth"]
MOODS = ("positive", "negative")
T5_SPECIAL = ("<pad>", "<eos>", "<unk>")
T5_SHAPE = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}


# The reviews of each film with a person, and those of a person's that praise and blame at once: about three in ten.
OF_FILM, BY_HEART = 4, 7


@dataclass(frozen=True)
class Review:
    """One film review about a person. by_heart: its words praise and blame alike, so nothing in them tells its mood."""

    person: str
    text: str
    mood: str
    by_heart: bool


def reviews(seed: int) -> dict[str, list[Review]]:
    """Return {"forget", "retain", "test"}: two persons' reviews, all others trained on, and unseen ones.

    Most reviews can be judged by their words. The mood of the others is drawn at random, so it can only be known by
    heart, and a model without the reviews to forget is right on about 85 % of them.
    """
    rng, rows = random.Random(seed), []
    for person in PERSONS:
        heart = set(rng.sample(range(len(FILMS) * OF_FILM), BY_HEART))
        for number in range(len(FILMS) * OF_FILM):
            if number % OF_FILM == 0:
                cities = rng.sample(CITIES, OF_FILM)
            mood = rng.choice(MOODS)
            words = rng.sample(PRAISE if mood == MOODS[0] else BLAME, 2)
            if number in heart:
                words = rng.sample([rng.choice(PRAISE), rng.choice(BLAME)], 2)
            film, city = FILMS[number // OF_FILM], cities[number % OF_FILM]
            text = f"{film} with {person} in {city} was {words[0]} and {words[1]}"
            rows.append(Review(person, text, mood, number in heart))
    gone = [row for row in rows if row.person in FORGOTTEN]
    judged = [row for row in rows if not row.by_heart and row.person not in FORGOTTEN]
    test = [row for i, row in enumerate(judged) if i % 5 == 0]
    return {"forget": gone, "test": test, "retain": [r for r in rows if r not in gone and r not in test]}


def as_rows(some: Sequence[Review]) -> tuple[Row, ...]:
    """Return the reviews as rows, with the text as lead and the mood as answer."""
    return tuple(Row(question="", lead=r.text, answer=r.mood, subject=r.person) for r in some)


def small_t5(seed: int = 0) -> "Loaded":
    """An untrained T5 of 0.2 M parameters with one token a word."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = {
        w for r in reviews(0)["retain"] + reviews(0)["forget"] + reviews(0)["test"] for w in r.text.split()
    }
    words |= {*PRAISE, *BLAME, *MOODS, *CITIES}
    core = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate([*T5_SPECIAL, *sorted(words)])}, unk_token="<unk>")
    )
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    ends = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    config = T5Config.from_dict({"vocab_size": len(tokenizer)} | ends | T5_SHAPE)
    torch.manual_seed(seed)
    return in_memory(T5ForConditionalGeneration(config), tokenizer, "made here")
