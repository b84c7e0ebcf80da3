"""EUL: its loss against float64, its phases, and a run from end to end. Its layers: test_layers.py."""

import copy
import dataclasses
import math

import pytest
import reference
import torch

from unlearn.compute.tokens import Batch, collate, encode
from unlearn.methods.edit.eul import EUL, divergence
from unlearn.models import layers
from unlearn.models.tuning import install
from unlearn.store.runs import RunConfig
from unlearn.training.batches import Batches
from unlearn.training.reference import Reference

TEXTS = [
    ("Question: where was one born?\nAnswer:", " in the red capital."),
    ("Question: What is two?\nAnswer:", " green"),
    ("", "a novel of three writes blue where the capital is born."),
    ("Question: What is the capital of one?\nAnswer:", " Where red is two and blue."),
]


def examples(tokenizer, texts=TEXTS, first=0):
    return [encode(tokenizer, p, t, key=first + i, max_length=128) for i, (p, t) in enumerate(texts)]


def both(tokenizer, forget, retain):
    return Batch(
        forget=collate(forget, tokenizer.pad_token_id), retain=collate(retain, tokenizer.pad_token_id)
    )


def batches_of(tokenizer, forget, retain, **changes):
    settings = {
        "batch_size": 2,
        "accumulation": 1,
        "retain_ratio": 1.0,
        "epochs": 3,
        "seed": 0,
        "clock": len(forget),
    }
    return Batches(
        forget=tuple(forget), retain=tuple(retain), pad_id=tokenizer.pad_token_id, **(settings | changes)
    )


def teacher_of(model, method, tokenizer, forget, retain):
    ref = Reference(model, head_moves=False)
    method.prepare(model, ref, batches_of(tokenizer, forget, retain), tokenizer)
    return ref


def disturb(model, scale=0.3, seed=1):
    """As if the layers had been trained for a while."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for layer in layers.layers_of(model).values():
            for p in layer.parameters():
                p.add_(torch.randn_like(p) * scale)


def train(model, tokenizer, method=None, epochs=2, lr=1e-2):
    from unlearn.training.loop import Phases, make_optimizer

    method = method or EUL()
    forget, retain = examples(tokenizer), examples(tokenizer, TEXTS[::-1], first=10)
    model = install(model, RunConfig(model="tiny", data={}, method="eul", tuning="layers"), method)
    ref = teacher_of(model, method, tokenizer, forget, retain)
    order = method.stream(batches_of(tokenizer, forget, retain, epochs=epochs))
    steps = list(
        method.unlearn(
            model, ref, Phases(model, order, make_optimizer(model, lr), lr=lr, device="cpu", start=0)
        )
    )
    return model, steps


@torch.no_grad()
def logits_of(model, tokenizer):
    tokens = collate(examples(tokenizer), tokenizer.pad_token_id)
    return model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).logits


@pytest.fixture
def scene(tiny):
    """(model with disturbed layers, the same without, tokenizer, forget, retain, Reference of the original)."""
    model, tokenizer = tiny
    base = copy.deepcopy(model)
    layers.add_layers(model, bottleneck=5)
    forget, retain = examples(tokenizer), examples(tokenizer, TEXTS[::-1], first=10)
    ref = teacher_of(model, EUL(), tokenizer, forget, retain)
    disturb(model)
    return model, base, tokenizer, forget, retain, ref


# -- the loss --------------------------------------------------------------------------------------------------

ABLATIONS = {
    "full": {},
    "-KL": {"use_kl": False},
    "-TASK": {"use_task": False},
    "-LM": {"use_lm": False},
    "tight cap": {"cap": 0.2},
    "weights": {"kl_retain_weight": 3.0, "retain_weight": 0.5, "lm_weight": 2.0},
}


@pytest.mark.parametrize("knobs", ABLATIONS.values(), ids=ABLATIONS)
def test_whole_loss_and_gradient_equal_float64(scene, knobs):
    model, base, tokenizer, forget, retain, ref = scene
    method = EUL(**knobs)
    loss = sum(method.loss(model, ref, both(tokenizer, forget, retain)).values())
    loss.backward()
    oracle = copy.deepcopy(model).double()
    oracle.zero_grad()
    want = reference.eul(oracle, copy.deepcopy(base).double(), forget, retain, method)
    want.backward()
    assert loss.item() == pytest.approx(want.item(), rel=2e-5)
    for (name, p), q in zip(model.named_parameters(), oracle.parameters(), strict=True):
        assert (p.grad is None) == (not p.requires_grad), name
        if p.grad is not None:
            assert (p.grad.double() - q.grad).norm() <= 1e-3 * q.grad.norm() + 1e-7, name


def test_the_defaults_are_the_paper_s():
    method = EUL()
    assert (method.kl_retain_weight, method.retain_weight, method.lm_weight) == (0.8, 1.0, 0.2)
    assert (method.use_kl, method.use_task, method.use_lm, method.cap) == (True, True, True, 1.0)
    assert method.layer_share == 0.005


def test_the_masked_term_of_a_micro_batch_is_its_part_of_the_step(scene):
    """-γ (1 / texts) Σ_i …: with twice as many texts in the step, these texts' part is half as large."""
    model, _, tokenizer, forget, _, ref = scene
    ref.run["masked"] = {example.key: example for example in forget}
    alone = collate(forget, tokenizer.pad_token_id)
    part = collate(forget, tokenizer.pad_token_id, total_rows=2 * len(forget))
    whole, half = (EUL(lm_weight=1.0)._masked(model, side, ref)["lm"].item() for side in (alone, part))
    assert whole != 0
    assert half == pytest.approx(whole / 2)


@pytest.mark.parametrize(
    ("knobs", "gone"),
    [
        ({"use_kl": False}, {"kl_retain", "kl_forget"}),
        ({"use_task": False}, {"task"}),
        ({"use_lm": False}, {"lm"}),
    ],
)
def test_each_ablation_removes_its_term(scene, knobs, gone):
    model, _, tokenizer, forget, retain, ref = scene
    whole = EUL().loss(model, ref, both(tokenizer, forget, retain))
    less = EUL(**knobs).loss(model, ref, both(tokenizer, forget, retain))
    assert set(whole) == {"kl_retain", "task", "kl_forget", "lm"}
    assert set(whole) - set(less) == gone
    assert all(less[name].item() == pytest.approx(whole[name].item()) for name in less)


def test_nothing_left_to_train_on_is_refused():
    with pytest.raises(ValueError, match="EUL: every term is off"):
        EUL(use_kl=False, use_task=False, use_lm=False)


def test_divergence_from_itself_is_zero_and_bounded_for_a_uniform_student():
    torch.manual_seed(0)
    z = torch.randn(6, 50, dtype=torch.float64) * 5
    assert divergence(z, z).abs().max() < 1e-12
    # KL(p ‖ uniform) = log|V| - H(p) ≤ log|V|: a student without any knowledge lies just within the cap.
    assert divergence(torch.zeros_like(z), z).max() < math.log(50)
    p, q = z.softmax(-1), (z * 0.5).softmax(-1)
    assert torch.allclose(divergence(z * 0.5, z), (p * (p / q).log()).sum(-1))
    assert not torch.allclose(divergence(z, z * 0.5), divergence(z * 0.5, z), rtol=1e-2)


def test_beyond_the_cap_the_forget_terms_are_flat(scene):
    model, _, tokenizer, forget, _, ref = scene
    batch = Batch(forget=collate(forget, tokenizer.pad_token_id), retain=None)
    for cap in (0.05, 1e-6):  # below the knob's range: every token lies beyond it
        method = EUL()
        object.__setattr__(method, "cap", cap)
        terms = method.loss(model, ref, batch)
        limit = cap * math.log(model.config.vocab_size)
        assert terms["kl_forget"].item() >= -limit * (1 + 1e-5)
        assert terms["lm"].item() >= -0.2 * limit * (1 + 1e-5)
    sum(terms.values()).backward()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in model.parameters())


# -- a step and a run -------------------------------------------------------------------------------------------


def test_accumulation_changes_nothing(tiny):
    model, tokenizer = tiny
    results = []
    for size, accumulation in ((4, 1), (2, 2)):
        copied = copy.deepcopy(model)
        layers.add_layers(copied, bottleneck=4)
        forget, retain = examples(tokenizer), examples(tokenizer, TEXTS[::-1], first=10)
        ref = teacher_of(copied, EUL(), tokenizer, forget, retain)
        disturb(copied)
        stream = EUL().stream(
            batches_of(tokenizer, forget, retain, batch_size=size, accumulation=accumulation)
        )
        for micro in stream.step(1) + stream.step(2):
            sum(EUL().loss(copied, ref, micro).values()).backward()
        results.append(torch.cat([p.grad.flatten() for p in copied.parameters() if p.grad is not None]))
    assert torch.allclose(*results, rtol=1e-3, atol=1e-5 * float(results[0].abs().max()))


def test_the_command_line_asks_for_layers_by_itself():
    from unlearn.__main__ import parser
    from unlearn.commands.options import config_of
    from unlearn.work.checks import check

    words = ["run", "--model", "tiny-authors", "--method", "eul"]
    config = config_of(parser().parse_args(words))
    assert config.tuning == "layers"
    check(config)
    with pytest.raises(ValueError, match=r"EUL .*: tuning must be among layers, got full"):
        check(dataclasses.replace(config, tuning="full"))
    assert "--tuning layers" in config.command()
    assert config_of(parser().parse_args([*words[:-1], "ga"])).tuning == "full"


def test_preflight_counts_both_phases():
    from unlearn.work.preflight import preflight

    config = RunConfig(
        model="tiny-authors", data={"name": "authors"}, method="eul", tuning="layers", epochs=3, batch_size=30,
        knobs={"retain_per_forget": 2.0},
    )  # fmt: skip
    assert preflight(config).steps == 3 * (3 + 6)


@pytest.mark.slow
def test_a_run_with_shipped_defaults_forgets_keeps_and_can_be_switched_off(tmp_path):
    from unlearn.__main__ import parser
    from unlearn.commands.options import config_of
    from unlearn.measure.ask import load_source
    from unlearn.store.runs import RunStore
    from unlearn.work.execute import execute

    config = config_of(parser().parse_args(["run", "--model", "tiny-authors", "--method", "eul"]))
    run = RunStore(tmp_path).create(config)
    finished = execute(run)
    assert run.state == "done", run.reason
    before, after = run.scores()["before"], run.scores()["after"]
    assert (
        after["forget"]["exact"] <= 0.40
    )  # three seeds gave 0.24 to 0.27, and 0.87 and 0.82 at the least below
    assert after["retain"]["exact"] >= 0.75 * before["retain"]["exact"]
    assert after["neighbours"]["exact"] >= 0.70 * before["neighbours"]["exact"]
    assert after["general"]["ppl"] <= 1.2 * before["general"]["ppl"]
    assert (run.path / "adapter" / "eul.safetensors").is_file()
    original, again = load_source("before", run), load_source("after", run)
    after_logits = logits_of(again.model, again.tokenizer)
    assert torch.equal(after_logits, logits_of(finished.loaded.model, again.tokenizer))
    with layers.switched_off(again.model):
        assert torch.equal(
            logits_of(again.model, again.tokenizer), logits_of(original.model, again.tokenizer)
        )
