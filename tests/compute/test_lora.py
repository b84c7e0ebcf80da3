"""The lean LoRA layer against the formula in float64, and against PEFT's own where it steps aside."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import nn

from unlearn.compute.lora import AT_REST, lean, only_adapter, resting
from unlearn.models.load import add_lora


class Two(nn.Module):
    """Two linear layers, one without bias, and what PEFT asks of a model."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 10, dtype=dtype), nn.Linear(10, 4, bias=False, dtype=dtype)

    def forward(self, x):
        return self.second(self.first(x).tanh())


def adapted(dtype=torch.float32, lean_too=True, **changes):
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["first", "second"], **changes)
    model = get_peft_model(Two(dtype), config).eval()
    generator = torch.Generator().manual_seed(1)
    for name, p in model.named_parameters():
        if "lora" in name:
            p.data = torch.randn(p.shape, generator=generator).to(p.dtype) * 0.4
    return lean(model) if lean_too else model


def layer(model):
    return next(m for m in model.modules() if isinstance(m, Linear))


def passed(model, x):
    """Output and the gradients of x and of each adapter matrix for a fixed weighting of the output."""
    x = x.clone().requires_grad_(True)
    model.zero_grad()
    y = model(x)
    (y.double() * torch.linspace(-1, 2, y.numel()).view_as(y)).sum().backward()
    return [y.detach(), x.grad, *(p.grad for n, p in model.named_parameters() if "lora" in n)]


def by_formula(model, x):
    """y = x W' + s (x A') B' twice, in float64, with autograd."""
    base = model.base_model.model
    kept = [p.detach().double().requires_grad_(True) for n, p in model.named_parameters() if "lora" in n]
    x = x.double().clone().requires_grad_(True)
    s = 7 / 3
    w1, b1, w2 = (t.detach().double() for t in (base.first.weight, base.first.bias, base.second.weight))
    h = torch.tanh(x @ w1.T + b1 + s * (x @ kept[0].T) @ kept[1].T)
    y = h @ w2.T + s * (h @ kept[2].T) @ kept[3].T
    (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum().backward()
    return [y.detach(), x.grad, *(k.grad for k in kept)]


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6)])
def test_values_and_gradients_are_those_of_the_formula(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    model = adapted()
    assert only_adapter(layer(model), x) == "default"
    for got, want in zip(passed(model, x), by_formula(model, x), strict=True):
        assert torch.allclose(got.double(), want, rtol=1e-4, atol=1e-5)


def test_in_bfloat16_it_is_as_near_to_the_formula_as_pefts():
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(2)).bfloat16()
    mine, theirs = adapted(torch.bfloat16), adapted(torch.bfloat16, lean_too=False)
    assert only_adapter(layer(mine), x) == "default"
    truth = by_formula(mine, x)
    for got, other, want in zip(passed(mine, x), passed(theirs, x), truth, strict=True):
        assert got.dtype == other.dtype
        errors = [float((v.double() - want).norm() / want.norm()) for v in (got, other)]
        assert errors[0] <= 0.02
        assert errors[0] <= 2 * errors[1] + 2e-3


def with_adapter_off(model, x):
    with model.disable_adapter():
        return model(x)


def half_dial(model, x):
    for module in model.modules():
        if isinstance(module, Linear):
            module.set_scale("default", 0.5)
    return model(x)


def merged(model, x):
    model.merge_adapter()
    return model(x)


def two_adapters(model, x):
    model.add_adapter("other", LoraConfig(r=2, target_modules=["first", "second"], init_lora_weights=False))
    model.set_adapter("other")
    alone = model(x)
    model.base_model.set_adapter(["default", "other"])
    return torch.cat([alone, model(x)])


def hooked(model, x):
    layer(model).lora_A["default"].register_forward_hook(lambda _m, _a, out: out * 3)
    return model(x)


def hooked_base(model, x):
    layer(model).base_layer.register_forward_pre_hook(lambda _m, args: (args[0] * 3,))
    return model(x)


def mixed_precision(model, x):
    with torch.autocast("cpu", torch.bfloat16):
        return model(x)


CASES = (with_adapter_off, half_dial, merged, two_adapters, hooked, hooked_base, mixed_precision)


@pytest.mark.parametrize("use", CASES)
def test_everything_that_peft_can_do_it_still_does(use):
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(3)
    got = use(adapted(), x)
    torch.manual_seed(3)
    want = use(adapted(lean_too=False), x)
    assert torch.allclose(got, want, atol=1e-5)
    assert got.dtype == want.dtype


def test_dropout_and_variants_are_left_to_peft():
    x = torch.randn(5, 6)
    assert only_adapter(layer(adapted(lora_dropout=0.5).train()), x) is None
    assert only_adapter(layer(adapted(lora_dropout=0.5).eval()), x) == "default"
    assert only_adapter(layer(adapted(use_dora=True)), x) is None


def test_a_base_that_trains_too_is_left_to_peft():
    model = adapted()
    layer(model).base_layer.weight.requires_grad_(True)
    passed(model, torch.randn(5, 6))
    assert float(layer(model).base_layer.weight.grad.abs().sum()) > 0


def test_our_adapters_are_lean_and_are_copied_and_saved_as_pefts(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    model = add_lora(LlamaForCausalLM(config), rank=2, alpha=4, seed=0)
    kinds = {type(m).__name__ for m in model.modules() if isinstance(m, Linear)}
    assert kinds == {"LeanLinear"}
    twin = copy.deepcopy(model)
    layer(twin).lora_B["default"].weight.data += 1
    assert float(layer(model).lora_B["default"].weight.abs().sum()) == 0
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_at_rest_gives_the_same_bits(dtype):
    model = adapted(dtype)
    x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(2)).to(dtype)
    with torch.no_grad():
        usual = model(x)
        with resting(model):
            assert AT_REST in layer(model).__dict__
            found = model(x)
        assert AT_REST not in layer(model).__dict__
    assert torch.equal(found, usual)


def test_a_layer_at_rest_takes_the_weights_of_the_beginning_and_still_learns():
    model = adapted(torch.bfloat16)
    x = torch.ones(1, 6, dtype=torch.bfloat16)
    usual = model(x).detach()
    with resting(model):
        with torch.no_grad():
            layer(model).lora_B["default"].weight.zero_()
            assert torch.equal(model(x), usual)
        # With gradients the layer is asked as always.
        y = model(x)
        assert not torch.equal(y, usual)
        assert y.requires_grad


def test_a_layer_that_needs_more_is_not_taken_to_rest():
    model = adapted()
    with model.disable_adapter(), resting(model):
        assert AT_REST not in layer(model).__dict__
    with resting(nn.Linear(2, 2)), resting(object()):
        pass


def test_a_copy_in_another_type_is_not_at_rest():
    model = adapted(torch.bfloat16)
    with resting(model), torch.no_grad():
        wider = copy.deepcopy(model).float()
        assert wider(torch.ones(1, 6)).dtype == torch.float32
