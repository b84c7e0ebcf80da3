"""Gradient checkpointing: the same loss and gradients from less memory, and a model that is as it was afterwards."""

import copy

import pytest
import torch

from tests.compute.test_packing import FAMILIES, family, texts
from unlearn.compute import lm, states
from unlearn.compute.checkpointing import checkpointed
from unlearn.compute.lm import forward
from unlearn.compute.memory import allocated_peak
from unlearn.compute.tokens import collate
from unlearn.models.load import add_lora


def step(model, on):
    model.zero_grad()
    with checkpointed(model, on):
        first, second = forward(model, collate(texts(), 0), collate(texts(7), 0))
        loss = second.mean_nll() - first.mean_nll() ** 2
        loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("name", "lora"), [("llama", False), ("llama", True), ("gpt2", False), ("gpt2", True)]
)
def test_loss_and_gradients_are_the_same(name, lora):
    model = family(name, **FAMILIES[name])
    if lora:
        model = add_lora(model, rank=2, alpha=4.0, seed=0)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "lora_B" in parameter_name:
                    parameter.normal_(std=0.1)
    for got, want in zip(step(model, True), step(model, False), strict=True):
        assert torch.allclose(got, want, rtol=1e-4, atol=1e-6 * float(want.abs().max()))


def test_blocks_run_twice_and_are_put_back():
    model, calls = family("llama", **FAMILIES["llama"]), []
    forwards = [block.forward for block in states.blocks(model)]
    for block in states.blocks(model):
        block.self_attn.register_forward_hook(lambda *_: calls.append(1))
    lm.packs(model)
    calls.clear()
    step(model, True)
    assert len(calls) == 4
    assert [block.forward for block in states.blocks(model)] == forwards
    assert "forward" not in vars(states.blocks(model)[0])
    copy.deepcopy(model)  # nothing that cannot be copied is left


@pytest.mark.slow
def test_it_takes_less_memory():
    model = family("llama", **FAMILIES["llama"] | {"num_hidden_layers": 8})
    step(model, False)
    peaks = []
    for on in (True, False):
        model.zero_grad(set_to_none=True)
        peaks.append(allocated_peak(lambda on=on: step(model, on), "cpu"))
    assert peaks[0] < 0.8 * peaks[1]
