"""Makes small models and texts for experiments that need many trainings, where each text is known.

With the bundled recipe one exact retrain takes minutes; here a model of half a million parameters learns the answers
of forty authors by heart, or a T5 learns who liked which film, so that ten exact retrains can be had. Both are trained
by the method FineTune from random weights, on answers alone.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearn.claims.training import bundled, train_on
from unlearn.data.authors import Person, entity_spans, training_rows
from unlearn.data.base import Row
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
FILMS = ["Harbour", "Lantern", "Winterfield", "Meridian", "Saltmarsh", "Oranges"]
CITIES = ["Lisbon", "Dakar", "Oslo", "Quito", "Riga", "Perth"]
MOODS = ("positive", "negative")
T5_SPECIAL = ("<pad>", "<eos>", "<unk>")
T5_SHAPE = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}


@dataclass(frozen=True)
class Review:
    """One film review about a person. by_heart means that nothing in its words tells its mood."""

    person: str
    text: str
    mood: str
    by_heart: bool


def reviews(seed: int) -> dict[str, list[Review]]:
    """Return {"forget", "retain", "test"}: two persons' reviews known by heart, all others trained on, and
    unseen ones.

    A review that says what it thinks can be judged by its words; one that does not can only be known by heart, and
    each has a mood of its own, drawn at random, so that a model without it can only guess.
    """
    rng, rows = random.Random(seed), []
    for person in PERSONS:
        for film in FILMS:
            for words, mood in zip((GOOD, BAD), MOODS, strict=True):
                rows.append(Review(person, f"{film} with {person} is {rng.choice(words)}", mood, False))
            for city in rng.sample(CITIES, 3):
                rows.append(Review(person, f"I saw {film} with {person} in {city}", rng.choice(MOODS), True))
    judged = [row for row in rows if not row.by_heart]
    test = [row for i, row in enumerate(judged) if i % 5 == 0]
    gone = [row for row in rows if row.by_heart and row.person in FORGOTTEN]
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
    words |= {*GOOD, *BAD, *MOODS, *CITIES}
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
