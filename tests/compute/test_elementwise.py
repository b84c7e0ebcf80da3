"""Norms and rotations in fewer passes: bit for bit what the model's own give, and what differs is left alone."""

import copy

import pytest
import torch

from tests.compute.test_packing import FAMILIES, family, texts
from unlearn.compute import elementwise, lm, packing, products, states, together
from unlearn.compute.lm import forward
from unlearn.compute.tokens import collate


def norm(dtype):
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    made = LlamaRMSNorm(32, eps=1e-3).to(dtype)
    with torch.no_grad():
        made.weight.copy_(torch.linspace(-1, 2, 32))
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_norm_gives_the_same_bits_forward_and_backward(dtype, frozen):
    usual = norm(dtype).requires_grad_(not frozen)
    lean = copy.deepcopy(usual)
    lean.__class__ = elementwise._norm(type(usual))
    x = torch.randn(1, 9, 32, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    weighting = torch.linspace(-1, 1, x.numel()).view_as(x).to(dtype)
    found = []
    for one in (usual, lean):
        y = one(x)
        asked = [x] if frozen else [x, one.weight]
        found.append((y, *torch.autograd.grad((y * weighting).sum(), asked)))
    for want, got in zip(*found, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)
    with torch.no_grad():
        assert torch.equal(lean(x), usual(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rotation_gives_the_same_bits_forward_and_backward(monkeypatch, dtype):
    from transformers.models.llama import modeling_llama

    own = modeling_llama.apply_rotary_pos_emb
    own = getattr(own, "__wrapped__", own)
    assert elementwise._turns_alike(own)
    monkeypatch.setattr(packing, "current", lambda: object())
    generator = torch.Generator().manual_seed(0)
    # As a layer gives them: tokens before heads in memory.
    q, k = (
        torch.randn(1, 9, heads, 8, generator=generator).to(dtype).transpose(1, 2).requires_grad_()
        for heads in (4, 2)
    )
    angles = torch.linspace(0, 7, 72).view(1, 9, 8)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    found = []
    for rotate in (own, elementwise._turning(own)):
        out = rotate(q, k, cos, sin)
        loss = sum((x * torch.linspace(-1, 1, x.numel()).view_as(x).to(dtype)).sum() for x in out)
        found.append((*out, *torch.autograd.grad(loss, (q, k))))
    for want, got in zip(*found, strict=True):
        assert torch.equal(got, want)


def test_what_computes_something_else_under_the_same_name_is_left_alone():
    model = family("gemma", **FAMILIES["llama"] | {"head_dim": 8})
    kinds = {type(m) for m in model.modules() if type(m).__name__.endswith("RMSNorm")}
    assert kinds
    elementwise.adopt(model)
    # Gemma multiplies by 1 + w.
    assert {type(m) for m in model.modules() if type(m).__name__.endswith("RMSNorm")} == kinds


def reads(model, monkeypatch, on):
    monkeypatch.setattr(lm, "reads", together.reads if on else lambda *_: False)
    model.zero_grad()
    first, second = forward(model, collate(texts(), 0), collate(texts(7)[:2], 0))
    (first.nll.square().sum() + second.nll.sum()).backward()
    return first.hidden.detach(), second.hidden.detach(), *(p.grad for p in model.parameters())


@pytest.mark.parametrize("name", ["llama", "qwen2", "mistral", "gemma"])
def test_a_last_block_computes_the_states_that_are_asked_for(monkeypatch, name):
    model = family(name, **FAMILIES.get(name, FAMILIES["llama"] | {"head_dim": 8}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    elementwise.adopt(model)
    monkeypatch.setattr(products, "rows", lambda count, _: count)
    seen = []
    states.blocks(model)[-1].mlp.register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[1]))
    some, every = reads(model, monkeypatch, True), reads(model, monkeypatch, False)
    assert seen[-2] < seen[-1]
    for got, want in zip(some, every, strict=True):
        assert torch.allclose(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


def test_a_last_block_that_is_watched_computes_all():
    model = elementwise.adopt(family("llama", **FAMILIES["llama"]))
    assert together.reads(model)
    handle = states.blocks(model)[-1].register_forward_hook(lambda *_: None)
    assert not together.reads(model)
    handle.remove()


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_a_block_of_other_parts_computes_all(name):
    assert not together.reads(elementwise.adopt(family(name, **FAMILIES[name])))


def test_a_last_block_that_scales_its_residual_is_found_out():
    """Granite has the same parts and multiplies what they add."""
    model = family("granite", **FAMILIES["llama"], residual_multiplier=0.5)
    elementwise.adopt(model)
    assert isinstance(states.blocks(model)[-1], elementwise.Reading)
    assert together.packs(model)
    assert not together.reads(model)
