"""Unlearning layers: unchanged at the start, the original when off, the same from disk, on every family."""

import copy
import math

import numpy as np
import pytest
import torch
from conftest import make_model

from tests.methods.test_eul import disturb, logits_of, train
from unlearn.models import layers

FAMILIES = ("llama", "gpt2", "gpt_neox", "qwen2", "gemma", "opt")


def test_one_layer_is_the_formula():
    torch.manual_seed(0)
    layer = layers.UnlearningLayer(6, 3).double()
    for p in layer.parameters():
        torch.nn.init.normal_(p)
    h = torch.randn(4, 5, 6, dtype=torch.float64)
    wd, bd, wu, bu = (
        p.detach().numpy() for p in (layer.down.weight, layer.down.bias, layer.up.weight, layer.up.bias)
    )
    x = h.numpy()
    want = x + np.maximum(x @ wd.T + bd, 0) @ wu.T + bu
    assert np.abs(layer(h).detach().numpy() - want).max() < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(tmp_path, family):
    """Added: unchanged to the bit. Trained: changed. Off: the original to the bit. Saved and loaded: the same."""
    model, tokenizer = make_model(tmp_path, family)
    before = logits_of(model, tokenizer)
    frozen = {name: p.clone() for name, p in model.named_parameters()}
    fresh = copy.deepcopy(model)
    layers.add_layers(copied := copy.deepcopy(model), bottleneck=4)
    assert len(layers.layers_of(copied)) == 2
    assert torch.equal(logits_of(copied, tokenizer), before)
    trained, steps = train(model, tokenizer)
    assert all(math.isfinite(s.loss) for s in steps)
    after = logits_of(trained, tokenizer)
    assert not torch.equal(after, before)
    with layers.switched_off(trained):
        assert torch.equal(logits_of(trained, tokenizer), before)
    assert torch.equal(logits_of(trained, tokenizer), after)
    for name, p in trained.named_parameters():
        assert (".unlearning." in name) == p.requires_grad
        assert ".unlearning." in name or torch.equal(p, frozen[name]), name
    layers.save_layers(trained, tmp_path / "adapter")
    assert {p.name for p in (tmp_path / "adapter").iterdir()} == {"eul_config.json", "eul.safetensors"}
    assert torch.equal(logits_of(layers.load_layers(fresh, tmp_path / "adapter"), tokenizer), after)


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_with_a_cache_equals_one_without(tmp_path, family):
    model, tokenizer = make_model(tmp_path, family)
    layers.add_layers(model, bottleneck=4)
    disturb(model)
    ids = tokenizer("Question: What is two?\nAnswer:", return_tensors="pt")["input_ids"]
    mask = torch.ones_like(ids)
    out = model.generate(
        ids, attention_mask=mask, max_new_tokens=6, min_new_tokens=6, do_sample=False, use_cache=True
    )
    plain = ids
    for _ in range(6):
        with torch.no_grad():
            scores = model(input_ids=plain).logits[:, -1]
        scores[:, tokenizer.eos_token_id] = -math.inf
        plain = torch.cat([plain, scores.argmax(-1, keepdim=True)], 1)
    assert out.tolist() == plain.tolist()


def test_on_a_bfloat16_base_the_layers_stay_float32(tiny):
    model, tokenizer = tiny
    model = model.to(torch.bfloat16)
    before = logits_of(model, tokenizer)
    trained, _ = train(model, tokenizer)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert not torch.equal(logits_of(trained, tokenizer), before)
    with layers.switched_off(trained):
        assert torch.equal(logits_of(trained, tokenizer), before)


def test_bottleneck_is_the_largest_within_the_share():
    for parameters, count, width in ((1_967_808, 4, 192), (134_515_008, 30, 576), (1_100_000_000, 22, 2048)):
        size = layers.bottleneck_for(parameters, count, width, 0.005)
        cost = [count * (2 * width * b + b + width) for b in (size, size + 1)]
        assert cost[0] <= 0.005 * parameters < cost[1]
    assert layers.bottleneck_for(1000, 10, 64, 0.005) == 1


def test_projections_around_the_blocks_are_not_feed_forward(tmp_path):
    model, _ = make_model(tmp_path, "opt", word_embed_proj_dim=16)
    assert [n.rsplit(".", 1)[-1] for n in layers.feed_forward_ends(model)] == ["fc2", "fc2"]


def test_a_mixture_of_experts_is_refused_by_name():
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=2, num_experts_per_tok=1,
    )  # fmt: skip
    with pytest.raises(ValueError, match="MixtralForCausalLM has 2 transformer layers but 0 feed-forward"):
        layers.add_layers(MixtralForCausalLM(config))


def test_layers_of_another_model_are_refused(tmp_path, tiny):
    model, _ = tiny
    layers.save_layers(layers.add_layers(model, bottleneck=4), tmp_path / "adapter")
    with pytest.raises(ValueError, match="has unlearning layers already"):
        layers.add_layers(model)
    deeper, _ = make_model(tmp_path / "deeper", num_hidden_layers=3)
    with pytest.raises(ValueError, match="of another build"):
        layers.load_layers(deeper, tmp_path / "adapter")
    wider, _ = make_model(tmp_path / "wider", hidden_size=64, intermediate_size=128)
    with pytest.raises(ValueError, match="another model or bottleneck"):
        layers.load_layers(wider, tmp_path / "adapter")


def test_a_loaded_gpt2_takes_layers_too(tmp_path):
    """Loading refines the class of its linear maps, which must be known as what they are."""
    from unlearn.models.load import load

    make_model(tmp_path, "gpt2")
    model = layers.add_layers(load(str(tmp_path)).model, bottleneck=2)
    assert len(layers.layers_of(model)) == 2
