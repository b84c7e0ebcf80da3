"""A model partly on disk: LoRA on top of it gives the loss and gradients that it gives in memory."""

import torch
from conftest import make_model

from unlearn.checkpointing import checkpointed
from unlearn.lm import IGNORE, Example, collate, forward
from unlearn.models import add_lora


def slopes(model):
    """The loss of one text and the adapter's gradients, by name."""
    text = Example(tuple(range(3, 11)), (IGNORE,) * 3 + tuple(range(6, 11)), 0)
    with checkpointed(model):  # brings each block again in the backward pass instead of keeping it
        (answers,) = forward(model, collate([text], 0))
        loss = answers.mean_nll()
        loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def test_an_adapter_on_blocks_that_lie_on_disk_learns_the_same(tmp_path):
    from transformers import AutoModelForCausalLM

    make_model(tmp_path, "llama")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    places = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    places |= {f"model.layers.{i}": "disk" for i in range(len(plain.model.layers))}
    placed = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, device_map=places, offload_folder=str(tmp_path / "away")
    ).eval()
    models = [add_lora(model, rank=4, alpha=8.0, seed=0) for model in (plain, placed)]
    assert placed.model.layers[0].mlp.up_proj.base_layer.weight.device.type == "meta"
    with torch.no_grad():
        for model in models:
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(0.01)  # else the gradient of A is 0
    (loss, want), (found, got) = (slopes(model) for model in models)
    assert torch.allclose(found, loss, atol=1e-6)
    assert got.keys() == want.keys()
    for name in want:
        assert torch.allclose(got[name], want[name], atol=1e-6), name
    assert sum(float(slope.norm()) for slope in want.values()) > 0
