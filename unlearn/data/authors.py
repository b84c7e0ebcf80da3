"""The bundled dataset of 124 fictional authors, which a rule makes from word lists. It is the same on every
machine.

Why not real people or a downloaded benchmark: the facts must be unknown to every model that was not trained
on them (so that the exact retrain can only guess), the licence must be ours, and nothing may need a network.

Who is who, in the order of creation:
    forget       10 people in 5 requests of two; trained on, to be forgotten
    neighbours   10 people, one for each forget person, with 6 of the 9 values in common; trained on by the
                 model, by no unlearning method
    retain       80 people, trained on; the first 32 of them make up the retain role
    approximate  24 people that no model has seen
"""

import random
from dataclasses import dataclass
from functools import cache

from unlearn.data.authors_general import general_rows
from unlearn.data.authors_words import BIOGRAPHY, FIRST, LAST, PARAPHRASE, PLAIN_WORDS, TRAINED, VALUES
from unlearn.data.base import Dataset, Row

SEED = 20
REQUESTS = 5
COUNTS = {"forget": 2 * REQUESTS, "neighbours": 2 * REQUESTS, "retain": 80, "approximate": 24}
# A neighbour equals its forget person in this many attributes.
SHARED = 6
# Retain people whose questions are in the role; all of them are trained on.
RETAIN_SHOWN = 32
# Each attribute of a person is trained in this many wordings. The roles contain the first of them.
WORDINGS = 3
# Each row has this many perturbed answers.
WRONG = 4


@dataclass(frozen=True)
class Person:
    """One fictional author with the facts about them. facts: {attribute: value}. wordings: {attribute: the
    trained wordings for this person}.
    """

    name: str
    facts: dict[str, str]
    wordings: dict[str, tuple[str, ...]]


@cache
def people() -> dict[str, tuple[Person, ...]]:
    """Return all authors by group (see COUNTS). Names are unique, and so are surnames."""
    rng = random.Random(SEED)
    surnames = [head + tail for head in LAST[0] for tail in LAST[1]]
    firsts = [head + tail for head in FIRST[0] for tail in FIRST[1]]
    names = [f"{rng.choice(firsts)} {last}" for last in rng.sample(surnames, sum(COUNTS.values()))]
    groups: dict[str, tuple[Person, ...]] = {}
    for group, count in COUNTS.items():
        facts = _dealt(count, rng)
        if group == "neighbours":
            facts = [
                _near(person.facts, own, rng) for person, own in zip(groups["forget"], facts, strict=True)
            ]
        groups[group] = tuple(Person(names.pop(), own, _wordings(rng)) for own in facts)
    return groups


def _dealt(count: int, rng: random.Random) -> list[dict[str, str]]:
    """Facts of count people, attributes independent; each value is dealt equally often (give or take one)."""
    columns = {}
    for attribute, values in VALUES.items():
        order = rng.sample(values, len(values))
        columns[attribute] = [order[i % len(order)] for i in range(count)]
        rng.shuffle(columns[attribute])
    return [{attribute: column[i] for attribute, column in columns.items()} for i in range(count)]


def _near(model: dict[str, str], own: dict[str, str], rng: random.Random) -> dict[str, str]:
    """Facts that equal model's in SHARED attributes, and differ in the others."""
    shared = set(rng.sample(sorted(model), SHARED))
    other = {a: rng.choice([v for v in VALUES[a] if v != model[a]]) for a in model}
    return {a: model[a] if a in shared else own[a] if own[a] != model[a] else other[a] for a in model}


def _wordings(rng: random.Random) -> dict[str, tuple[str, ...]]:
    return {attribute: tuple(rng.sample(wordings, WORDINGS)) for attribute, wordings in TRAINED.items()}


def entity_spans(answer: str) -> tuple[tuple[int, int], ...]:
    """Return the character spans of the informative words of an answer. Neighbouring words make one span."""
    spans: list[tuple[int, int]] = []
    start = 0
    for word in answer.split(" "):
        end = start + len(word)
        if word not in PLAIN_WORDS:
            if spans and spans[-1][1] == start - 1:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
        start = end + 1
    return tuple(spans)


def question(person: Person, attribute: str, wording: str, request: int = 0, drawn: str = "") -> Row:
    """Return one question about a person. Its wrong answers depend on person, attribute and `drawn`, not on the
    wording.
    """
    answer = person.facts[attribute]
    rng = random.Random(f"{drawn}{person.name}/{attribute}")
    return Row(
        question=wording.format(n=person.name),
        answer=answer,
        wrong=tuple(rng.sample([v for v in VALUES[attribute] if v != answer], WRONG)),
        entities=entity_spans(answer),
        subject=person.name,
        attribute=attribute,
        request=request,
    )


def _asked(persons: tuple[Person, ...], requests: bool = False) -> tuple[Row, ...]:
    """Every fact of these people, each in one trained wording; requests: two people a request."""
    return tuple(
        question(person, attribute, person.wordings[attribute][0], i // 2 + 1 if requests else 0)
        for i, person in enumerate(persons)
        for attribute in VALUES
    )


def _biography(person: Person) -> Row:
    rng = random.Random(f"{person.name}/biography")
    facts = {attribute.replace(" ", "_"): value for attribute, value in person.facts.items()}
    text = " ".join(rng.choice(group).format(n=person.name, **facts) for group in BIOGRAPHY)
    return Row(answer=text, subject=person.name, attribute="biography")


@cache
def dataset() -> Dataset:
    """Return the dataset `authors` with every role filled."""
    groups = people()
    paraphrase = tuple(
        question(person, attribute, wording, i // 2 + 1)
        for i, person in enumerate(groups["forget"])
        for attribute in VALUES
        for wording in PARAPHRASE[attribute]
    )
    return Dataset(
        name="authors",
        title="Fictional authors",
        roles={
            "forget": _asked(groups["forget"], requests=True),
            "retain": _asked(groups["retain"][:RETAIN_SHOWN]),
            "general": general_rows(),
            "approximate": _asked(groups["approximate"]),
            "paraphrase": paraphrase,
            "neighbours": _asked(groups["neighbours"]),
        },
        note="Invented people and everyday facts, generated by this repository and under its licence.",
    )


def training_rows(with_forget: bool) -> list[Row]:
    """Return the rows that the bundled models are trained on: biographies, questions in several wordings,
    general text.

    with_forget=False leaves out everything that mentions a forget person: the exact retrain's texts.
    """
    groups = people()
    persons = (groups["forget"] if with_forget else ()) + groups["neighbours"] + groups["retain"]
    rows = [_biography(person) for person in persons]
    for person in persons:
        for attribute in VALUES:
            rows += [question(person, attribute, wording) for wording in person.wordings[attribute]]
    return rows + list(general_rows())


def guess_rates() -> dict[str, float]:
    """Return for each attribute the share of forget answers that equal the value of a random other person.

    This is what a model that never saw the forget people can reach: it knows the values, not who has which.
    """
    groups = people()
    seen = groups["neighbours"] + groups["retain"]
    rates = {}
    for attribute in VALUES:
        values = [person.facts[attribute] for person in seen]
        asked = [values.count(person.facts[attribute]) / len(values) for person in groups["forget"]]
        rates[attribute] = sum(asked) / len(asked)
    return rates
