"""The gradient explorer: golden values by algebra, the real model's own gradient, and a word on every method."""

import math

import pytest
import torch
from reference import undial_optimum

from unlearn.compute.tokens import Batch, Example, collate
from unlearn.data import catalogue
from unlearn.figures import gradient as gradient_figures
from unlearn.measure.gradient import Explorer, Scene, Stage, Unfit, alone, rest, stage
from unlearn.methods import METHODS, Method
from unlearn.models.load import load
from unlearn.training.reference import Reference

SIZE, PROMPT = 7, (5, 6)


def text(answer, seed=0, sure=3.0):
    """A made-up text: prompt, answer tokens, and logits that favour them."""
    torch.manual_seed(seed)
    logits = torch.randn(len(answer), SIZE)
    logits[range(len(answer)), list(answer)] += sure
    return Scene(Example((*PROMPT, *answer), (-100, -100, *answer), key=seed), logits)


def made_up(*answers):
    names = tuple(f"t{i}" for i in range(SIZE))
    return Stage(tuple(text(a, i) for i, a in enumerate(answers)), text((1, 2), 99), names)


@pytest.fixture(scope="module")
def real():
    return load("tiny-authors"), stage(load("tiny-authors"), catalogue.load("authors"), limit=3)


@pytest.mark.parametrize("answer", [(3,), (3, 0, 4)])
@pytest.mark.parametrize("shift", [0.0, 2.5])
def test_ascent_pushes_away_from_the_label_by_p_minus_onehot(answer, shift):
    # L = -(1/T) Σ_t -log p(y_t), so ∂L/∂z_t = (onehot - p)/T and the push -∂L/∂z_t = (p - onehot)/T.
    there = made_up(answer)
    p = there.texts[0].shifted(shift).softmax(-1)
    want = (p - torch.nn.functional.one_hot(torch.tensor(answer), SIZE)) / len(answer)
    assert torch.allclose(Explorer(METHODS["ga"](), there).push(shift), want, atol=1e-6)


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("shift", [0.0, 1.0, 6.0])
def test_npo_is_ascent_times_two_sigma_of_what_was_lost(beta, shift):
    # One token: ∂/∂S [-(2/β) log σ(β (S - S_ref))] = -2 σ(-β Δ), Δ = S - S_ref; ascent has -1 there.
    there = made_up((3,))
    ga, npo = (Explorer(m, there).push(shift) for m in (METHODS["ga"](), METHODS["npo"](beta=beta)))
    nlls = [-float(there.texts[0].shifted(s).log_softmax(-1)[0, 3]) for s in (shift, 0.0)]
    factor = 2 / (1 + math.exp(beta * (nlls[0] - nlls[1])))
    assert torch.allclose(npo, factor * ga, atol=1e-6)


@pytest.mark.parametrize("gamma", [1.0, 3.0, 10.0])
def test_undial_rests_at_its_closed_form(gamma):
    there = made_up((3, 0))
    explorer = Explorer(METHODS["undial"](gamma=gamma), there)
    p = float(there.texts[0].logits[0].softmax(-1)[3])
    target = explorer.target(0)
    shift, goal = rest(explorer.scene, 0, target)
    assert goal == pytest.approx(undial_optimum(p, gamma), rel=1e-3)
    assert shift == pytest.approx(gamma, abs=1e-2)
    assert explorer.push(gamma)[0].abs().max() < 1e-6
    curve = explorer.curve(0, [gamma * i / 7 for i in range(15)]) | {"rest": None}
    assert gradient_figures.crossing(curve)[1] == pytest.approx(undial_optimum(p, gamma), rel=2e-2)
    assert curve["push"][0] < 0 < curve["push"][-1]
    lowered = there.texts[0].logits[0].clone()
    lowered[3] -= gamma
    assert torch.allclose(target, lowered.softmax(-1), atol=1e-4)


def test_targets_where_there_is_one_and_none_where_there_is_not():
    there = made_up((3, 0))
    second = there.texts[0].logits[1].clone()
    second[0] = -math.inf
    assert Explorer(METHODS["adversarial"](), there).target(1).argmax() == second.argmax()
    assert Explorer(METHODS["ga"](), there).target(0) is None
    assert Explorer(METHODS["npo"](), there).target(0) is None
    struck = Explorer(METHODS["ceu"](), there).target(1)
    assert torch.allclose(struck, second.softmax(-1), atol=1e-4)


def test_one_token_or_the_whole_answer():
    there = made_up((3, 0))
    one, both = (there.texts[0].shifted(2.0, place) - there.texts[0].logits for place in (0, None))
    assert one[0, 3] == both[0, 3] == pytest.approx(-2.0)
    assert (one != 0).sum() == 1
    assert (both != 0).sum() == 2


@pytest.mark.parametrize("name", ["ga", "undial", "npo"])
def test_equals_the_gradient_on_the_real_models_logits(real, name):
    loaded, there = real
    method, scene = alone(METHODS[name]()), there.texts[0]
    seen = []

    def catch(_, __, output):
        if output.requires_grad and output.shape[0] == len(scene.labels) and output.dim() == 2:
            output.retain_grad()
            seen.append(output)

    tokens = collate([scene.example], loaded.pad_id)
    ref = Reference(loaded.model, head_moves=True)
    for kind in method.needs_ref.values():
        ref.prepare(loaded.model, kind, [tokens])
    handle = loaded.model.get_output_embeddings().register_forward_hook(catch)
    try:
        sum(method.loss(loaded.model, ref, Batch(tokens, None)).values()).backward()
    finally:
        handle.remove()
    assert torch.allclose(-seen[-1].grad, Explorer(METHODS[name](), there).push(), atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_finite_gradient_or_a_reason(real, name):
    _, there = real
    reason = ""
    try:
        pushes = [Explorer(METHODS[name](), there, text).push(shift) for text in (0, 2) for shift in (0, 5)]
    except Unfit as unfit:
        reason, pushes = str(unfit), []
    assert all(torch.isfinite(push).all() for push in pushes)
    assert {len(push) for push in pushes} <= {len(scene.labels) for scene in there.texts}
    assert bool(pushes) != (reason[:1].isupper() and reason.endswith("."))
    assert pushes or "Error" not in reason, (
        "say in the method's file why (explorable), not by a stack's last line"
    )


def test_a_method_that_asks_for_what_is_not_there_says_so():
    class Curious(METHODS["ga"]):
        def loss(self, model, ref, batch):
            return {"forget": model.transformer.wte.weight.sum()}

    class Idle(Method):
        pass

    with pytest.raises(Unfit, match="needs more of a model than logits"):
        Explorer(Curious(), made_up((3,)))
    with pytest.raises(Unfit, match="no loss to differentiate"):
        Explorer(Idle(), made_up((3,)))


# -- figures ---------------------------------------------------------------------------------------------------


def curve(pushes, still=None):
    return {
        "name": "X",
        "place": 0,
        "shift": list(range(len(pushes))),
        "p": [0.9, 0.5, 0.1],
        "push": pushes,
        "rest": still,
    }


@pytest.mark.parametrize(
    ("pushes", "said"),
    [
        ([-0.1, -0.9, -1.0], "X never lets go: 100 % of its strongest push at 2 nats"),
        ([-0.5, -1.0, -0.1], "X fades: 10 % of its strongest push left at 2 nats"),
        ([-1.0, -0.5, 0.0], "X fades to nothing by 2 nats"),
        ([-0.5, -1.0, 0.0], "X is cut off at 1 nats"),
        ([-0.5, -1.0, -0.5], "X still pushes with 50 % at 2 nats"),
        ([0.0, 0.0, 0.0], "X does not touch this token"),
        ([-1.0, -0.5, 0.5], "X turns round at p = 0.25, 1.5 nats down"),
    ],
)
def test_a_title_says_what_the_curve_does(pushes, said):
    assert gradient_figures.fate(curve(pushes)) == said


def test_the_rest_of_a_target_stands_in_title_and_figure():
    drawn = gradient_figures.push_curves([curve([-1.0, -0.5, 0.5], (1.4, 0.3))], 1.0)
    assert drawn.layout.title.text == "X stops by itself at p = 0.3, 1.4 nats down"
    assert [t.x[0] for t in drawn.data if t.mode == "markers"] == [1.4]


def test_no_two_methods_look_alike():
    looks = {(gradient_figures.hue(i), gradient_figures.dash_of(i)) for i in range(len(METHODS))}
    assert len(looks) == len(METHODS)


def test_bars_are_coloured_by_sign_and_scaled_alike():
    panel = {"name": "X", "place": 1, "tokens": ["a", "<b>"], "push": [-0.5, 0.25]}
    drawn = gradient_figures.push_bars(panel, 1.0)
    assert drawn.data[0].marker.color == (gradient_figures.FORGET, gradient_figures.RETAIN)
    assert drawn.layout.xaxis.range == (-1.35, 1.35)
    assert drawn.layout.title.text == "X pushes the label down, −0.50; ‘&lt;b&gt;’ gains, +0.25"
