"""SAM against its algebra in float64: on a quadratic, on a model by autograd alone, and what it leaves as it was."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.models.test_t5 import make_t5
from tests.training.test_loop import stream_of
from unlearn.compute.lm import forward
from unlearn.compute.tokens import Batch
from unlearn.models.load import add_lora, load
from unlearn.training.loop import Phases, fit, make_optimizer
from unlearn.training.sharpness import Sharpness

RHO, LR = 0.05, 0.1


class Side:
    """Stands for the texts of a side where the loss reads none of them."""

    attention_mask = torch.ones(2, 3)
    source_mask = None

    def to(self, device):
        return self

    def pick(self, rows):
        return self


class Point(torch.nn.Module):
    def __init__(self, theta):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.tensor(theta, dtype=torch.float64))


def one_step(batch):
    return SimpleNamespace(steps=1, step=lambda number: [batch])


def sgd(model):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=LR)


def steps_of(model, loss, stream, optimizer, sharpness, **more):
    settings = {"lr": LR, "device": "cpu", "rate": lambda step, of, peak: peak, "max_grad_norm": 0.0}
    return list(fit(model, loss, stream, optimizer, sharpness=sharpness, **(settings | more)))


def test_a_quadratic_goes_where_the_algebra_says():
    """forget = ½ θᵀAθ, rest = ½‖θ - b‖²: ε = ρ Aθ/‖Aθ‖, and θ' = θ - lr (A (θ + ε) + θ - b)."""
    matrix, b, theta = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([0.5, -1.0]), np.array([1.0, 2.0])
    model = Point(theta.tolist())

    def loss(batch):
        terms, at = {}, model.theta
        if batch.forget is not None:
            terms["forget"] = 0.5 * at @ torch.tensor(matrix) @ at
        if batch.retain is not None:
            terms["retain"] = 0.5 * (at - torch.tensor(b)).square().sum()
        return terms

    (done,) = steps_of(model, loss, one_step(Batch(Side(), Side())), sgd(model), Sharpness(RHO, ("forget",)))
    gradient = matrix @ theta
    uphill = theta + RHO * gradient / np.linalg.norm(gradient)
    wanted = theta - LR * (matrix @ uphill + theta - b)
    np.testing.assert_allclose(model.theta.detach().numpy(), wanted, rtol=1e-14)
    # What is told are the terms at the weights, not uphill of them.
    assert done.terms["forget"] == pytest.approx(0.5 * theta @ matrix @ theta, rel=1e-14)
    assert done.terms["retain"] == pytest.approx(0.5 * np.sum((theta - b) ** 2), rel=1e-14)


def losses(model):
    def loss(batch):
        sides = {n: s for n, s in (("forget", batch.forget), ("retain", batch.retain)) if s is not None}
        found = dict(zip(sides, forward(model, *sides.values()), strict=True))
        signs = {"forget": -1.0, "retain": 2.0}
        return {name: signs[name] * answers.mean_nll() for name, answers in found.items()}

    return loss


def by_hand(model, batches):
    """{name: weight after one step of plain descent} by the formula, with one whole batch and no micro-batches."""
    moving = [p for p in model.parameters() if p.requires_grad]
    forget, retain = (
        sum(losses(model)(Batch(b.forget, b.retain))[name] for b in batches) for name in ("forget", "retain")
    )
    first = torch.autograd.grad(forget, moving, retain_graph=True, allow_unused=True)
    rest = torch.autograd.grad(retain, moving, allow_unused=True)
    first, rest = (
        [0 * p if g is None else g for p, g in zip(moving, gs, strict=True)] for gs in (first, rest)
    )
    norm = torch.sqrt(sum(g.square().sum() for g in first))
    uphill = copy.deepcopy(model)
    theirs = [p for p in uphill.parameters() if p.requires_grad]
    with torch.no_grad():
        for p, g in zip(theirs, first, strict=True):
            p.add_(RHO * g / norm)
    above = sum(losses(uphill)(Batch(b.forget, b.retain))["forget"] for b in batches)
    second = torch.autograd.grad(above, theirs, allow_unused=True)
    second = [0 * p if g is None else g for p, g in zip(theirs, second, strict=True)]
    return [p.detach() - LR * (g + r) for p, g, r in zip(moving, second, rest, strict=True)]


@pytest.mark.parametrize("kind", ["decoder", "t5"])
@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_step_of_a_model_is_the_formula(tiny, tmp_path, tuning, accumulation, kind):
    model, tokenizer = tiny
    if kind == "t5":
        loaded = load(str(make_t5(tmp_path)))
        model, tokenizer = loaded.model, loaded.tokenizer
    if tuning == "lora":
        model = add_lora(model, rank=4, alpha=8.0, seed=0)
        with torch.no_grad():  # B = 0 would leave A's gradient at zero
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    model = model.double()
    stream = stream_of(tokenizer, batch_size=4 // accumulation, accumulation=accumulation, epochs=1, clock=4)
    wanted = by_hand(model, stream.step(1))
    only_one = SimpleNamespace(steps=1, step=stream.step)
    steps_of(model, losses(model), only_one, sgd(model), Sharpness(RHO, ("forget",)))
    for found, right in zip((p for p in model.parameters() if p.requires_grad), wanted, strict=True):
        torch.testing.assert_close(found.detach(), right, rtol=1e-5, atol=1e-8)


def test_the_weights_come_back_exactly_and_move_only_when_they_may(tiny):
    """With a rate of 0 a step changes no bit; a checkpoint that is being written is waited for before the climb."""
    model, tokenizer = tiny
    before = [p.detach().clone() for p in model.parameters()]
    seen, waited = [], []

    def same():
        return all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))

    def loss(batch):
        seen.append(same())
        return losses(model)(batch)

    stream = stream_of(tokenizer, epochs=1, clock=2)
    steps = steps_of(
        model, loss, stream, sgd(model), Sharpness(RHO, ("forget",)), rate=lambda *_: 0.0,
        before_update=lambda: waited.append((len(seen), same())),
    )  # fmt: skip
    assert same()
    # The forget texts at the weights, then uphill, then the texts to keep at the weights.
    assert seen == [True, False, True]
    assert waited[0] == (1, True)
    micro = stream.step(1)[0]
    shortest = int(micro.forget.attention_mask.sum(1).min())
    tokens = 2 * int(micro.forget.attention_mask.sum()) + int(micro.retain.attention_mask.sum()) + shortest
    assert steps[0].tokens == tokens


def test_a_step_without_a_forget_term_is_the_plain_one(tiny):
    model, tokenizer = tiny
    other = copy.deepcopy(model)

    def practise(m):
        return lambda batch: {"reinforce": forward(m, batch.forget)[0].mean_nll()}

    for one, sharpness in ((model, None), (other, Sharpness(RHO, ("forget",)))):
        steps_of(one, practise(one), stream_of(tokenizer, epochs=1), sgd(one), sharpness)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))


def test_phases_hand_the_switch_on(tiny):
    model, tokenizer = tiny
    other, stream = copy.deepcopy(model), stream_of(tokenizer, epochs=1)
    for one, sharpness in ((model, None), (other, Sharpness(1.0, ("forget",)))):
        phases = Phases(
            one, stream, make_optimizer(one, 1e-2), lr=1e-2, device="cpu", start=0, sharpness=sharpness
        )
        list(phases(losses(one)))
    assert not all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))
