"""The one loop: schedule, divergence, accumulation, phases, and a resumed run that equals an uninterrupted one."""

import copy
import itertools
import math

import pytest
import torch

from unlearn.compute.lm import forward
from unlearn.compute.tokens import Batch, encode
from unlearn.methods import METHODS
from unlearn.models.load import add_lora
from unlearn.store.runs import RunConfig
from unlearn.training.batches import Batches, batches_of
from unlearn.training.checkpoints import load_checkpoint, save_checkpoint
from unlearn.training.loop import (
    Diverged,
    Phases,
    fit,
    learning_rate,
    make_optimizer,
)

WORDS = ("red", "green", "blue", "one", "two", "three", "novel", "capital")


def stream_of(tokenizer, **changes):
    def rows(first, texts):
        return tuple(
            encode(
                tokenizer,
                f"Question: What is {t}?\nAnswer:",
                f" {t} {WORDS[i - 1]}",
                key=first + i,
                max_length=64,
            )
            for i, t in enumerate(texts)
        )

    values = {
        "forget": rows(0, WORDS[:6]), "retain": rows(10, WORDS), "batch_size": 2, "accumulation": 1,
        "retain_ratio": 1.0, "epochs": 3, "seed": 0, "pad_id": tokenizer.pad_token_id, "clock": 6,
    }  # fmt: skip
    return Batches(**(values | changes))


def gd(model):
    def loss(batch: Batch):
        forget, retain = forward(model, batch.forget, batch.retain)
        return {"forget": -0.1 * forget.mean_nll(), "retain": retain.mean_nll()}

    return loss


def train(model, stream, lr=1e-3, start=0, optimizer=None):
    optimizer = optimizer or make_optimizer(model, lr)
    return list(fit(model, gd(model), stream, optimizer, lr=lr, device="cpu", start=start))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(("name", "sides"), [("npo", ("ab", "cde", "")), ("sisa", ("", "cde", "ab"))])
def test_a_runs_stream_withholds_what_the_method_must_not_train_on(name, sides):
    """Its clock is the forget set's size all the same, or the retain set's where nothing is to be forgotten."""
    config = RunConfig(model="tiny-authors", data={"name": "authors"}, method=name, seed=7)
    stream = batches_of(config, METHODS[name](), "ab", "cde", 9)
    found = tuple("".join(side) for side in (stream.forget, stream.retain, stream.withheld))
    assert (found, stream.clock, stream.seed, stream.pad_id) == (sides, 2, 7, 9)
    assert batches_of(config, METHODS[name](), "", "cde", 9).clock == 3


def test_schedule_warms_up_and_ends_near_zero():
    rates = [learning_rate(step, 100, 1.0) for step in range(1, 101)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert all(a > b for a, b in itertools.pairwise(rates[2:]))
    assert 0 < rates[-1] < 1e-3
    assert learning_rate(1, 1, 1.0) == 1.0  # a single step is not wasted on a rate of zero
    assert rates[51] == pytest.approx(0.5 * (1 + math.cos(math.pi * 49 / 98)))


def test_steps_say_what_happened(tiny):
    model, tokenizer = tiny
    stream = stream_of(tokenizer)
    steps = train(model, stream)
    assert [s.step for s in steps] == list(range(1, 10))
    assert {s.of for s in steps} == {9}
    assert [s.lr for s in steps] == [learning_rate(n, 9, 1e-3) for n in range(1, 10)]
    assert all(s.loss == pytest.approx(sum(s.terms.values())) for s in steps)
    tokens = [sum(b.tokens for b in stream.step(n)) for n in range(1, 10)]
    assert [s.tokens for s in steps] == [sum(tokens[:n]) for n in range(1, 10)]
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(steps))


def test_no_dropout_while_training(tmp_path):
    from conftest import make_model

    model, tokenizer = make_model(tmp_path, "gpt2", resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    model.train()
    one, two = copy.deepcopy(model), copy.deepcopy(model)
    assert train(one, stream_of(tokenizer))[0].terms == train(two, stream_of(tokenizer))[0].terms


@pytest.mark.parametrize("spoil", ["term", "gradient"])
def test_divergence_names_what_where_and_the_remedy(tiny, spoil):
    model, tokenizer = tiny
    calls = []

    def loss(batch):
        calls.append(1)
        terms = gd(model)(batch)
        if len(calls) < 3:
            return terms
        if spoil == "term":
            return terms | {"retain": terms["retain"] * float("nan")}
        wild = torch.sqrt(terms["retain"] * 0)  # finite, with an infinite slope
        return terms | {"retain": wild}

    optimizer = make_optimizer(model, 1e-3)
    going = fit(model, loss, stream_of(tokenizer), optimizer, lr=1e-3, device="cpu")
    done = [next(going), next(going)]
    before = weights(model)
    with pytest.raises(Diverged) as caught:
        next(going)
    what = "term retain became nan" if spoil == "term" else "the gradient became nan"
    assert str(caught.value) == f"{what} at step 3 of 9; lower lr (now 0.001)."
    assert (done[-1].step, caught.value.step.step) == (2, 3)
    assert torch.equal(before, weights(model))  # the bad update was not made


def test_nothing_trainable_is_an_error(tiny):
    model, _ = tiny
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter may be trained"):
        make_optimizer(model, 1e-3)


@pytest.mark.parametrize(("size", "accumulation"), [(1, 4), (2, 2), (3, 2)])
def test_accumulation_is_one_large_batch(tiny, size, accumulation):
    model, tokenizer = tiny
    whole, parts = copy.deepcopy(model), copy.deepcopy(model)
    together = size * accumulation
    a = train(whole, stream_of(tokenizer, batch_size=together))
    b = train(parts, stream_of(tokenizer, batch_size=size, accumulation=accumulation))
    for one, two in zip(a, b, strict=True):
        assert one.terms == pytest.approx(two.terms, rel=1e-4)
        assert one.tokens == two.tokens
    assert torch.allclose(weights(whole), weights(parts), atol=1e-4)


def test_the_same_seed_is_the_same_run_and_another_is_not(tiny):
    model, tokenizer = tiny
    runs = [train(copy.deepcopy(model), stream_of(tokenizer, seed=seed)) for seed in (1, 1, 2)]
    losses = [[s.loss for s in run] for run in runs]
    assert losses[0] == losses[1] != losses[2]


def test_each_epoch_reads_every_forget_text_once_and_retain_texts_evenly(tiny):
    _, tokenizer = tiny
    stream = stream_of(tokenizer, retain_ratio=1.5, epochs=4, batch_size=4)
    assert (stream.steps_per_epoch, stream.steps) == (2, 8)
    seen, kept = [], []
    for number in range(1, stream.steps + 1):
        for batch in stream.step(number):
            seen += batch.forget.keys
            kept += batch.retain.keys
    for epoch in range(4):
        assert sorted(seen[6 * epoch : 6 * epoch + 6]) == list(range(6))
    assert seen[:6] != seen[6:12]
    assert len(kept) == 36
    assert {kept.count(k) for k in range(10, 18)} <= {4, 5}
    assert [b.forget.keys for b in stream.step(5)] == [b.forget.keys for b in stream.step(5)]


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_resumed_run_equals_the_uninterrupted_one(tiny, tmp_path, tuning):
    model, tokenizer = tiny
    stream = stream_of(tokenizer)

    def fresh():
        mine = copy.deepcopy(model)
        return add_lora(mine, rank=4, alpha=8, seed=3) if tuning == "lora" else mine

    whole = fresh()
    want = train(whole, stream)
    first = fresh()
    optimizer = make_optimizer(first, 1e-3)
    for done in fit(first, gd(first), stream, optimizer, lr=1e-3, device="cpu"):
        if done.step == 4:
            save_checkpoint(tmp_path, first, optimizer, done.step)
        if done.step == 5:
            break
    second = fresh()
    optimizer = make_optimizer(second, 1e-3)
    assert load_checkpoint(tmp_path, second, optimizer) == 4
    got = train(second, stream, start=4, optimizer=optimizer)
    assert [s.step for s in got] == [5, 6, 7, 8, 9]
    assert [s.loss for s in got] == pytest.approx([s.loss for s in want[4:]], abs=1e-6)
    assert torch.allclose(weights(second), weights(whole), atol=1e-6)


def test_only_the_newest_checkpoint_stays_and_a_torn_one_is_not_used(tiny, tmp_path):
    model, _ = tiny
    optimizer = make_optimizer(model, 1e-3)
    for step in (1, 2):
        save_checkpoint(tmp_path, model, optimizer, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.json", "step-2.safetensors"]
    (tmp_path / "step-3.safetensors").write_bytes(b"torn")  # killed while it was being written
    assert load_checkpoint(tmp_path, model, optimizer) == 2
    (tmp_path / "step-2.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"the checkpoint cannot be read .* delete .* and resume"):
        load_checkpoint(tmp_path, model, optimizer)


def test_a_checkpoint_of_another_tuning_is_refused(tiny, tmp_path):
    model, _ = tiny
    save_checkpoint(tmp_path, model, make_optimizer(model, 1e-3), 1)
    other = add_lora(copy.deepcopy(model), rank=4, alpha=8, seed=0)
    with pytest.raises(ValueError, match="another model or tuning"):
        load_checkpoint(tmp_path, other, make_optimizer(other, 1e-3))


def phases_of(model, stream, start=0):
    return Phases(model, stream, make_optimizer(model, 1e-3), lr=1e-3, device="cpu", start=start)


def test_phases_count_on(tiny):
    model, tokenizer = tiny
    stream = stream_of(tokenizer)
    phases = phases_of(model, stream)
    first = list(phases(gd(model)))
    assert phases.resumable
    second = list(phases(gd(model), epochs=1, lr=1e-4))
    assert not phases.resumable  # what a first phase led to is in no checkpoint
    steps = first + second
    assert [s.step for s in steps] == list(range(1, 13))
    assert [s.of for s in steps] == [9] * 9 + [12] * 3
    assert second[0].lr == 1e-4
    assert all(a.tokens < b.tokens and a.seconds <= b.seconds for a, b in itertools.pairwise(steps))


def test_a_phase_that_its_checkpoint_had_finished_still_counts(tiny):
    model, tokenizer = tiny
    phases = phases_of(model, stream_of(tokenizer), start=9)
    assert list(phases(gd(model))) == []
    assert [s.step for s in phases(gd(model), epochs=1)] == [10, 11, 12]


def test_divergence_in_a_later_phase_carries_the_counted_step(tiny):
    model, tokenizer = tiny
    phases = phases_of(model, stream_of(tokenizer, epochs=1))
    list(phases(gd(model)))
    with pytest.raises(Diverged) as caught:
        list(phases(lambda b: {"forget": gd(model)(b)["forget"] * float("inf")}))
    assert caught.value.step.step == 4


def test_the_lean_curve_is_the_usual_one_within_two_percent(tiny):
    from unlearn.training.loop import make_optimizer

    model, tokenizer = tiny
    curves = []
    for memory in ("usual", "lean"):
        mine = copy.deepcopy(model)
        optimizer = make_optimizer(mine, 1e-3, memory)
        stream = stream_of(tokenizer, epochs=20)
        found = list(fit(mine, gd(mine), stream, optimizer, lr=1e-3, device="cpu", max_grad_norm=0.0))
        assert all(p.grad is None for p in mine.parameters()) == (memory == "lean")
        curves.append(found)
    usual, lean = curves
    assert [s.loss for s in lean[:2]] == pytest.approx([s.loss for s in usual[:2]], rel=1e-5)
    assert lean[0].grad_norm == pytest.approx(usual[0].grad_norm, rel=1e-5)
    assert usual[-1].loss < 0.8 * usual[0].loss
    span = abs(usual[0].loss - usual[-1].loss)
    assert max(abs(a.loss - b.loss) for a, b in zip(usual, lean, strict=True)) < 0.02 * span


@pytest.mark.parametrize("memory", ["usual", "lean"])
def test_a_gradient_is_cut_where_it_is_asked_for(tiny, memory):
    model, tokenizer = tiny
    optimizer = make_optimizer(model, 1e-3, memory)
    going = fit(model, gd(model), stream_of(tokenizer), optimizer, lr=1e-3, device="cpu", max_grad_norm=0.5)
    if memory == "lean":
        with pytest.raises(ValueError, match="no common norm"):
            next(going)
        return
    assert next(going).grad_norm > 0.5
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
    assert norm == pytest.approx(0.5, rel=1e-4)


def test_lean_says_where_it_diverged(tiny):
    model, tokenizer = tiny
    optimizer = make_optimizer(model, 1e-3, "lean")

    def loss(batch):
        terms = gd(model)(batch)
        return terms | {"retain": torch.sqrt(terms["retain"] * 0)}

    with pytest.raises(Diverged, match="the gradient became nan at step 1 of 9"):
        next(fit(model, loss, stream_of(tokenizer), optimizer, lr=1e-3, device="cpu", max_grad_norm=0.0))
