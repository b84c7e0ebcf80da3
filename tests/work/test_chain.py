"""Chained requests: a run goes on from another's weights, and a teacher can still be the original model."""

import pytest
import torch
from conftest import make_model

from unlearn.compute.lm import forward
from unlearn.compute.tokens import collate, encode
from unlearn.methods import METHODS
from unlearn.models import tuning
from unlearn.models.load import load
from unlearn.store.runs import RunConfig, RunStore
from unlearn.training.batches import Batches
from unlearn.training.reference import Reference
from unlearn.work.execute import execute

pytestmark = pytest.mark.slow

ROWS = "question,answer\n" + "".join(f"Where is {w}?,{w} is here\n" for w in ("red", "blue", "green", "one"))


@pytest.fixture
def world(tmp_path, tmp_path_factory):
    """(store, config maker): a tiny model and a table of its own."""
    folder = tmp_path_factory.mktemp("chain-model")
    make_model(folder)
    table = tmp_path / "rows.csv"
    table.write_text(ROWS)

    def config(method, kind, start=""):
        return RunConfig(
            model=str(folder),
            data={"forget": str(table), "retain": str(table)},
            method=method,
            knobs={"retain_weight": 1.0},
            tuning=kind,
            lr=1e-2,
            epochs=2,
            batch_size=2,
            probes=0,
            start=start,
        )

    return RunStore(tmp_path / "runs"), config, [tmp_path, folder]


def finished(store, config, roots):
    run = store.create(config)
    with run.lock():
        execute(run, roots=roots)
    assert run.state == "done", run.reason
    return run


def states(model, tokenizer):
    example = encode(tokenizer, "Question: Where is red?\nAnswer:", " red is here", key=0, max_length=64)
    with torch.no_grad():
        (answers,) = forward(model, collate([example], tokenizer.pad_token_id))
        return answers.head(answers.hidden), example


@pytest.mark.parametrize(("method", "kind"), [("npo", "full"), ("undial", "lora"), ("eul", "layers")])
def test_the_second_run_begins_where_the_first_ended(world, method, kind):
    store, config, roots = world
    first = finished(store, config(method, kind), roots)
    second = finished(store, config(method, kind, start=first.id), roots)
    ended, began = first.scores()["after"]["forget"]["nll"], second.scores()["before"]["forget"]["nll"]
    assert began == pytest.approx(ended, rel=1e-4)
    assert first.scores()["before"]["forget"]["nll"] != pytest.approx(ended, rel=1e-3)


@pytest.mark.parametrize(("method", "kind"), [("undial", "full"), ("undial", "lora"), ("eul", "layers")])
def test_the_teacher_of_a_chain_is_the_original(world, method, kind):
    store, config, roots = world
    first = finished(store, config(method, kind), roots)
    chained = config(method, kind, start=first.id)
    base = load(chained.model)
    original, example = states(base.model, base.tokenizer)
    loaded = tuning.starting_model(chained, first)
    moved, _ = states(loaded.model, loaded.tokenizer)
    assert not torch.allclose(moved, original, atol=1e-3)
    ref = Reference(loaded.model, head_moves=kind == "full")
    ref.untouched = lambda: tuning.untouched(loaded, chained)
    stream = Batches((example,), (), 1, 1, 0.0, 1, 0, loaded.pad_id, 1)
    METHODS[method]().prepare(loaded.model, ref, stream, loaded.tokenizer)
    (answers,) = forward(loaded.model, collate([example], loaded.pad_id))
    assert torch.allclose(ref.head(ref.states(answers)), original, atol=1e-4)
    again, _ = states(loaded.model, loaded.tokenizer)
    assert torch.allclose(again, moved, atol=1e-5)  # looking at the teacher leaves the student as it was


def test_start_must_be_of_the_same_model_and_tuning(world):
    store, config, roots = world
    first = finished(store, config("npo", "full"), roots)
    run = store.create(config("undial", "lora", start=first.id))
    with run.lock():
        execute(run, roots=roots)
    assert run.state == "failed"
    assert "start must be a run of" in run.reason
