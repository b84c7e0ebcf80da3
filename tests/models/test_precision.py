"""What weights are held in: what is refused and why, and runs on a base of 8 and 4 bits where bitsandbytes is there."""

import importlib.util

import pytest
import torch
from conftest import make_model

from unlearn.compute.head import fusible, head_of
from unlearn.compute.lm import forward
from unlearn.compute.products import is_plain
from unlearn.compute.tokens import IGNORE, Example, collate
from unlearn.models import precision
from unlearn.models.load import add_lora, load
from unlearn.models.tuning import load_trained
from unlearn.store.config import RunConfig
from unlearn.store.runs import RunStore
from unlearn.work.checks import check
from unlearn.work.execute import execute
from unlearn.work.held import process_bytes
from unlearn.work.preflight import preflight

BITS = ("int8", "nf4")
there = importlib.util.find_spec("bitsandbytes") is not None
needs_it = pytest.mark.skipif(not there, reason='optional: pip install "bitsandbytes==0.50.2"')
IDS = torch.arange(3, 23)[None]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(folder of a model, files of forget and retain rows, roots)."""
    top = tmp_path_factory.mktemp("precision")
    folder = top / "model"
    folder.mkdir()
    make_model(folder, "llama", hidden_size=64, intermediate_size=128)
    for role, words in (("forget", "red green blue"), ("retain", "one two three")):
        lines = "".join(f"What is {w}?,{w} {w[0]}\n" for w in words.split())
        (top / f"{role}.csv").write_text("question,answer\n" + lines)
    return folder, {role: str(top / f"{role}.csv") for role in ("forget", "retain")}, [top]


def config_of(scene, bits, **changes):
    values = {"model": str(scene[0]), "data": scene[1], "method": "gd", "tuning": "lora", "precision": bits}
    values |= {"lr": 1e-2, "epochs": 4, "batch_size": 2, "probes": 1, "max_length": 32}
    return RunConfig(**(values | changes))


# -- without bitsandbytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("tuning", ["full", "layers"])
def test_only_an_adapter_goes_on_a_rounded_base(scene, bits, tuning):
    with pytest.raises(
        ValueError, match=f"run: precision {bits} keeps the base .* must be lora, got {tuning}; choose"
    ):
        config_of(scene, bits, tuning=tuning)


def test_an_unknown_precision_is_named(scene):
    rule = r"run: precision must be among auto, float32, bfloat16, int8, nf4, got 'fp8'"
    with pytest.raises(ValueError, match=rule):
        config_of(scene, "fp8")
    with pytest.raises(ValueError, match=rule):
        load(str(scene[0]), precision="fp8")


@pytest.mark.parametrize("bits", BITS)
def test_without_the_package_it_is_said_how_to_get_it(scene, monkeypatch, bits):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name)
    )
    message = rf'run: precision {bits} needs bitsandbytes, .* `pip install "bitsandbytes==[\d.]+"`, or take bfloat16'
    config = config_of(scene, bits)
    for attempt in (
        lambda: load(config.model, tuning="lora", precision=bits),
        lambda: preflight(config, roots=scene[2]),
        lambda: check(config, scene[2]),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()


def test_a_device_that_cannot_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(
        ValueError, match=r"precision nf4 runs on cuda or cpu, got the device mps; take bfloat16"
    ):
        precision.check("nf4", "mps")
    precision.check("nf4", "cuda:1")


@pytest.mark.parametrize(
    ("asked", "tuning", "parameters", "pays", "found"),
    [
        ("auto", "full", 10**9, True, "float32"),  # small steps would be lost
        ("auto", "lora", 10**6, True, "float32"),  # tiny: nothing to win
        ("auto", "lora", 10**9, True, "bfloat16"),
        ("auto", "lora", 10**9, False, "float32"),
        ("float32", "lora", 10**9, True, "float32"),
        ("bfloat16", "full", 10**6, False, "bfloat16"),
        ("nf4", "lora", 10**6, True, "bfloat16"),  # what the products are computed in
        ("int8", "lora", 10**9, False, "float32"),
    ],
)
def test_what_is_not_rounded_is_held_in(monkeypatch, asked, tuning, parameters, pays, found):
    monkeypatch.setattr(precision, "bfloat16_pays", lambda device: pays)
    assert precision.numbers(asked, tuning=tuning, parameters=parameters, device="cpu") == found


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_a_model_comes_in_the_numbers_asked_for(scene, asked):
    loaded = load(str(scene[0]), tuning="lora", precision=asked)
    assert loaded.dtype == asked
    assert {p.dtype for p in loaded.model.parameters()} == {getattr(torch, asked)}
    angles = dict(loaded.model.named_buffers())["model.rotary_emb.inv_freq"]
    assert angles.dtype == torch.float32  # in bfloat16 a position would be known to three digits


def test_the_estimate_knows_the_precision(scene, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    # The model is so small that the process counts more than its weights.
    sizes = {
        p: preflight(config_of(scene, p), roots=scene[2]).memory_bytes
        - process_bytes(lora=True, weight=precision.BYTES[p])
        for p in ("float32", "bfloat16", *BITS)
    }
    assert sorted(sizes, key=sizes.get, reverse=True) == ["float32", "bfloat16", *BITS]
    full = preflight(config_of(scene, "bfloat16", tuning="full"), roots=scene[2])
    assert any("1/256" in text for text in full.warnings)


# -- with it ---------------------------------------------------------------------------------------------------


def slopes(model):
    text = Example(tuple(range(3, 15)), (IGNORE,) * 3 + tuple(range(6, 15)), 0)
    (answers,) = forward(model, collate([text], 0))
    answers.mean_nll().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def unrounded(model):
    """What the rounded weights stand for, as a plain model: what the gradients are compared with."""
    from bitsandbytes import functional

    plain = load(model.config._name_or_path, precision="float32").model
    for name, module in plain.named_modules():
        held = model.get_submodule(name)
        if not isinstance(module, torch.nn.Linear) or is_plain(held):
            continue
        w = held.weight
        if hasattr(w, "quant_state"):
            values = functional.dequantize_4bit(w.data, w.quant_state)
        else:
            scale = held.state.SCB if w.SCB is None else w.SCB  # moved there by the first pass
            values = w.data.float() * scale[:, None] / 127
        with torch.no_grad():
            module.weight.copy_(values)
    return plain


@needs_it
@pytest.mark.parametrize(("bits", "error"), [("nf4", 1e-4), ("int8", 0.1)])  # int8 rounds the inputs too
def test_gradients_reach_every_layer_of_a_rounded_base(scene, monkeypatch, bits, error):
    monkeypatch.setattr(precision, "bfloat16_pays", lambda device: False)
    loaded = load(str(scene[0]), tuning="lora", precision=bits)
    assert fusible(head_of(loaded.model))
    models = [add_lora(model, rank=4, alpha=8.0, seed=0) for model in (unrounded(loaded.model), loaded.model)]
    for model in models:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(0.01)
            model(input_ids=IDS)  # bitsandbytes would change the layout here
    want, got = map(slopes, models)
    assert want.keys() == got.keys()
    for name in want:
        assert float((got[name] - want[name]).norm() / want[name].norm()) < error, name


@pytest.mark.slow
@needs_it
@pytest.mark.parametrize("bits", BITS)
def test_a_run_on_a_rounded_base_forgets_and_can_be_undone(tmp_path, scene, bits):
    store = RunStore(tmp_path / "runs")
    run = store.create(config_of(scene, bits))
    finished = execute(run, roots=scene[2])
    assert run.reason == ""
    scores = run.scores()
    assert scores["after"]["forget"]["nll"] > scores["before"]["forget"]["nll"] + 0.5
    assert run.results()["dtype"] == bits
    base = load(str(scene[0]), tuning="lora", precision=bits).model
    assert base.get_memory_footprint() < 0.5 * load(str(scene[0])).model.get_memory_footprint()
    again = load_trained(run).model
    with torch.no_grad():
        original, trained = base(input_ids=IDS).logits, finished.loaded.model(input_ids=IDS).logits
        assert torch.equal(again(input_ids=IDS).logits, trained)
        with again.disable_adapter():
            assert torch.equal(again(input_ids=IDS).logits, original)
    assert not torch.allclose(trained, original, atol=1e-2)


@pytest.mark.slow
@needs_it
def test_a_method_that_asks_the_reference_runs_on_it_and_resumes(tmp_path, scene):
    store = RunStore(tmp_path / "runs")
    whole, cut = (store.create(config_of(scene, "nf4", method="undial")) for _ in range(2))
    execute(whole, roots=scene[2])
    assert execute(cut, roots=scene[2], should_stop=lambda: len(cut.events("step")) >= 2) is None
    assert cut.state == "stopped"
    execute(cut, roots=scene[2])
    assert whole.reason == cut.reason == ""
    told = [[event["loss"] for event in run.events("step")] for run in (whole, cut)]
    assert told[1] == pytest.approx(told[0], abs=1e-5)


@needs_it
def test_what_needs_every_weight_says_so(scene):
    from unlearn.attacks.quantise import quantised

    loaded = load(str(scene[0]), tuning="lora", precision="nf4")
    with pytest.raises(ValueError, match="model: rounding needs every weight in full"):
        quantised(loaded.model, 8)
