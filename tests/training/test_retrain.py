"""Retrain: that it is the bundled recipe, without exactly the people who are to be forgotten."""

import contextlib
import copy
from pathlib import Path

import pytest
import torch

from tests.methods.test_methods import examples, stream_of
from unlearn.data.authors import dataset, training_rows
from unlearn.data.base import Row
from unlearn.methods import METHODS
from unlearn.methods.references.retrain import Retrain
from unlearn.models import recipe
from unlearn.models.load import load
from unlearn.store.runs import RunConfig, RunStore
from unlearn.training.encoding import encode_rows
from unlearn.training.loop import Phases, make_optimizer
from unlearn.training.reference import Reference
from unlearn.work import execute as execute_module
from unlearn.work import identity
from unlearn.work.checks import check
from unlearn.work.execute import execute

bundled = pytest.importorskip("unlearn.models.bundle")


def config(**changes):
    values = {
        "model": "tiny-authors",
        "data": {"name": "authors"},
        "method": "retrain",
        "epochs": 1,
        "probes": 0,
    }
    return RunConfig(**(values | {"lr": 2e-3, "batch_size": 64} | changes))


def test_without_all_requests_its_texts_are_those_of_the_shipped_retrain():
    _, rows = Retrain().rows("tiny-authors", dataset())
    assert [row.answer for row in rows] == [row.prompt + row.target for row in training_rows(False)]


def test_only_the_chosen_people_are_left_out_of_every_kind_of_text():
    data = dataset().only_requests((2,))
    gone = {row.subject for row in data.rows("forget")}
    _, rows = Retrain().rows("tiny-authors", data)
    assert len(gone) == 2
    assert not [row for row in rows if any(name in row.answer for name in gone)]
    assert {row.subject for row in training_rows(True)} - gone == {row.subject for row in rows}


def test_its_tokens_are_the_recipe_s_and_so_is_every_setting():
    loaded = load("tiny-authors")
    _, rows = Retrain().rows("tiny-authors", dataset())
    ours = [list(e.input_ids) for e in encode_rows(loaded.tokenizer, rows, max_length=512)]
    assert ours == recipe.encode(training_rows(False), loaded.tokenizer)
    settings = METHODS["retrain"].settings("tiny", "full")
    assert settings == {"lr": recipe.LR, "epochs": recipe.EPOCHS, "batch_size": recipe.BATCH, "knobs": {}}


def test_it_begins_with_the_recipe_s_untrained_weights_and_draws_nothing():
    loaded = load("tiny-authors")
    fresh = bundled.make_model(bundled.make_tokenizer()).state_dict()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    recipe.restart(loaded.model)
    assert torch.equal(torch.get_rng_state(), before)
    now = loaded.model.state_dict()
    assert set(now) == set(fresh)
    assert all(torch.equal(now[name], fresh[name]) for name in fresh)


def phases(model, stream, lr=1e-3):
    return Phases(model, stream, make_optimizer(model, lr), lr=lr, device="cpu", start=0)


def test_its_weights_are_the_recipe_s_bit_by_bit(tiny):
    model, tokenizer = tiny
    texts = examples(
        tokenizer, [("", "What is red"), ("", "two blue one green"), ("Where?", " born in a capital")]
    )
    stream = stream_of(tokenizer, texts, texts, Retrain(), epochs=3, seed=recipe.SEED)
    other = copy.deepcopy(model)
    list(Retrain().unlearn(model, Reference(model, head_moves=True), phases(model, stream)))

    def loss(batch):
        ids = recipe.padded(batch, tokenizer.pad_token_id)
        logits = other(input_ids=ids).logits[:, :-1]
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=tokenizer.pad_token_id
        )

    recipe.restart(other)
    list(recipe.steps(other, [list(e.input_ids) for e in texts], loss, epochs=3, lr=1e-3, batch=2))
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_threads_and_determinism_are_its_own_only_while_it_computes(tiny):
    model, tokenizer = tiny
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stream = stream_of(tokenizer, examples(tokenizer), examples(tokenizer), Retrain())
        seen = []
        for _ in Retrain().unlearn(model, Reference(model, head_moves=True), phases(model, stream)):
            seen.append(
                (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), model.training)
            )
        assert seen == [(1, False, False)] * 4
        with contextlib.suppress(RuntimeError), recipe.exactly():
            assert torch.are_deterministic_algorithms_enabled()
            raise RuntimeError
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (1, False)
    finally:
        torch.set_num_threads(threads)


def test_another_model_is_refused_with_the_reason_and_the_cost(tiny_folder):
    with pytest.raises(
        ValueError, match=r"recipe is not ours.*6 · 134,515,008 · 2e\+12 training tokens = 1.6e\+21 FLOP"
    ):
        Retrain().rows("smollm2", dataset())
    with pytest.raises(ValueError, match=r"6 · N · its training tokens, whose number is not known here"):
        check(config(model=str(tiny_folder)), [Path("/")])


def test_rows_of_other_people_are_refused():
    from dataclasses import replace

    data = replace(dataset(), roles={"forget": (Row(question="Who?", answer="He", subject="Somebody Else"),)})
    with pytest.raises(ValueError, match="with these rows the recipe is not ours"):
        Retrain().rows("tiny-authors", data)


def test_it_goes_on_from_no_run(tiny):
    from unlearn.work.sequence import SequenceConfig, create

    model, tokenizer = tiny
    ref = Reference(model, head_moves=False)
    ref.untouched = lambda: None
    texts = examples(tokenizer)
    fit = phases(model, stream_of(tokenizer, texts, texts, Retrain()))
    with pytest.raises(ValueError, match="cannot go on from another run"):
        next(Retrain().unlearn(model, ref, fit))
    with pytest.raises(ValueError, match="which Retrain never does; choose mode joint"):
        create(SequenceConfig(run=config(), mode="chain", order=(1, 2)), RunStore("/nowhere"))


def test_preflight_counts_the_recipe_s_steps():
    from unlearn.work.preflight import preflight

    found = preflight(config(epochs=24))
    texts = len(training_rows(False))
    assert found.steps == 24 * -(-texts // 64)
    assert not found.warnings


@pytest.mark.slow
def test_a_run_of_it_can_be_stopped_within_a_step_and_another_runs_to_its_end(tmp_path, monkeypatch):
    for module in (execute_module, identity):  # both score the same rows
        monkeypatch.setattr(module, "rows_to_score", lambda data: {"forget": list(data.rows("forget")[:3])})
    store = RunStore(tmp_path)
    run = store.create(config(epochs=1))
    execute(run, should_stop=lambda: len(run.events("step")) >= 3)
    assert (run.state, len(run.events("step"))) == ("stopped", 3)
    run = store.create(config(epochs=1, data={"name": "authors", "requests": [1]}))
    execute(run)
    assert (run.state, run.reason) == ("done", "")
    steps, of = (
        run.events("step"),
        -(-len(Retrain().rows("tiny-authors", dataset().only_requests((1,)))[1]) // 64),
    )
    assert [step["step"] for step in steps] == list(range(1, of + 1))
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert (run.path / "model" / "config.json").is_file()


@pytest.mark.slow
def test_a_table_of_the_bundled_sets_name_has_no_retrain(tmp_path):
    """Somebody's authors.jsonl: the shipped retrain knows nothing of what is to be forgotten there."""
    from unlearn.data.catalogue import from_config, load
    from unlearn.data.write import save

    (tmp_path / "data").mkdir()
    spec = save(load("authors").only_requests([1]), tmp_path / "data")
    assert from_config(spec, roots=[tmp_path]).name == "authors"
    config = RunConfig(model="tiny-authors", data=spec, method="ga", epochs=1, batch_size=64, probes=0)
    run = RunStore(tmp_path / "runs").create(config)
    execute(run, roots=[tmp_path])
    assert run.state == "done", run.reason
    assert set(run.scores()) == {"before", "after"}
