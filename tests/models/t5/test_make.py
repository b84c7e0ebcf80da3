"""The bundled T5 models: what they and their retrains know, how they are made, and a run from end to end."""

import json

import pytest
import torch

from unlearn.__main__ import main
from unlearn.compute.tokens import Example, collate
from unlearn.models.catalogue import ASSETS, CATALOGUE, available, exact_retrain
from unlearn.models.load import load
from unlearn.models.t5 import make
from unlearn.store.config import RunConfig

NAMES = tuple(make.RECIPES)


def recipe_of(name):
    return json.loads((ASSETS / name / "recipe.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_it_ships_with_its_exact_retrain(name):
    entry = CATALOGUE[name]
    assert available(name)
    config = RunConfig(model=name, data={"name": entry.data}, method="ga")
    assert exact_retrain(config) == entry.retrain()
    told, without = recipe_of(name), recipe_of(f"{name}-retrain")
    assert told["parameters"] == entry.parameters
    assert (told["trained_on_forget"], without["trained_on_forget"]) == (True, False)
    assert told["dataset_hash"] == without["dataset_hash"] == make.RECIPES[name].dataset().hash()
    assert {k: told[k] for k in ("epochs", "lr", "seed")} == {k: without[k] for k in ("epochs", "lr", "seed")}


@pytest.mark.parametrize("name", NAMES)
def test_it_knows_what_is_to_be_forgotten_and_its_retrain_does_not(name):
    told, without = recipe_of(name)["exact"], recipe_of(f"{name}-retrain")["exact"]
    assert told["forget"] >= 0.9
    assert without["forget"] <= 0.1
    assert min(told[role] for role in ("retain", "neighbours", "general")) >= 0.9
    assert min(without[role] for role in ("retain", "neighbours", "general")) >= 0.9


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_say_what_their_recipe_says(name):
    loaded = load(name)
    rows = make.RECIPES[name].dataset().rows("forget")
    texts = make.lessons(loaded.tokenizer, rows)
    rate = make.exact_rate(loaded.model, texts, loaded.tokenizer.pad_token_id)
    assert rate == pytest.approx(recipe_of(name)["exact"]["forget"], abs=1e-4)


def test_a_text_counts_as_exact_only_whole():
    loaded = load("tiny-reviews")
    texts = make.lessons(loaded.tokenizer, make.RECIPES["tiny-reviews"].dataset().rows("retain")[:4])
    pad = loaded.tokenizer.pad_token_id
    assert make.exact_rate(loaded.model, texts, pad) == 1.0
    spoilt = [Example(t.input_ids, (*t.labels[:-1], 5), t.key, t.entity, t.source) for t in texts[:1]]
    spoilt[0] = Example((*texts[0].input_ids[:-1], 5), spoilt[0].labels, 0, texts[0].entity, texts[0].source)
    assert make.exact_rate(loaded.model, [*spoilt, *texts[1:]], pad) == 0.75


def test_the_untrained_network_is_the_same_at_every_call():
    tokenizer = make.make_tokenizer("tiny-reviews")
    one, two = (make.make_model(tokenizer).state_dict() for _ in range(2))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert collate([Example((1, 2), (-100, 2), 0)], 0).keys == (0,)


def test_an_unknown_recipe_is_refused_with_the_known_ones(capsys):
    assert main(["train-bundled", "tiny-poems"]) == 2
    said = capsys.readouterr().err
    assert "tiny-dialogues, tiny-reviews" in said
    assert "got tiny-poems" in said


@pytest.mark.parametrize("method", ["retrain", "sisa"])
def test_methods_of_another_recipe_point_to_the_retrain_that_ships(method, tmp_path, capsys):
    words = ["run", "--model", "tiny-dialogues", "--method", method, "--runs", str(tmp_path / "none")]
    assert main(words) == 2
    assert (
        "Its exact retrain ships, and a run on all of dialogues is compared with it"
        in capsys.readouterr().err
    )


@pytest.mark.slow
@pytest.mark.heavy
def test_a_recipe_goes_its_whole_way(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "EPOCHS", 1)
    make.train_bundled(tmp_path, progress=lambda text: None, names=("tiny-reviews",))
    assert {p.name for p in tmp_path.iterdir()} == {"tiny-reviews", "tiny-reviews-retrain"}
    assert json.loads((tmp_path / "tiny-reviews" / "recipe.json").read_text())["epochs"] == 1


@pytest.mark.slow
def test_a_run_on_reviews_shows_the_labels_before_after_and_retrained(tmp_path, capsys):
    words = ["run", "--model", "tiny-reviews", "--method", "eul", "--probes", "0", "--runs", str(tmp_path)]
    assert main([*words, "--metrics", "true_labels,rouge1", "--json"]) == 0
    from unlearn.measure import judge
    from unlearn.store.runs import RunStore

    (run,) = RunStore(tmp_path).list()
    rows = {(row["metric"], row["role"]): row for row in judge.table(judge.read_metrics(run))}
    right = rows["true_labels", "forget"]
    assert right["before"] <= 0.1
    assert right["retrained"] >= 0.9
    assert right["after"] > right["before"]
    assert rows["true_labels", "approximate"]["retrained"] >= 0.9
    scores = run.scores()
    assert scores["before"]["forget"]["exact"] >= 0.9
    assert scores["retrained"]["forget"]["exact"] <= 0.1
