"""The forecast of a run's memory: by algebra on known shapes, and against what a step allocates."""

import json

import pytest

from unlearn.data.base import Row
from unlearn.models.catalogue import CATALOGUE, parts_of
from unlearn.models.load import in_memory
from unlearn.store.config import RunConfig
from unlearn.work import session as sessions
from unlearn.work.held import Shape, forecast, shape_in
from unlearn.work.preflight import preflight
from unlearn.work.session import forget

SMOLLM2 = Shape(hidden=576, blocks=30, feed=1536, keys=192, vocabulary=49_152)
ROWS = [Row(question=f"What is {w}?", answer=f"{w} {w}") for w in ("red", "green", "blue", "one")]
LEAN = {"memory": "lean", "max_grad_norm": 0.0}


def config(**changes):
    values = {"model": "tiny-authors", "data": {"name": "authors"}, "method": "npo"} | changes
    return RunConfig(**values)


def held(weight=4.0, **changes):
    return forecast(
        config(**changes), SMOLLM2, parameters=134_515_008, weight=weight, texts=24, length=22, answer=4
    )


def test_the_shape_is_that_of_the_config():
    told = {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "num_attention_heads": 9}
    told |= {"num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49_152}
    assert shape_in(told, 0) == shape_in({"text_config": told}, 0) == SMOLLM2
    gpt = {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257}
    assert shape_in(gpt, 0) == Shape(768, 12, 3072, 768, 50_257)
    assert shape_in({}, 150 * 512**2) == Shape(512, 12, 2048, 512, 32_000)


def test_an_adapter_has_as_many_weights_as_peft_makes(tiny):
    from unlearn.models.load import add_lora

    model, _ = tiny
    shape = shape_in(model.config.to_dict(), 0)
    adapted = add_lora(model, rank=4, alpha=8, seed=0)
    assert shape.lora(4) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_every_weight_has_a_gradient_and_two_moments_and_a_lean_run_half():
    n, matrix = 4 * 134_515_008, 4 * 576 * 49_152
    usual, lean = held(), held(**LEAN)
    assert (usual.parts["weights"], usual.parts["gradients"], usual.parts["moments"]) == (n, n, 2 * n)
    assert (lean.parts["weights"], lean.parts["gradients"], lean.parts["moments"]) == (n, matrix, n)
    # The gradients are let go, and each moment has half the bytes.
    assert usual.training - lean.training == n + n + matrix
    assert usual.scoring == lean.scoring


def test_sam_and_the_best_step_hold_a_copy_each_of_what_moves_the_head_included():
    """Every weight moves, the output head's too; of an adapter its own weights alone."""
    for changes, copy in (({}, 4 * 134_515_008), ({"tuning": "lora"}, 4 * SMOLLM2.lora(8))):
        plain, sharp = held(**changes), held(sam=0.01, **changes)
        assert (plain.parts["copies"], sharp.parts["copies"]) == (0, copy)
        assert sharp.training - plain.training == copy
        both = held(sam=0.01, keep="best", stop_at="0.1", **changes)
        assert both.parts["copies"] == 2 * copy


@pytest.mark.parametrize("name", ["ga", "gd"])
def test_sam_reads_the_forget_texts_twice_and_the_others_once(name):
    plain, sharp = (preflight(config(method=name, sam=rho)) for rho in (0.0, 0.01))
    forget = preflight(config(method="ga")).tokens
    assert sharp.tokens - plain.tokens == pytest.approx(forget, abs=1)
    assert sharp.flops == 6.0 * sharp.parameters * sharp.tokens


def test_checkpointing_keeps_one_block_and_the_inputs_of_all():
    again = held(checkpointing=True)
    block = held().parts["activations"] / 30
    inputs = 24 * 22 * 30 * 576 * 4
    assert again.parts["activations"] == pytest.approx(block + inputs, rel=1e-6)


def test_an_adapter_on_sixteen_bits_is_a_fraction_of_all_weights():
    lora = held(weight=2.0, tuning="lora")
    assert lora.peak < 0.4 * held().peak
    assert lora.parts["moments"] == 2 * 4 * SMOLLM2.lora(8)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"tuning": "lora"}, {"checkpointing": True}])
def test_a_forward_pass_keeps_what_is_forecast(more):
    """Within a tenth of what torch's allocator hands out, on a shape of its own."""
    from bench import ways
    from unlearn.compute.checkpointing import checkpointed
    from unlearn.compute.lm import forward
    from unlearn.compute.memory import allocated_peak
    from unlearn.compute.tokens import collate

    model = ways.make_model("cpu", 500, "cpu", more.get("tuning", "full"))
    shape = shape_in(model.config.to_dict(), 0)
    found, kept = [], []

    def work():
        kept.extend(forward(model, batch))

    for count in (8, 24):
        batch = collate(ways.make_texts(count, (40, 40), 500, 1), 0)
        with checkpointed(model, more.get("checkpointing", False)):
            forward(model, batch)
            kept.clear()
            found.append(allocated_peak(work, "cpu"))
    lora, again = more.get("tuning") == "lora", more.get("checkpointing", False)
    wanted = 4 * 16 * 40 * shape.kept(lora=lora, narrow=False, checkpointing=again)
    # Blocks that are computed again hold the whole of one only going backward.
    assert found[1] - found[0] == pytest.approx(wanted, rel=0.5 if again else 0.1)


def test_preflight_counts_tokens_and_the_process():
    from unlearn.work.held import PROCESS

    small, large = (preflight(config(batch_size=n)).memory_bytes for n in (4, 64))
    assert PROCESS < small < large
    file = json.loads((parts_of("tiny-authors").base / "config.json").read_text())
    assert shape_in(file, 0).vocabulary == file["vocab_size"]


def test_a_lean_run_that_does_not_fit_computes_blocks_again_and_says_so(tiny, monkeypatch):
    said = []
    for free in (2**40, 10):
        monkeypatch.setattr(sessions.memory, "spare", lambda device, free=free: free)
        loaded = in_memory(*tiny)
        session = forget(loaded, forget=ROWS, retain=ROWS, method="gd", batch_size=2, tuning="full", **LEAN)
        session.note = said.append
        next(session)
        again = "forward" in vars(loaded.model.model.layers[0])
        session.close()
        assert again == (free == 10)
        assert len(said) == again
        assert "forward" not in vars(loaded.model.model.layers[0])
    assert said[0].endswith("so each block is computed again when its gradient is due.")


# Peaks of whole processes in MiB, one run each on one machine (bench/beside/peak). The forecast's constants
# were chosen with these, so that this test holds them and proves nothing about other models.
MEASURED = {
    ("tiny-authors", "full"): 498,
    ("tiny-authors", "lora"): 532,
    ("smollm2", "full"): 3461,
    ("smollm2", "lora"): 1522,
}


@pytest.mark.parametrize(("model", "tuning"), MEASURED)
def test_the_forecast_is_within_fifteen_percent_of_what_was_measured(model, tuning):
    from unlearn.work.held import process_bytes, shape_of

    entry = CATALOGUE[model]
    shape = SMOLLM2 if model == "smollm2" else shape_of(parts_of(model).base, 0)
    weight = 2.0 if (model, tuning) == ("smollm2", "lora") else 4.0
    length, answer = (21.7, 3.3) if model == "smollm2" else (17.7, 2.7)
    found = forecast(
        config(model=model, tuning=tuning, batch_size=8),
        shape,
        parameters=entry.parameters,
        weight=weight,
        texts=24,
        length=length,
        answer=answer,
    )
    peak = found.peak + process_bytes(lora=tuning == "lora", weight=weight)
    assert peak / 2**20 == pytest.approx(MEASURED[model, tuning], rel=0.15)
