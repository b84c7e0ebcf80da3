"""The lean AdamW against the formula in float64, its rounding against what it must be on average, and its memory."""

import math

import pytest
import torch

from unlearn.compute.lean import BLOCK, LeanAdamW, narrowed


def by_formula(start, gradients, lr):
    """AdamW without decay in float64, as Loshchilov and Hutter write it."""
    w, m, v = start.double(), torch.zeros_like(start).double(), torch.zeros_like(start).double()
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * g.double()
        v = 0.999 * v + 0.001 * g.double() ** 2
        w = w - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return w


def trained(start, gradients, lr):
    weight = torch.nn.Parameter(start.clone())
    optimizer = LeanAdamW([weight], lr=lr)
    for g in gradients:
        weight.grad = g.clone()
        optimizer.step()
    return weight.detach(), optimizer.state[weight]


@pytest.mark.parametrize("shape", [(), (7,), (300, 700), (3, 2 * BLOCK), (5, 3, 2)])
def test_the_first_update_is_the_formula_and_the_others_stay_near_it(shape):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    gradients = [torch.randn(shape, generator=generator) * 3 for _ in range(30)]
    one, _ = trained(start, gradients[:1], 0.01)
    assert torch.allclose(one.double(), by_formula(start, gradients[:1], 0.01), atol=1e-6)
    many, state = trained(start, gradients, 0.01)
    wanted = by_formula(start, gradients, 0.01)
    moved = (wanted - start).norm()
    assert (many - wanted).norm() < 0.02 * moved
    assert {state[name].dtype for name in ("exp_avg", "exp_avg_sq")} == {torch.bfloat16}


def test_a_turned_weight_is_updated_like_any_other():
    start = torch.randn(40, 30).T
    gradients = [torch.randn(30, 40) for _ in range(3)]
    turned, _ = trained(start, gradients, 0.1)
    straight, _ = trained(start.contiguous(), gradients, 0.1)
    assert torch.equal(turned, straight)


def test_the_second_moment_forgets_at_its_own_rate():
    """0.999 ** 2000 = 0.135. Rounded to the nearest it would not move at all, since a step is 2⁻¹⁰ of it."""
    value = torch.tensor([1.0, 3.3, 0.007])
    kept, nearest = value.bfloat16(), value.bfloat16()
    for step in range(1, 2001):
        kept = narrowed(kept.float() * 0.999, step)
        nearest = (nearest.float() * 0.999).bfloat16()
    assert torch.allclose(kept.float(), value * 0.999**2000, rtol=0.02)
    assert torch.equal(nearest, value.bfloat16())


@pytest.mark.parametrize("value", [1.001, -1.001, 0.3, 1e-30, 0.0, -7.7e12])
def test_the_rounding_is_right_on_average(value):
    found = [float(narrowed(torch.tensor([value]), step)) for step in range(1, 1001)]
    assert len(set(found)) <= 2
    assert sum(found) / 1000 == pytest.approx(value, rel=2e-5)


def test_what_bfloat16_holds_is_not_changed():
    exact = torch.randn(1000).bfloat16()
    assert all(torch.equal(narrowed(exact.float(), step), exact) for step in (1, 2, 50))


def layers(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(6)))


def test_gradients_go_as_they_come_and_their_norm_is_told():
    model, other = layers(), layers()
    x = torch.randn(5, 64)
    optimizer, called = LeanAdamW(model.parameters(), lr=1e-3), []
    seen = []
    for p in model.parameters():
        p.register_hook(lambda g: seen.append(sum(q.grad is not None for q in model.parameters())))
    with optimizer.within_backward(lambda: called.append(1)) as taken:
        for step in (1, 2):
            model(x).square().sum().backward()
            assert called == [1] * step
            assert all(p.grad is None for p in model.parameters())
            told = taken.norm()
            other.zero_grad()
            other(x).square().sum().backward()
            wanted = math.sqrt(sum(float(p.grad.square().sum()) for p in other.parameters()))
            assert told == pytest.approx(wanted, rel=1e-5)
            LeanStep(other)
    assert max(seen) <= 2
    assert taken.norm() == 0.0
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def LeanStep(model):
    """The same update after the whole pass, by one optimiser kept with the model."""
    if not hasattr(model, "moves"):
        model.moves = [LeanAdamW(model.parameters(), lr=1e-3)]
    model.moves[0].step()


def test_nothing_is_taken_after_a_gradient_that_is_not_finite():
    model = layers()
    before = [p.detach().clone() for p in model.parameters()]
    model[3].weight.register_hook(lambda g: g * math.inf)
    optimizer = LeanAdamW(model.parameters(), lr=1e-3)
    with optimizer.within_backward(lambda: None) as taken:
        model(torch.randn(5, 64)).square().sum().backward()
    assert not math.isfinite(taken.norm())
    same = [torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True)]
    assert all(same[:6])
    assert not any(same[8:])


def test_it_holds_half_of_what_the_usual_way_holds():
    from unlearn.compute.memory import allocated_peak

    def peak(lean):
        torch.manual_seed(0)
        model = torch.nn.Sequential(*(torch.nn.Linear(512, 512, bias=False) for _ in range(8)))
        whole = sum(p.nbytes for p in model.parameters())
        x = torch.randn(4, 512)

        def work():
            if lean:
                with LeanAdamW(model.parameters(), lr=1e-3).within_backward(lambda: None):
                    model(x).square().sum().backward()
            else:
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
                model(x).square().sum().backward()
                optimizer.step()

        return allocated_peak(work, "cpu") / whole

    assert peak(lean=False) > 2.9
    assert peak(lean=True) < 1.6
