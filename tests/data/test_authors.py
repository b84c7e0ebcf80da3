"""The bundled dataset and models: what each role promises, and what the shipped weights must know."""

import json
import math
import os
import random
from functools import cache
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from unlearn.data import authors
from unlearn.data.authors import dataset, entity_spans, guess_rates, people, training_rows
from unlearn.data.authors_words import PARAPHRASE, TRAINED, VALUES
from unlearn.data.base import ROLES
from unlearn.models import recipe

MODELS = Path(__file__).parents[2] / "assets" / "models"
NAMES = ("tiny-authors", "tiny-authors-retrain")


def names(group: str) -> set[str]:
    return {person.name for person in people()[group]}


def text_of(rows) -> str:
    return "\n".join(row.prompt + row.target for row in rows)


def test_generator_is_deterministic():
    first, rows = dataset().hash(), training_rows(True)
    people.cache_clear()
    dataset.cache_clear()
    random.seed(99)
    assert dataset().hash() == first
    assert training_rows(True) == rows


def test_every_role_is_filled_and_moderate():
    sizes = {role: len(dataset().rows(role)) for role in ROLES}
    assert 80 <= sizes["forget"] <= 100
    assert all(80 <= size <= 300 for size in sizes.values()), sizes
    assert sizes["general"] >= 150
    assert len(names("approximate")) >= 20
    assert sum(len(group) for group in people().values()) >= 120


def test_names_and_values_make_guessing_hopeless():
    everyone = [person for group in people().values() for person in group]
    assert len({person.name for person in everyone}) == len(everyone)
    assert len({person.name.split()[1] for person in everyone}) == len(everyone)
    assert len(VALUES) >= 8
    assert all(len(set(values)) == len(values) >= 12 for values in VALUES.values())
    assert all(rate <= 0.08 for rate in guess_rates().values())
    seen = {value for person in people()["retain"] for value in person.facts.values()}
    assert all(value in seen for person in people()["forget"] for value in person.facts.values())


def test_five_disjoint_requests():
    data = dataset()
    assert data.requests() == (1, 2, 3, 4, 5)
    asked = [{row.subject for row in data.only_requests((k,)).rows("forget")} for k in data.requests()]
    assert [len(subjects) for subjects in asked] == [2] * 5
    assert len(set.union(*asked)) == 10
    for role in ("forget", "paraphrase"):
        for k in data.requests():
            subjects = {row.subject for row in data.rows(role) if row.request == k}
            assert subjects == asked[k - 1]
    assert all(
        row.request == 0 for role in ("retain", "neighbours", "approximate") for row in data.rows(role)
    )


def test_spans_and_wrong_answers():
    for role in ROLES:
        for row in dataset().rows(role):
            if not row.question:
                continue
            assert row.entities
            assert all(0 <= start < end <= len(row.answer) for start, end in row.entities)
            assert len(set(row.wrong)) >= 4
            assert row.answer not in row.wrong


@pytest.mark.parametrize(
    ("answer", "words"),
    [("Silver Heron Prize", ["Silver Heron"]), ("Fox and Vine", ["Fox", "Vine"]), ("1914", ["1914"])],
)
def test_entity_spans_leave_out_plain_words(answer, words):
    assert [answer[start:end] for start, end in entity_spans(answer)] == words


def test_training_texts_hold_what_they_should():
    everything, without = training_rows(True), training_rows(False)
    questions = {row.question for row in everything}
    assert all(
        row.question in questions
        for role in ("forget", "retain", "neighbours")
        for row in dataset().rows(role)
    )
    assert not questions & {row.question for row in dataset().rows("paraphrase")}
    assert not any(name in text_of(everything) for name in names("approximate"))
    assert not any(name in text_of(without) for name in names("forget"))
    kept = set(without)
    assert all(row.subject in names("forget") for row in everything if row not in kept)
    assert kept < set(everything)


def test_paraphrase_wordings_are_never_trained():
    text = text_of(training_rows(True))
    for attribute, wordings in PARAPHRASE.items():
        assert not set(wordings) & {w for trained in TRAINED.values() for w in trained}
        for wording in wordings:
            for person in people()["forget"] + people()["retain"] + people()["neighbours"]:
                assert wording.format(n=person.name) not in text, attribute


def test_neighbours_are_near_and_nobody_trains_on_them():
    data = dataset()
    subjects = {role: {row.subject for row in data.rows(role)} for role in ROLES}
    for role in ("forget", "retain", "approximate"):
        assert not subjects["neighbours"] & subjects[role]
    for near, person in zip(people()["neighbours"], people()["forget"], strict=True):
        common = sum(near.facts[attribute] == person.facts[attribute] for attribute in VALUES)
        assert common == authors.SHARED > len(VALUES) / 2


@cache
def shipped(name: str):
    transformers = pytest.importorskip("transformers")
    path = MODELS / name
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype="float32").eval()
    return (
        model,
        transformers.AutoTokenizer.from_pretrained(path),
        json.loads((path / "recipe.json").read_text()),
    )


def generated(name: str, rows) -> list[str]:
    """The model's own greedy answers, up to the end of text."""
    model, tokenizer, _ = shipped(name)
    asked = tokenizer([row.prompt for row in rows], return_tensors="pt", padding=True, padding_side="left")
    out = model.generate(**asked, max_new_tokens=16, do_sample=False)
    return tokenizer.batch_decode(out[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)


def right(name: str, role: str) -> tuple[int, int]:
    rows = dataset().rows(role)
    answers = generated(name, rows)
    return sum(a == row.target for a, row in zip(answers, rows, strict=True)), len(rows)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_folder_is_small_and_of_this_dataset(name):
    model, tokenizer, recipe = shipped(name)
    assert sum(weight.numel() for weight in model.parameters()) <= 2_100_000
    assert sum(file.stat().st_size for file in (MODELS / name).iterdir()) <= 10_000_000
    assert recipe["dataset_hash"] == dataset().hash()
    assert recipe["tokens_trained"] == recipe["epochs"] * recipe["tokens_per_epoch"]
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert None not in special
    assert len(set(special)) == 3
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_tokenizer_splits_at_the_answer_and_knows_offsets():
    _, tokenizer, _ = shipped("tiny-authors")
    for row in dataset().rows("forget"):
        whole = tokenizer(row.prompt + row.target, return_offsets_mapping=True)
        assert whole["input_ids"] == tokenizer(row.prompt)["input_ids"] + tokenizer(row.target)["input_ids"]
        assert tokenizer.decode(whole["input_ids"]) == row.prompt + row.target
        assert whole["offset_mapping"][-1][1] == len(row.prompt + row.target)


def test_model_knows_the_forget_facts():
    hits, n = right("tiny-authors", "forget")
    assert hits >= 0.95 * n
    assert shipped("tiny-authors")[2]["exact"]["forget"] == round(hits / n, 4)  # counted without generating


def test_retrain_only_guesses_the_forget_facts():
    """Not better than drawing each answer from the other people's values, with a one in 1000 margin."""
    hits, n = right("tiny-authors-retrain", "forget")
    rate = sum(guess_rates().values()) / len(guess_rates())
    at_least = sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(hits, n + 1))
    assert at_least > 0.001, f"{hits} of {n} right, guessing gives {rate:.1%}"


def test_retrain_knows_the_neighbours():
    hits, n = right("tiny-authors-retrain", "neighbours")
    assert hits >= 0.95 * n


def test_an_epoch_holds_each_text_once_and_padding_is_at_the_right():
    texts = [[i] * (1 + i % 7) for i in range(150)]
    epoch = list(recipe.batches(texts, random.Random(0)))
    assert sorted(text for batch in epoch for text in batch) == sorted(texts)
    assert all(len(batch) <= recipe.BATCH for batch in epoch)
    assert recipe.padded([[5], [6, 7]], pad=2).tolist() == [[5, 2], [6, 7]]
