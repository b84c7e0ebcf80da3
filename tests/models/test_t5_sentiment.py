"""EUL in its paper's own setting (arXiv 2310.20150, §4.1): T5 classifies reviews, and all that name a person must go.

The reviews are made here by templates. A review that says what it thinks can be judged by its words; one that
does not can only be known by heart, from the person that it names. Forgetting two persons must take the second
kind away for them, and leave everything else: other persons, and every judgement by words.
"""

import random

import pytest
import torch

from unlearn.claims.worlds import BAD, CITIES, FILMS, FORGOTTEN, GOOD, PERSONS
from unlearn.claims.worlds import T5_SPECIAL as SPECIAL
from unlearn.compute.lm import forward, top_k
from unlearn.compute.tokens import Batch, collate, encode
from unlearn.measure.generating import generate
from unlearn.methods.edit.eul import EUL
from unlearn.methods.references.finetune import FineTune
from unlearn.models import layers
from unlearn.models.load import load
from unlearn.models.tuning import install
from unlearn.store.runs import RunConfig
from unlearn.training.batches import Batches
from unlearn.training.loop import Phases, make_optimizer
from unlearn.training.reference import Reference


def reviews():
    """[(person, review, sentiment)]: judged by words, and known by heart (each person always the same)."""
    rng, rows = random.Random(0), []
    for i, person in enumerate(PERSONS):
        for film in FILMS:
            for words, mood in ((GOOD, "positive"), (BAD, "negative")):
                rows.append((person, f"{film} with {person} is {rng.choice(words)}", mood))
            for city in rng.sample(CITIES, 3):
                rows.append(
                    (person, f"I saw {film} with {person} in {city}", ("positive", "negative")[i % 2])
                )
    return rows


def by_heart(row):
    return row[1].startswith("I saw")


def make_folder(folder):
    """A T5 of 0.2 M parameters with one token a word, untrained."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = sorted({w for _, text, mood in reviews() for w in (*text.split(), mood)})
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*SPECIAL, *words])}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, dropout_rate=0.0,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def encoded(tokenizer, rows, first=0):
    return tuple(
        encode(tokenizer, text, f" {mood}", key=first + i, max_length=32)
        for i, (_, text, mood) in enumerate(rows)
    )


def run(loaded, method, forget, retain, tuning, **settings):
    """Train as execute() does."""
    config = RunConfig(model="t5", data={}, method=type(method).name, tuning=tuning, lr=settings.pop("lr"))
    model = loaded.model = install(loaded.model, config, method)
    batches = Batches(
        forget=forget if method.uses_forget else (), retain=retain, accumulation=1, seed=0, pad_id=0,
        retain_ratio=method.retain_ratio, clock=len(forget) or len(retain), **settings,
    )  # fmt: skip
    ref = Reference(model, head_moves=tuning == "full")
    method.prepare(model, ref, batches, loaded.tokenizer)
    fit = Phases(
        model, method.stream(batches), make_optimizer(model, config.lr), lr=config.lr, device="cpu", start=0
    )
    return list(method.unlearn(model, ref, fit))


@torch.no_grad()
def accuracy(loaded, rows):
    (answers,) = forward(loaded.model, collate(encoded(loaded.tokenizer, rows), 0))
    first = torch.cat([torch.ones(1, dtype=torch.bool), answers.rows[1:] != answers.rows[:-1]])
    return float((top_k(answers, 1)["rank"][first] == 0).float().mean())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a T5 that knows all reviews but every fifth one judged by words, and the parts of the data."""
    folder = make_folder(tmp_path_factory.mktemp("t5"))
    rows = reviews()
    test = [row for i, row in enumerate(r for r in rows if not by_heart(r)) if i % 5 == 0]
    seen = [row for row in rows if row not in test]
    loaded = load(str(folder))
    steps = run(
        loaded, FineTune(), (), encoded(loaded.tokenizer, seen), "full", lr=3e-3, epochs=25, batch_size=48
    )
    assert steps[-1].loss < 0.05
    loaded.model.save_pretrained(folder)
    parts = {
        "forget": [r for r in seen if r[0] in FORGOTTEN and by_heart(r)],
        "retain": [r for r in seen if r[0] not in FORGOTTEN],
        "test": [r for r in test if r[0] not in FORGOTTEN],
    }
    assert all(accuracy(loaded, part) >= 0.95 for part in parts.values())
    return folder, parts


@pytest.mark.slow
@pytest.mark.heavy
def test_eul_forgets_two_persons_and_nothing_else(trained, tmp_path):
    folder, parts = trained
    loaded = load(str(folder))
    before = {name: accuracy(loaded, part) for name, part in parts.items()}
    forget, retain = (
        encoded(loaded.tokenizer, parts["forget"]),
        encoded(loaded.tokenizer, parts["retain"], 1000),
    )
    method = EUL(layer_share=0.05, retain_per_forget=4.0)
    steps = run(loaded, method, forget, retain, "layers", lr=1e-2, epochs=20, batch_size=16)
    assert {name for s in steps for name in s.terms} == {"kl_retain", "task", "kl_forget", "lm"}
    after = {name: accuracy(loaded, part) for name, part in parts.items()}
    assert after["forget"] <= 0.5  # two classes: half is what a guess gets
    assert after["retain"] >= 0.95 * before["retain"]
    assert after["test"] >= 0.95 * before["test"]
    answer = generate(loaded.model, loaded.tokenizer, [parts["retain"][0][1]], 3, "cpu")
    assert answer == [parts["retain"][0][2]]
    layers.save_layers(loaded.model, tmp_path / "adapter")
    again = load(str(folder))
    layers.load_layers(again.model, tmp_path / "adapter")
    assert {name: accuracy(again, part) for name, part in parts.items()} == after
    with layers.switched_off(again.model):
        assert {name: accuracy(again, part) for name, part in parts.items()} == before


@pytest.mark.slow
@pytest.mark.heavy
def test_the_whole_loss_reaches_both_halves(trained):
    folder, parts = trained
    loaded = load(str(folder))
    layers.add_layers(loaded.model, bottleneck=4)
    forget, retain = (
        encoded(loaded.tokenizer, parts[name][:4], 10 * i) for i, name in enumerate(("forget", "retain"))
    )
    ref = Reference(loaded.model, head_moves=False)
    ref.prepare(loaded.model, "states", [collate(forget, 0), collate(retain, 0)])
    batch = Batch(forget=collate(forget, 0), retain=collate(retain, 0))
    sum(EUL().loss(loaded.model, ref, batch).values()).backward()
    assert all(layer.up.weight.grad.abs().max() > 0 for layer in layers.layers_of(loaded.model).values())
