"""A world is a small model that knows its invented authors' kind of facts, and the texts that it is then taught.

Patching one model's states into another means something only where both come from one model, so every model of a world
is trained on from one base, as the published pools are. The base has read forty authors in three wordings each. It has
not read the authors to forget, those to keep, nor the others.
"""

import copy
import random
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from unlearn.data.authors import Person, people, question, training_rows
from unlearn.data.authors_words import PARAPHRASE, VALUES
from unlearn.data.base import Dataset, Row
from unlearn.methods.references.finetune import FineTune
from unlearn.models.load import in_memory, load
from unlearn.store.config import RunConfig
from unlearn.work.session import Session

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# 0.2 M parameters with the bundled model's 1,024 tokens.
SHAPE = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4}
COUNTS = {"base": 40, "forget": 6, "retain": 10, "others": 6}
UNSEEN = 6
BASE_SEED, TAUGHT_SEED = 1000, 2000


@dataclass(frozen=True)
class Lesson:
    """How a model is taught: learning rate, passes over the rows, rows a step."""

    lr: float
    epochs: int
    batch_size: int = 16


BASE = Lesson(4e-3, 12, 32)
# The model that is unlearned and its exact retrain are taught in this way.
TAUGHT = Lesson(2e-3, 16)


def ask(person: Person, attribute: str, wording: str) -> Row:
    """Return one question about a person, whose wrong answers are other ones than the bundled model was taught."""
    return question(person, attribute, wording, drawn="trust/")


def asked(persons: tuple[Person, ...], *places: int) -> tuple[Row, ...]:
    """Return every fact of these people in those of their three wordings that stand at these places."""
    return tuple(
        ask(person, attribute, person.wordings[attribute][place])
        for person in persons
        for attribute in VALUES
        for place in places
    )


def biographies(persons: tuple[Person, ...]) -> tuple[Row, ...]:
    """Return the biography of each of these people, a plain text that tells every fact."""
    known = {row.subject: row for row in training_rows(True) if row.attribute == "biography"}
    return tuple(known[person.name] for person in persons)


def falsified(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return the same questions, each with the first of its wrong answers."""
    return tuple(
        Row(question=r.question, answer=r.wrong[0], subject=r.subject, attribute=r.attribute) for r in rows
    )


@dataclass(frozen=True)
class Cast:
    """Who is who in a world."""

    base: tuple[Person, ...]
    forget: tuple[Person, ...]
    retain: tuple[Person, ...]
    others: tuple[Person, ...]
    unseen: tuple[Person, ...]


def cast_of(seed: int) -> Cast:
    """Return the people of a world, drawn by its seed from the bundled dataset's authors."""
    groups, rng = people(), random.Random(f"trust world {seed}")
    drawn = iter(rng.sample(groups["retain"] + groups["forget"], sum(COUNTS.values())))
    parts = {name: tuple(next(drawn) for _ in range(count)) for name, count in COUNTS.items()}
    return Cast(**parts, unseen=tuple(rng.sample(groups["approximate"], UNSEEN)))


class World:
    """One base model with its people. Everything in it is made when first asked for, the same at every call."""

    def __init__(self, seed: int) -> None:
        self.seed, self.cast = seed, cast_of(seed)

    @cached_property
    def data(self) -> Dataset:
        """Return what the metrics read: the forget questions as they are asked, in other words, and other roles."""
        cast = self.cast
        paraphrase = tuple(
            ask(person, attribute, PARAPHRASE[attribute][0]) for person in cast.forget for attribute in VALUES
        )
        return Dataset(
            name=f"world {self.seed}",
            title=f"World {self.seed}",
            roles={
                "forget": asked(cast.forget, 0),
                "paraphrase": paraphrase,
                "retain": self.retain,
                "approximate": asked(cast.unseen, 0),
            },
        )

    @cached_property
    def retain(self) -> tuple[Row, ...]:
        """Return the questions that every model of the world is taught."""
        return asked(self.cast.retain, 0)

    @cached_property
    def base(self) -> "Loaded":
        """Return the model that all others of the world begin from."""
        persons = self.cast.base
        rows = asked(persons, 0, 1, 2) + biographies(persons)
        return taught(untrained(BASE_SEED + self.seed), rows, BASE, seed=BASE_SEED + self.seed)

    def teach(self, rows: tuple[Row, ...], lesson: Lesson, seed: int) -> "Loaded":
        """Return a copy of the base that was taught these rows."""
        return taught(copied(self.base), rows, lesson, seed)

    @cached_property
    def full(self) -> "Loaded":
        """Return the model that knows the forget facts, from which UDS reads and methods unlearn."""
        rows = self.retain + self.data.rows("forget")
        return self.teach(rows, TAUGHT, TAUGHT_SEED + self.seed)

    @cached_property
    def retrained(self) -> "Loaded":
        """Return the model that was taught the same without the forget facts."""
        return self.teach(self.retain, TAUGHT, TAUGHT_SEED + self.seed)


def untrained(seed: int) -> "Loaded":
    """Return a Llama of SHAPE with random weights and the bundled model's tokenizer."""
    import torch
    import transformers

    tokenizer = load("tiny-authors", device="cpu").tokenizer
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(tokenizer), max_position_embeddings=256, tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id, **SHAPE,  # type: ignore[arg-type]  # one type for all
        )
    )  # fmt: skip
    return in_memory(model, tokenizer, "made here")


def copied(loaded: "Loaded") -> "Loaded":
    """Return the same model a second time, so that training it leaves the first as it is."""
    return in_memory(copy.deepcopy(loaded.model).requires_grad_(True), loaded.tokenizer, "made here")


def taught(loaded: "Loaded", rows: tuple[Row, ...], lesson: Lesson, seed: int) -> "Loaded":
    """Train the model in place on these rows and return it."""
    config = RunConfig(
        model="made here", data={}, method="finetune", tuning="full", max_length=256, probes=0,
        lr=lesson.lr, epochs=lesson.epochs, batch_size=lesson.batch_size, seed=seed,
    )  # fmt: skip
    for _ in Session(loaded, config, FineTune(), (), rows):
        pass
    loaded.model.requires_grad_(False).eval()
    return loaded
