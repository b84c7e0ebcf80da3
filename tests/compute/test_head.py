"""The fused losses against autograd over whole logits, in float64: values, gradients, chunks, shared gradients."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from unlearn.compute import head as heads
from unlearn.compute.head import Gathered, Head, cross_entropy, fusible, head_with, soft_cross_entropy

T, D, V = 7, 5, 11


@pytest.fixture
def scene():
    torch.manual_seed(0)
    linear = torch.nn.Linear(D, V, bias=True).double()
    hidden = torch.randn(T, D, dtype=torch.float64, requires_grad=True)
    return linear, hidden, torch.randint(0, V, (T,)), torch.randn(T, V, dtype=torch.float64)


def loss(kind, linear, hidden, labels, taught):
    """The fused loss of this kind and the same by autograd, [T] each."""
    logits = linear(hidden)
    if kind == "labels":
        return cross_entropy(Head(linear), hidden, labels), F.cross_entropy(logits, labels, reduction="none")
    options = {"divergence": kind == "divergence"}
    fused = cross_entropy(Head(linear), hidden, labels, lowered, (taught,), **options)
    return fused, soft_cross_entropy(logits, lowered(labels, taught), **options)


def lowered(labels, taught):
    """A target that reads both the labels and the teacher's logits, as UnDIAL's does."""
    return taught - 2.0 * F.one_hot(labels, V)


KINDS = ("labels", "soft", "divergence")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("rounded", [1, 4])
def test_values_and_gradients_are_those_of_autograd(scene, monkeypatch, kind, kept, size, frozen, rounded):
    linear, hidden, _labels, _taught = scene
    monkeypatch.setattr(heads.products, "rows", lambda count, _: -(-count // rounded) * rounded)
    monkeypatch.setattr(heads, "chunk", lambda *_: size)
    monkeypatch.setattr(heads, "keeps", lambda *_: kept)
    monkeypatch.setattr(heads, "BLOCK", 2 * V)
    linear.requires_grad_(not frozen)
    wanted = [hidden] if frozen else [hidden, linear.weight, linear.bias]
    weights = torch.linspace(-1, 2, T, dtype=torch.float64)  # no two tokens count alike
    fused, plain = loss(kind, *scene)
    assert torch.allclose(fused, plain, atol=1e-12)
    for got, want in zip(
        torch.autograd.grad((weights * fused).sum(), wanted),
        torch.autograd.grad((weights * plain).sum(), wanted),
        strict=True,
    ):
        assert torch.allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(scene, kind):
    linear, hidden, labels, taught = scene
    assert torch.autograd.gradcheck(lambda h: loss(kind, linear, h, labels, taught)[0], hidden)


def test_a_teacher_that_agrees_gives_no_divergence_and_no_gradient(scene):
    linear, hidden, labels, _ = scene
    with torch.no_grad():
        own = linear(hidden)
    value = cross_entropy(Head(linear), hidden, labels, lambda _, x: x, (own,), divergence=True)
    (slope,) = torch.autograd.grad(value.sum(), hidden)
    assert value.abs().max() < 1e-12
    assert slope.abs().max() < 1e-12


def test_losses_of_one_pass_share_one_gradient_of_the_matrix(scene, monkeypatch):
    """Tied to the embedding, and with each loss's gradient asked for alone before: nothing is lost or left over."""
    linear, hidden, labels, _ = scene
    monkeypatch.setattr(heads, "keeps", lambda *_: False)
    head, ids = Head(linear), torch.randint(0, V, (T,))

    def both(one, two):
        return one.sum() - 3 * two.sum() + (linear.weight[ids] ** 2).sum()

    states = hidden + linear.weight[ids]
    one, two = cross_entropy(head, states[:4], labels[:4]), cross_entropy(head, states[4:], labels[4:])
    logits = linear(states)
    plain = F.cross_entropy(logits, labels, reduction="none")
    want = torch.autograd.grad(both(plain[:4], plain[4:]), [linear.weight, hidden], retain_graph=True)
    alone = torch.autograd.grad(plain[:4].sum(), linear.weight, retain_graph=True)[0]
    assert torch.allclose(torch.autograd.grad(one.sum(), linear.weight, retain_graph=True)[0], alone)
    torch.autograd.grad(two.sum(), hidden, retain_graph=True)  # never reaches the matrix's own node
    for got, expected in zip(torch.autograd.grad(both(one, two), [linear.weight, hidden]), want, strict=True):
        assert torch.allclose(got, expected, atol=1e-12)


def test_the_shared_buffer_is_made_once(scene, monkeypatch):
    linear, hidden, labels, _ = scene
    head, handed = Head(linear), []
    add = Gathered.add
    monkeypatch.setattr(Gathered, "add", lambda *a: handed.append(add(*a)) or handed[-1])
    pieces = [cross_entropy(head, hidden[i : i + 2], labels[i : i + 2]).sum() for i in (0, 2, 4)]
    sum(pieces).backward()
    assert [x is None for x in handed] == [False, True, True]
    assert linear.weight.grad is not None
    assert head.gathered.buffer is None  # nobody holds a gradient as large as the matrix any longer


@pytest.mark.parametrize(("frozen", "times"), [(True, 1), (False, 2)])
def test_under_a_frozen_head_no_logits_are_made_twice(scene, monkeypatch, frozen, times):
    linear, hidden, labels, taught = scene
    linear.requires_grad_(not frozen)
    monkeypatch.setattr(heads, "chunk", lambda *_: 3)
    monkeypatch.setattr(heads, "keeps", lambda *_: False)
    sizes = []
    target = lambda y, x: (sizes.append(len(y)), x)[1]  # noqa: E731
    cross_entropy(Head(linear), hidden, labels, target, (taught,)).sum().backward()
    assert sizes == [3, 3, 1] * times


def test_a_gradient_of_the_gradient_is_refused(scene):
    linear, hidden, labels, _ = scene
    value = cross_entropy(Head(linear), hidden, labels)
    (slope,) = torch.autograd.grad((value**2).sum(), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_logits_are_scaled_then_capped():
    linear, hidden = torch.nn.Linear(3, 4).double(), torch.randn(2, 3, dtype=torch.float64)
    config = SimpleNamespace(logit_scale=2.0, logits_scaling=8.0, final_logit_softcapping=3.0)
    want = 3.0 * torch.tanh(linear(hidden) * (2.0 / 8.0) / 3.0)
    assert torch.allclose(head_with(linear, config)(hidden), want, atol=1e-12)


@pytest.mark.parametrize("frozen", [False, True])
def test_nothing_as_wide_as_the_vocabulary_is_kept(scene, monkeypatch, frozen):
    linear, hidden, labels, _ = scene
    linear.requires_grad_(not frozen)
    monkeypatch.setattr(heads, "keeps", lambda *_: frozen)
    shapes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (shapes.append(tuple(t.shape)), t)[1], lambda t: t
    ):
        cross_entropy(Head(linear), hidden, labels)
    assert (T, V) not in shapes
    assert shapes


def test_what_is_no_plain_matrix_is_not_taken_apart():
    linear = torch.nn.Linear(3, 4)
    assert fusible(Head(linear))
    assert not fusible(Head(linear, scale=0.5))
    assert not fusible(Head(linear, cap=30.0))
    assert not fusible(Head(torch.nn.Identity()))
    assert not fusible(lambda hidden: hidden)
    for register in (linear.register_forward_hook, linear.register_forward_pre_hook):
        handle = register(lambda *_: None)
        assert not fusible(Head(linear))
        handle.remove()
    linear._hf_hook = object()  # where accelerate brings the matrix from elsewhere
    assert not fusible(Head(linear))


def test_bfloat16_logits_are_float32_from_there():
    torch.manual_seed(0)
    linear = torch.nn.Linear(16, 50, bias=False, dtype=torch.bfloat16)
    hidden = torch.randn(4, 16, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.arange(4)
    value = cross_entropy(Head(linear), hidden, labels)
    want = F.cross_entropy(linear(hidden).float(), labels, reduction="none")
    assert value.dtype == torch.float32
    assert torch.allclose(value, want, atol=1e-6)
    got, expected = (torch.autograd.grad(x.sum(), [hidden, linear.weight]) for x in (value, want))
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == torch.bfloat16
        assert torch.allclose(a.float(), b.float(), atol=2e-2)


def test_bfloat16_logits_made_again_are_float32_too(monkeypatch):
    torch.manual_seed(0)
    linear = torch.nn.Linear(16, 50, bias=False, dtype=torch.bfloat16)
    hidden, labels = torch.randn(4, 16, dtype=torch.bfloat16, requires_grad=True), torch.arange(4)
    slopes = []
    for kept in (False, True):
        monkeypatch.setattr(heads, "keeps", lambda *_, kept=kept: kept)
        value = cross_entropy(Head(linear), hidden, labels).sum()
        slopes.append(torch.autograd.grad(value, [hidden, linear.weight]))
    assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


@pytest.mark.parametrize("frozen", [True, False])
def test_logits_of_16_bits_are_made_wide_a_few_at_a_time(monkeypatch, frozen):
    """The loss, p - q and each gradient are to the bit what whole tensors in float32 give."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(16, 50, bias=False, dtype=torch.bfloat16).requires_grad_(not frozen)
    hidden, labels = torch.randn(7, 16, dtype=torch.bfloat16, requires_grad=True), torch.arange(7)
    monkeypatch.setattr(heads, "BLOCK", 100)
    widened = []

    def wide(logits):
        widened.append(len(logits))
        return real(logits)

    real = heads.wide
    monkeypatch.setattr(heads, "wide", wide)
    value = cross_entropy(Head(linear), hidden, labels)
    grads = torch.autograd.grad(value.sum(), [x for x in (hidden, linear.weight) if x.requires_grad])
    assert max(widened) == 2
    lp = linear(hidden).detach().float().log_softmax(-1)
    assert torch.equal(value, -lp[labels, labels])
    apart = lp.exp()
    apart[labels, labels] -= 1
    apart = apart.bfloat16()
    wanted = [apart @ linear.weight, apart.T @ hidden]
    for found, want in zip(grads, wanted, strict=False):
        torch.testing.assert_close(found, want, rtol=1e-2, atol=1e-2)
    assert [row.tolist() for few in Head(linear).in_blocks(hidden) for row in few] == Head(linear)(
        hidden
    ).tolist()


def test_nobody_who_does_not_learn_pays_for_a_gradient(scene, monkeypatch):
    linear, hidden, labels, _ = scene
    exps = []
    real = torch.exp
    monkeypatch.setattr(torch, "exp", lambda *given, **named: exps.append(1) or real(*given, **named))
    with torch.no_grad():
        value = cross_entropy(Head(linear), hidden, labels)
    assert not exps
    assert torch.equal(value, cross_entropy(Head(linear), hidden, labels))
    assert exps


@pytest.mark.parametrize("name", heads.CAPS)
def test_a_cap_is_known_by_each_name_that_configs_have_for_it(name):
    linear = torch.nn.Linear(3, 4)
    assert head_with(linear, SimpleNamespace(**{name: 30.0})).cap == 30.0
    assert head_with(linear, SimpleNamespace(**{name: None})).cap is None
