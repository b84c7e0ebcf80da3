"""liger-kernel behind our own function: what goes to it, what does not, and the same numbers either way."""

import sys
from types import ModuleType

import pytest
import torch
from torch.nn import functional as F

from unlearn.compute import kernels
from unlearn.compute.head import Head, cross_entropy

T, D, V = 7, 5, 11
NAME = "liger_kernel.transformers.functional"


class FirstUpstream(torch.autograd.Function):
    """Stands in for the package, with what some of its releases do: the first token's upstream value for all."""

    @staticmethod
    def forward(ctx, hidden, weight, labels, bias):
        logits = F.linear(hidden, weight, bias).float()
        ctx.save_for_backward(logits.softmax(-1) - F.one_hot(labels, len(weight)), weight)
        return F.cross_entropy(logits, labels, reduction="none")

    @staticmethod
    def backward(ctx, upstream):
        slope, weight = ctx.saved_tensors
        return upstream[0] * (slope.to(weight.dtype) @ weight), None, None, None


@pytest.fixture
def calls(monkeypatch):
    """The stand-in installed, on the CPU; each call leaves the number of its tokens."""
    seen = []

    def function(input, weight, target, bias=None, *, reduction="mean"):
        assert reduction == "none"
        seen.append(len(target))
        return FirstUpstream.apply(input, weight, target, bias)

    module = ModuleType(NAME)
    module.liger_fused_linear_cross_entropy = function
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, NAME, module)
    monkeypatch.setattr(kernels, "DEVICES", ("cpu",))
    kernels.liger.cache_clear()
    yield seen
    kernels.liger.cache_clear()


def scene(*, moves, bias=True):
    torch.manual_seed(0)
    linear = torch.nn.Linear(D, V, bias=bias).requires_grad_(moves)
    return linear, torch.randn(T, D, requires_grad=True), torch.randint(0, V, (T,))


@pytest.mark.parametrize("bias", [True, False])
def test_a_frozen_head_goes_to_it_and_each_token_keeps_its_own_weight(calls, bias):
    linear, hidden, labels = scene(moves=False, bias=bias)
    weights = torch.linspace(-1, 2, T)
    value = cross_entropy(Head(linear), hidden, labels)
    want = F.cross_entropy(linear(hidden), labels, reduction="none")
    assert calls == [T]
    assert torch.allclose(value, want, atol=1e-6)
    (got,) = torch.autograd.grad((weights * value).sum(), hidden)
    (expected,) = torch.autograd.grad((weights * want).sum(), hidden)
    assert torch.allclose(got, expected, atol=1e-6)


def test_without_a_graph_it_gives_values_alone(calls):
    linear, hidden, labels = scene(moves=True)
    with torch.no_grad():
        value = cross_entropy(Head(linear), hidden, labels)
    assert calls == [T]
    assert not value.requires_grad
    assert torch.allclose(value, F.cross_entropy(linear(hidden), labels, reduction="none"), atol=1e-6)


def test_what_it_does_not_cover_stays_with_our_own_code(calls, monkeypatch):
    linear, hidden, labels = scene(moves=True)
    cross_entropy(Head(linear), hidden, labels).sum().backward()  # the matrix moves
    assert linear.weight.grad is not None
    linear.requires_grad_(False)
    cross_entropy(Head(linear), hidden, labels, lambda _, x: x, (torch.zeros(T, V),))  # a target of its own
    cross_entropy(Head(linear.double()), hidden.double(), labels)  # no kernel of that width
    cross_entropy(Head(linear.float()), hidden[:0], labels[:0])  # nothing to do
    monkeypatch.setattr(kernels, "DEVICES", ("cuda",))
    cross_entropy(Head(linear), hidden, labels)  # another device
    assert calls == []


@pytest.mark.parametrize("broken", [None, ModuleType(NAME)])  # not installed; installed, but another release
def test_without_the_package_our_own_code_answers(calls, monkeypatch, broken):
    monkeypatch.setitem(sys.modules, NAME, broken)
    linear, hidden, labels = scene(moves=False)
    value = cross_entropy(Head(linear), hidden, labels)
    assert kernels.liger() is None
    assert torch.allclose(value, F.cross_entropy(linear(hidden), labels, reduction="none"), atol=1e-6)
