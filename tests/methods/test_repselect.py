"""RepSelect: what is shrunk in a gradient, by algebra; when the walk ends; what stays as it was."""

import copy

import numpy as np
import pytest
import reference
import torch

from tests.methods.test_methods import examples, reference_for, stream_of
from unlearn.methods import METHODS
from unlearn.methods.edit.repselect import selected
from unlearn.training.loop import Phases, make_optimizer


def spectrum(rows, columns, values):
    torch.manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(rows, len(values)))
    v, _ = torch.linalg.qr(torch.randn(columns, len(values)))
    return u, torch.tensor(values), v


@pytest.mark.parametrize("shape", [(12, 7), (7, 12)])
def test_each_strong_direction_is_divided_twice_by_its_strength(shape):
    """σ_i → σ_i (σ_min / σ_i)² for the q strongest; the others stay."""
    u, s, v = spectrum(*shape, [8.0, 4.0, 2.0, 1.0])
    found = u.T @ selected((u * s) @ v.T, 3) @ v
    want = torch.diag(torch.tensor([8.0 * (2 / 8) ** 2, 4.0 * (2 / 4) ** 2, 2.0, 1.0]))
    assert torch.allclose(found, want, atol=1e-3)


def test_one_direction_alone_changes_nothing():
    u, s, v = spectrum(9, 9, [5.0, 1.0])
    whole = (u * s) @ v.T
    assert torch.allclose(selected(whole, 1), whole, atol=1e-5)


@pytest.fixture
def walked(tiny):
    """(method, model before, model after, steps, phases) of a run."""
    model, tokenizer = tiny
    before = copy.deepcopy(model)
    forget, retain = examples(tokenizer), examples(tokenizer, first=10)

    def carry_out(**knobs):
        lr = knobs.pop("lr", 0.05)
        method = METHODS["repselect"](**{"rank": 2} | knobs)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(method.trainable(name, 2))
        ref = reference_for(model, method, tokenizer, forget, retain)
        stream = stream_of(tokenizer, forget, retain, method)
        fit = Phases(model, stream, make_optimizer(model, lr), lr=lr, device="cpu", start=0)
        steps = list(method.unlearn(model, ref, fit))
        general = list(stream.every("retain"))
        return method, before, model, steps, fit, method.drift(model, ref, general)

    return carry_out


def shrunk(gradient, rank):
    """(I - U D Uᵀ) G (I - V D Vᵀ) with D = diag(1 - S_q / S), from the whole decomposition in float64."""
    u, s, vt = np.linalg.svd(gradient, full_matrices=False)
    d = np.diag(1 - s[rank - 1] / s[:rank])
    left, right = (np.eye(len(x)) - x @ d @ x.T for x in (u[:, :rank], vt[:rank].T))
    return left @ gradient @ right


@pytest.mark.parametrize(("rank", "within"), [(1, 1e-5), (2, 0.05)])
def test_a_step_is_the_selected_gradient_of_the_adapted_model_in_float64(
    walked, tiny, monkeypatch, rank, within
):
    """ΔW = -η G' / ‖G'‖ with G = ∇(-NLL(F)) where the adapter is active that went down NLL(F).

    One direction alone changes nothing, so that G itself is seen; two are found by chance, and come near.
    """
    seen, real = [], METHODS["repselect"].gradients

    def gradients(self, model, *given):
        seen.append(copy.deepcopy(model))
        return real(self, model, *given)

    monkeypatch.setattr(METHODS["repselect"], "gradients", gradients)
    _, before, after, *_ = walked(rank=rank, kl_budget=10.0, max_steps=1, lora_lr=10.0, lr=0.3)
    adapted, forget = seen[0].double(), examples(tiny[1])
    for parameter in adapted.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None
    loss, bare = (reference.nll(one, forget) for one in (adapted, copy.deepcopy(before).double()))
    # The adapter learnt the forget texts, so that it matters whether it is active.
    assert loss.item() < bare.item() - 0.05
    (-loss).backward()
    named = dict(adapted.named_parameters())
    old, new = (dict(one.named_parameters()) for one in (before, after))
    names = [name for name in old if ".mlp." in name]
    moved = [(new[name] - old[name]).detach().double().numpy() for name in names]
    whole = [named[name.replace(".weight", ".base_layer.weight")].grad.numpy() for name in names]
    left = [shrunk(gradient, rank) for gradient in whole]

    def apart(gradients):
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
        return (
            np.sqrt(sum(np.sum((m + 0.3 * g / norm) ** 2) for m, g in zip(moved, gradients, strict=True)))
            / 0.3
        )

    assert apart(left) < within
    assert rank == 1 or apart(whole) > 4 * within


def test_it_ends_inside_its_budget_and_takes_the_last_step_back(walked):
    _method, _before, _after, steps, _fit, drift = walked(kl_budget=0.02, lr=1.0)
    assert 0 < drift <= 0.02
    assert steps[-1].step == steps[-1].of < 200
    assert steps[-1].terms["general KL"] == pytest.approx(drift, rel=1e-4)


def test_only_the_mlp_moves_and_no_adapter_is_left(walked):
    _, before, after, *_ = walked(max_steps=3)
    assert {n for n, _ in before.named_parameters()} == {n for n, _ in after.named_parameters()}
    moved = {
        n
        for (n, p), q in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(p, q)
    }
    assert moved
    assert all(".mlp." in name for name in moved)


def test_the_forget_texts_become_less_likely(walked, tiny):
    from unlearn.compute.lm import forward
    from unlearn.compute.tokens import collate

    _, before, after, *_ = walked(kl_budget=1.0, max_steps=20)
    texts = collate(examples(tiny[1]), 0)
    with torch.no_grad():
        then, now = (float(forward(model, texts)[0].mean_nll()) for model in (before, after))
    assert now > then


def test_without_general_rows_bundled_ones_are_read_and_that_is_said():
    from unlearn.data.authors_general import general_rows
    from unlearn.data.base import Dataset, Row

    method = METHODS["repselect"]()
    roles = {
        "forget": (Row(question="Who?", answer="Ada"),),
        "retain": (Row(question="Where?", answer="Rome"),),
    }
    bare = Dataset(name="mine", title="my rows", roles=roles)
    forget, read = method.rows("", bare)
    assert forget == roles["forget"]
    assert set(read) <= set(general_rows())
    # Both kinds: a chat is asked the questions, and texts are read as they are.
    assert {bool(row.question) for row in read} == {True, False}
    (said,) = method.remarks(bare)
    assert said.startswith("my rows has no rows of the role general")
    own = Dataset(name="mine", title="my rows", roles=roles | {"general": (Row(answer="Snow falls."),)})
    assert method.rows("", own)[1] == own.rows("general")
    assert method.remarks(own) == ()
